"""A node joins, dials its tunnel, and both ends open streams over it; and every way in which that is refused."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from parkube.controlplane.apiserver.connection import Connection
from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.pki import Pki, ensure
from parkube.controlplane.pki.ensure import default_sans
from parkube.controlplane.registry.resource import User
from parkube.controlplane.tunnel.answers import ANONYMOUS, Ask
from parkube.controlplane.tunnel.joining import NodePasswords
from parkube.controlplane.tunnel.relay import fetch
from parkube.controlplane.tunnel.site import TUNNEL_PATH, Site
from parkube.controlplane.tunnel.tunnels import Tunnels
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import AlreadyExists, ApiError, Forbidden, NotFound, Obj, ServiceUnavailable
from parkube.nodeagent.join import Identity, JoinError, Uplink, join
from parkube.nodeagent.join.identity import certificate_fault
from parkube.nodeagent.join.joining import renew, renew_when_due


class Secrets:
    """As much of a `Client` as node passwords need."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        self.objects[obj["metadata"]["name"]] = obj
        return obj

    async def get(self, gvr: GVR, name: str, namespace: str = "", *, subresource: str = "") -> Obj:
        if name not in self.objects:
            raise NotFound(name)
        return self.objects[name]

    async def create(self, gvr: GVR, obj: Obj, namespace: str = "", **_: str) -> Obj:
        if obj["metadata"]["name"] in self.objects:
            raise AlreadyExists("taken")
        obj["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
        self.objects[obj["metadata"]["name"]] = obj
        return obj


class Server:
    """The API server's connection code with this room's handlers and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.pki: Pki = ensure(directory / "server", sans=default_sans("10.43.0.0/16", "cluster.local"))
        self.connections: set[Connection] = set()
        self.tunnels = Tunnels(lambda user: Connection(self.handle, self.connections, user))
        self.site = Site(self.pki, Secrets(), directory / "server" / "images", {"cluster_cidr": "10.42.0.0/16"})  # type: ignore[arg-type]
        self.asked: list[tuple[str, str]] = []

    async def start(self) -> str:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self.handle, self.connections), "127.0.0.1", 0, ssl=self.pki.server_ssl_context()
        )
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self.tunnels.close()
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self._server.close()
        await asyncio.sleep(0)

    async def handle(self, request: Request) -> Response | None:
        user = request.connection.tunnel_user or self._user(request)
        self.asked.append((user.name, request.path))
        try:
            if request.path == TUNNEL_PATH:
                self.tunnels.adopt(user, request.hijack)
                return None
            if request.path == "/whoami":
                return Response(200, user.name.encode())
            ask = Ask(request.method, request.path, request.query, request.headers, request.body, user)
            answer = await self.site.handle(ask)
            return Response(answer.status, answer.body, answer.content_type, answer.headers)
        except ApiError as exc:
            import orjson

            return Response(exc.code, orjson.dumps(exc.status()))

    def _user(self, request: Request) -> User:
        assert request.connection.transport is not None
        names = request.connection.transport.get_extra_info("peercert") or {}
        subject: dict[str, str] = {key: value for part in names.get("subject", ()) for key, value in part}
        if not subject:
            return ANONYMOUS
        return User(subject["commonName"], (subject.get("organizationName", ""),))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[Server, str]]:
    server = Server(tmp_path)
    yield server, await server.start()
    await server.stop()


async def joined(cluster: tuple[Server, str], directory: Path, node: str = "raspberrypi", **more: Any) -> Identity:
    values = {"server": cluster[1], "token": cluster[0].pki.node_token, "node": node, **more}
    return await join(tls_dir=directory / "tls", password_file=directory / "password", **values)


class Get(asyncio.Protocol):
    """One GET over a stream; the whole answer."""

    def __init__(self, path: str) -> None:
        self.path, self.got = path, b""
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(f"GET {self.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(self.got)


class Hello(asyncio.Protocol):
    """An agent's HTTP server of one answer."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello")
        self.transport.close()


async def test_a_node_joins_and_both_ends_open_streams(server: tuple[Server, str], tmp_path: Path) -> None:
    identity = await joined(server, tmp_path)
    assert identity.settings == {"cluster_cidr": "10.42.0.0/16"}
    assert (identity.key.stat().st_mode & 0o777, identity.directory.stat().st_mode & 0o777) == (0o600, 0o700)
    uplink = Uplink(server[1], identity, Hello)
    running = asyncio.create_task(uplink.run())
    await uplink.wait_connected()
    assert uplink.local_address == "127.0.0.1"
    _, get = await uplink.dial(lambda: Get("/whoami"))
    assert (await get.done).endswith(b"system:node:raspberrypi")
    answer = await fetch(server[0].tunnels, "raspberrypi", "/containerLogs/a/b/c")
    assert answer.chunks is not None
    assert b"".join([chunk async for chunk in answer.chunks]) == b"hello"
    with pytest.raises(ServiceUnavailable, match='node "other" is not connected'):
        await fetch(server[0].tunnels, "other", "/")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    for _ in range(50):
        if not len(server[0].tunnels):
            break
        await asyncio.sleep(0.01)
    assert server[0].tunnels.get("raspberrypi") is None


async def connected(server: tuple[Server, str], identity: Identity) -> tuple[Uplink, asyncio.Task[None]]:
    uplink = Uplink(server[1], identity, Hello, rng=random.Random(1))
    running = asyncio.create_task(uplink.run())
    await uplink.wait_connected()
    return uplink, running


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_newer_tunnel_of_a_node_takes_the_place_of_the_older(
    server: tuple[Server, str], tmp_path: Path
) -> None:
    identity = await joined(server, tmp_path)
    older, first = await connected(server, identity)
    newer, second = await connected(server, identity)
    async with asyncio.timeout(5):
        while older.connected:
            await asyncio.sleep(0.01)
    assert newer.connected
    assert len(server[0].tunnels) == 1
    await ended(first, second)


async def test_a_silent_agent_is_dropped_and_a_living_one_is_not(server: tuple[Server, str], tmp_path: Path) -> None:
    uplink, running = await connected(server, await joined(server, tmp_path))
    tunnels = server[0].tunnels
    tunnels.sweep()
    _, get = await uplink.dial(lambda: Get("/whoami"))
    await get.done
    tunnels.sweep()
    assert tunnels.get("raspberrypi") is not None
    tunnels.sweep()
    async with asyncio.timeout(5):
        while uplink.connected:
            await asyncio.sleep(0.01)
    await ended(running)


async def test_a_silent_server_is_asked_and_then_dropped(
    server: tuple[Server, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parkube.nodeagent.join.uplink.WATCH_S", 0.05)
    uplink, running = await connected(server, await joined(server, tmp_path))
    await asyncio.sleep(0.3)
    assert uplink.connected, "it answered the pings"
    tunnel = server[0].tunnels.get("raspberrypi")
    assert tunnel is not None
    monkeypatch.setattr(type(tunnel.mux), "data_received", lambda self, data: None)  # neither end hears anything
    async with asyncio.timeout(5):
        while uplink.connected:
            await asyncio.sleep(0.01)
    monkeypatch.undo()
    await ended(running)


async def test_only_a_node_may_open_a_tunnel(server: tuple[Server, str]) -> None:
    with pytest.raises(Forbidden, match='user "bob" is no node'):
        server[0].tunnels.adopt(User("bob", ("system:authenticated",)), lambda protocol: None)  # type: ignore[arg-type,return-value]


async def test_a_second_start_asks_nobody(server: tuple[Server, str], tmp_path: Path) -> None:
    first = await joined(server, tmp_path)
    again = await joined(server, tmp_path, server="https://127.0.0.1:1", token="")
    assert again == first


async def test_a_certificate_that_ran_out_is_renewed_by_the_token(server: tuple[Server, str], tmp_path: Path) -> None:
    first = await joined(server, tmp_path)
    years_later = first.expires + 86400.0
    with pytest.raises(JoinError, match="has run out: start the agent with its --token once"):
        await joined(server, tmp_path, token="", clock=lambda: years_later)
    again = await joined(server, tmp_path, clock=lambda: years_later)
    assert again.certificate.read_bytes()
    assert again.joined == years_later


async def test_a_certificate_that_holds_is_renewed_without_token(server: tuple[Server, str], tmp_path: Path) -> None:
    identity = await joined(server, tmp_path)
    before = identity.certificate.read_bytes()
    await renew(identity, server[1], tmp_path / "password")
    assert identity.certificate.read_bytes() != before
    assert server[0].asked[-1] == ("system:node:raspberrypi", "/v1-parkube/join")


async def test_a_certificate_is_renewed_in_the_last_third_of_its_life(
    server: tuple[Server, str], tmp_path: Path
) -> None:
    identity = await joined(server, tmp_path)
    now = time.time()
    used: list[tuple[float, Identity]] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if used:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await renew_when_due(
            identity, server[1], tmp_path / "password", lambda i: used.append((now, i)), clock=lambda: now, sleep=sleep
        )
    at, renewed = used[0]
    assert 0.66 < (at - identity.joined) / (identity.expires - identity.joined) < 0.68
    assert renewed.certificate.read_bytes()


async def test_a_clock_that_is_wrong_is_named(server: tuple[Server, str]) -> None:
    error = ssl.SSLCertVerificationError("x")
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"
    assert "this machine's clock says" in certificate_fault(error, server[1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: "", "needs a token"),
        (lambda t: t[:30], "lacks the hash of the server's CA, or is cut"),
        (lambda t: t[:80], "not this cluster's"),
        (lambda t: t.partition("::")[2], "lacks the hash"),
        (lambda t: "K10" + "0" * 64 + t[67:], "is not the one that the token was made for"),
        (lambda t: t[:-1] + ("0" if t[-1] != "0" else "1"), "not this cluster's"),
        (lambda t: t.partition("::")[0] + "::", "cut or malformed"),
    ],
)
async def test_wrong_tokens(server: tuple[Server, str], tmp_path: Path, change: Any, sentence: str) -> None:
    with pytest.raises(JoinError, match=sentence):
        await joined(server, tmp_path, token=change(server[0].pki.node_token))
    assert not (tmp_path / "tls").exists()
    if "made for" in sentence:
        assert {path for _, path in server[0].asked} == {"/cacerts"}, "nothing secret was said to a stranger"


async def test_two_agents_with_one_name(server: tuple[Server, str], tmp_path: Path) -> None:
    await joined(server, tmp_path / "one")
    with pytest.raises(JoinError, match='another machine has joined as node "raspberrypi"'):
        await joined(server, tmp_path / "two")
    await joined(server, tmp_path / "two", node="raspberrypi2")


async def test_a_deleted_node_frees_its_name_and_a_living_one_keeps_it() -> None:
    client = Secrets()
    now = time.time()
    passwords = NodePasswords(client, lambda: now)  # type: ignore[arg-type]
    await passwords.claim("n", "first")
    now += 3600
    client.objects["n"] = {"kind": "Node"}
    with pytest.raises(Forbidden, match="kubectl delete node n"):
        await passwords.claim("n", "second")
    del client.objects["n"]
    await passwords.claim("n", "second")
    await passwords.claim("n", "second")
    client.objects["n"] = {"kind": "Node"}
    with pytest.raises(Forbidden):
        await passwords.claim("n", "first")


async def test_an_unreachable_server_and_one_that_is_none(tmp_path: Path) -> None:
    token = "K10" + "0" * 64 + "::server:secret"
    paths = {"tls_dir": tmp_path / "tls", "password_file": tmp_path / "password"}
    with pytest.raises(JoinError, match=r"https://127\.0\.0\.1:1 cannot be reached: "):
        await join(server="https://127.0.0.1:1", token=token, node="n", **paths)
    plain = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    with pytest.raises(JoinError, match=f"127.0.0.1:{port}"):
        await join(server=f"https://127.0.0.1:{port}", token=token, node="n", **paths)
    plain.close()
    with pytest.raises(JoinError, match="is not the address of a server"):
        await join(server="http://there", token=token, node="n", **paths)


async def test_a_node_certificate_cannot_pose_as_the_server(server: tuple[Server, str], tmp_path: Path) -> None:
    """The server CA signs API servers only: what the client CA signed for serving is not believed."""
    identity = await joined(server, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    posing = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0, ssl=context)
    uplink = Uplink(f"https://127.0.0.1:{posing.sockets[0].getsockname()[1]}", identity, Hello)
    running = asyncio.create_task(uplink.run())
    while not uplink.fault:
        await asyncio.sleep(0.01)
    assert "is not by the CA that this node joined" in uplink.fault
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    posing.close()
