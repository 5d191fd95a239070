"""The proxy subresource: what a client asks of a pod, a Service or a node through the API server, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.main.assemble import Server
from parkube.controlplane.pki import Pki, ensure
from parkube.controlplane.pki.ensure import default_sans
from parkube.controlplane.registry.resource import User
from parkube.controlplane.tunnel import rewriting
from parkube.kubeapi.client import ENDPOINTSLICES, NODES, PODS, SERVICEACCOUNTS, SERVICES
from tests.fakes.apiserver import Line, serving
from tests.unit.test_mux import Pair

NS = "/api/v1/namespaces/default"


class Far(asyncio.Protocol):
    """An agent that connects to anything, and behind every address an HTTP server that tells what it was asked."""

    asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.got = b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        if head.startswith(b"CONNECT "):
            self.asked.append(head.split()[1].decode())
            self.got = b""
            self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return
        method, target = head.decode().split(" ")[:2]
        if b"upgrade: echo" in head.lower():
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            return
        length = next((int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.startswith(b"content-length")), 0)
        if len(body) < length:
            return
        self.transport.write(self.answer(method, target, head.decode(), body))
        self.transport.close()

    def eof_received(self) -> bool:
        return False

    def answer(self, method: str, target: str, head: str, body: bytes) -> bytes:
        path = target.partition("?")[0]
        if path == "/page":
            return b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<a href="/next">here</a>'
        if path == "/moved":
            return b"HTTP/1.1 302 Found\r\nLocation: /elsewhere?x=1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"
        said = orjson.dumps({"method": method, "target": target, "head": head, "body": body.decode()})
        if method == "HEAD":
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said)
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return ensure(tmp_path_factory.mktemp("pki"), sans=default_sans("10.43.0.0/16", "cluster.local"))


@pytest.fixture
async def server(pki: Pki, tmp_path: Path, monkeypatch: Any) -> AsyncIterator[Server]:
    async with serving(pki, tmp_path) as made:
        pair = Pair()
        pair.left._accept = Far
        Far.asked = []
        monkeypatch.setattr(made.tunnels, "open", lambda node, protocol: pair.right.open(protocol))

        async def move() -> None:
            while True:
                pair.to_left.move()
                pair.to_right.move()
                await asyncio.sleep(0.001)

        pump = asyncio.ensure_future(move())
        client = made.client
        await client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
        await client.create(NODES, {"metadata": {"name": "n1"}})
        container = {"name": "c", "image": "i", "ports": [{"name": "api", "containerPort": 8080}]}
        pod = {"metadata": {"name": "web"}, "spec": {"nodeName": "n1", "containers": [container]}}
        made_pod = await client.create(PODS, pod, "default")
        made_pod["status"] = {"phase": "Running", "podIP": "10.42.0.9", "podIPs": [{"ip": "10.42.0.9"}]}
        await client.update(PODS, made_pod, subresource="status")
        await client.create(
            SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]}}, "default"
        )
        await client.create(
            ENDPOINTSLICES,
            {
                "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
                "ports": [{"name": "http", "port": 8081}],
                "endpoints": [{"addresses": ["10.42.0.8"], "nodeName": "n1"}],
            },
            "default",
        )  # fmt: skip
        yield made
        pump.cancel()


async def body_of(line: Line) -> Any:
    for _ in range(2000):
        if line.transport.out.endswith(b"0\r\n\r\n"):
            break
        await asyncio.sleep(0.001)
    whole = line.transport.out.partition(b"\r\n\r\n")[2]
    content = b""
    while whole:
        size, _, whole = whole.partition(b"\r\n")
        content, whole = content + whole[: int(size, 16)], whole[int(size, 16) + 2 :]
    return orjson.loads(content)


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("pods/web", "10.42.0.9:8080"),
        ("pods/web:99", "10.42.0.9:99"),
        ("pods/http:web:api", "10.42.0.9:8080"),
        ("services/web", "10.42.0.8:8081"),
        ("services/web:http", "10.42.0.8:8081"),
        ("services/http:web:80", "10.42.0.8:8081"),
    ],
)
async def test_a_request_arrives_where_its_name_leads(server: Server, where: str, place: str) -> None:
    line = Line(server)
    line.send(
        "POST", f"{NS}/{where}/proxy/a%20b/c?d=e&d=f", b"hello", Host="city", Authorization="Bearer x", X_Mine="1"
    )
    said = await body_of(line)
    assert Far.asked == [place]
    assert (said["method"], said["target"], said["body"]) == ("POST", "/a%20b/c?d=e&d=f", "hello")
    assert "x-mine: 1" in said["head"]
    assert "Bearer" not in said["head"], "a client's token is for the API server alone"
    assert "x-forwarded-host: city" in said["head"]


async def test_a_node_is_its_agent(server: Server) -> None:
    for where in ("nodes/n1", "nodes/n1:10250"):
        line = Line(server)
        line.send("GET", f"/api/v1/{where}/proxy/healthz")
        assert (await body_of(line))["target"] == "/healthz"
    assert Far.asked == [], "nothing is dialled for what the agent answers itself"


@pytest.mark.parametrize("method", ["DELETE", "OPTIONS", "PATCH", "PUT", "GET"])
async def test_every_method_is_passed(server: Server, method: str) -> None:
    line = Line(server)
    line.send(method, f"{NS}/pods/web/proxy/x")
    assert (await body_of(line))["method"] == method


async def test_head_has_no_body_and_the_connection_goes_on(server: Server) -> None:
    line = Line(server)
    assert (await line.ask("HEAD", f"{NS}/pods/web/proxy/x"))[0] == 200
    assert (await line.ask("GET", "/version"))[0] == 200


async def test_no_path_is_redirected_to_one(server: Server) -> None:
    line = Line(server)
    assert (await line.ask("GET", f"{NS}/pods/web/proxy?a=b"))[0] == 301
    assert f"Location: {NS}/pods/web/proxy/?a=b" in line.head
    line.transport.take()
    line.send("POST", f"{NS}/pods/web/proxy?a=b", b"")
    assert (await body_of(line))["target"] == "/?a=b"


async def test_links_and_redirects_lead_back_through_the_proxy(server: Server) -> None:
    line = Line(server)
    _, page = await line.ask("GET", f"{NS}/pods/web:8080/proxy/page")
    assert page == f'<a href="{NS}/pods/web:8080/proxy/next">here</a>'.encode()
    status, _ = await line.ask("GET", f"{NS}/pods/web/proxy/moved")
    assert status == 302
    assert f"Location: {NS}/pods/web/proxy/elsewhere?x=1" in line.head
    assert line.head.count("Set-Cookie") == 2


async def test_an_upgrade_becomes_a_stream(server: Server) -> None:
    line = Line(server)
    line.transport.feed(f"GET {NS}/pods/web/proxy/x HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n".encode())
    assert (await line.until()).startswith(b"HTTP/1.1 101")


async def test_what_cannot_be_reached_is_said(server: Server) -> None:
    line = Line(server)
    for path, code in (
        (f"{NS}/pods/none/proxy/", 404),
        (f"{NS}/services/web:nope/proxy/", 400),
        (f"{NS}/pods/ftp:web:1/proxy/", 400),
        ("/api/v1/nodes/none:99/proxy/", 404),
    ):
        status, said = await line.ask("GET", path)
        assert (status, said["kind"]) == (code, "Status"), path
    other = Line(server, User("eve", ("system:authenticated",)))
    assert (await other.ask("GET", f"{NS}/pods/web/proxy/"))[0] == 403


@given(st.binary(max_size=200))
def test_a_page_without_links_stays_as_it_is(html: bytes) -> None:
    assert rewriting.page(html.replace(b"<", b""), "h", "/p") == html.replace(b"<", b"")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/a?b#c", "/p/a?b#c"),
        ("http://h/a", "/p/a"),
        ("http://other/a", "http://other/a"),
        ("relative", "relative"),
        ("/p/a", "/p/a"),
        ("mailto:x@y", "mailto:x@y"),
    ],
)
def test_where_a_link_leads(url: str, expected: str) -> None:
    assert rewriting.link(url, "h", "/p") == expected


def test_only_urls_of_elements_are_links() -> None:
    html = b'<img src=\'/i.png\' alt="/no"><form action=/go><p href="/no">/no</p>'
    assert (
        rewriting.page(html, "h", "/p") == b'<img src=\'/p/i.png\' alt="/no"><form action=/p/go><p href="/no">/no</p>'
    )
