"""The server opens TCP connections inside the cluster: what a name means, and the way there through the agent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from parkube.controlplane.pki import ensure
from parkube.controlplane.pki.ensure import default_sans
from parkube.controlplane.tunnel.dial import connect, dialer
from parkube.controlplane.tunnel.reach import Named, Place, named, pod_place, service_place
from parkube.kubeapi.errors import BadRequest, Obj, ServiceUnavailable
from parkube.kubeapi.http import HttpClient
from tests.unit.test_mux import End
from tests.unit.test_streams import Box, Node

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", Named("", "web", "")),
        ("web:80", Named("", "web", "80")),
        ("web:http-alt", Named("", "web", "http-alt")),
        ("https:web:443", Named("https", "web", "443")),
        ("https:web:", Named("https", "web", "")),
        ("http:web", Named("http", "web", "")),
        (":web:80", Named("", "web", "80")),
    ],
)
def test_a_name_in_a_proxys_path(text: str, expected: Named) -> None:
    assert named(text) == expected


@pytest.mark.parametrize("text", ["ftp:web:80", "a:b:c:d", "http::80"])
def test_a_name_that_is_none(text: str) -> None:
    with pytest.raises(BadRequest):
        named(text)


def pod(ip: str = "10.42.0.9") -> Obj:
    ports = [{"name": "api", "containerPort": 8080}]
    spec = {"nodeName": "n1", "containers": [{"name": "c"}, {"name": "d", "ports": ports}]}
    return {"metadata": {"name": "p"}, "spec": spec, "status": {"podIP": ip} if ip else {}}


def test_a_pods_port_by_number_by_name_and_by_default() -> None:
    assert pod_place(pod(), "") == pod_place(pod(), "api") == Place("n1", "10.42.0.9", 8080)
    assert pod_place(pod(), "81").port == 81
    for bad, port in ((pod(""), ""), (pod(), "other"), (pod(), "0"), (pod("127.0.0.1"), "")):
        with pytest.raises(BadRequest):
            pod_place(bad, port)


def test_a_services_port_leads_to_a_ready_endpoint_of_that_port() -> None:
    service = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}
    ends = [
        {"addresses": ["10.42.0.1"], "conditions": {"ready": False}, "nodeName": "n1"},
        {"addresses": ["10.42.0.2"], "conditions": {"ready": True}, "nodeName": "n2"},
    ]
    slices = [
        {"ports": [{"name": "a", "port": 8000}], "endpoints": ends},
        {"ports": [{"name": "b", "port": 8001}], "endpoints": ends[:1]},
    ]
    first = lambda places: places[0]  # noqa: E731
    for port in ("a", "80"):
        assert service_place(service, slices, port, first) == Place("n2", "10.42.0.2", 8000)
    with pytest.raises(ServiceUnavailable, match='no endpoints available for service "s"'):
        service_place(service, slices, "b", first)
    for port in ("", "82"):
        with pytest.raises(BadRequest, match="no service port"):
            service_place(service, slices, port, first)


async def listening(serve: Serve, context: ssl.SSLContext | None = None) -> tuple[asyncio.Server, int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def test_bytes_go_both_ways_through_the_agent() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello ")
        writer.write((await reader.read()).upper())
        writer.close()

    server, port = await listening(shout)
    node = Node(Box())
    client = End()
    transport, _ = await connect(node, "n", "127.0.0.1", port, lambda: client)  # type: ignore[arg-type]
    transport.write(b"parkube")
    transport.write_eof()
    while not client.eof:
        await asyncio.sleep(0.001)
    assert bytes(client.got) == b"hello PARKUBE"
    server.close()
    node.pump.cancel()


async def test_tls_through_the_agent_is_checked_against_the_name(tmp_path: Path) -> None:
    pki: Any = ensure(tmp_path, sans=[*default_sans("10.43.0.0/16", "cluster.local")])
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(
        tmp_path / "tls" / "serving-kube-apiserver.crt", tmp_path / "tls" / "serving-kube-apiserver.key"
    )

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        writer.close()

    server, port = await listening(answer, inside)
    node: Any = Node(Box())
    context = ssl.create_default_context(cadata=pki.server_ca.decode())
    client = HttpClient(dialer(node, "n", "127.0.0.1", port, context, "kubernetes.default.svc"))
    assert (await client.request("GET", "/")).body == b"hi"
    await client.close()
    with pytest.raises(ServiceUnavailable, match="certificate"):
        await connect(node, "n", "127.0.0.1", port, End, context, "another.default.svc")
    server.close()
    node.pump.cancel()


async def test_nobody_listens_there() -> None:
    server, port = await listening(lambda reader, writer: asyncio.sleep(0))
    server.close()
    await server.wait_closed()
    node: Any = Node(Box())
    with pytest.raises(ServiceUnavailable, match="refused"):
        await connect(node, "n", "127.0.0.1", port, End)
    node.pump.cancel()
