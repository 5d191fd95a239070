"""Logs, exec and attach at the agent: over a mux, as the API server asks, towards a runtime's SPDY server."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.tunnel.relay import fetch, pass_through
from parkube.kubeapi.errors import BadRequest, NotFound
from parkube.nodeagent.plan.model import Container, ContainerPhase
from parkube.nodeagent.streams import StreamServer, websocket
from parkube.nodeagent.streams.logs import LogOptions, format_line, read_log, tail_offset
from parkube.nodeagent.streams.server import log_options
from parkube.nodeagent.streams.spdy import Data, Session
from parkube.nodeagent.sync.pages import Page
from tests.fakes.cri_streaming import StreamingServer
from tests.unit.test_mux import End, Pair

LINES = [
    b"2026-11-23T10:00:00.000000001Z stdout F one",
    b"2026-11-23T10:00:01.000000001Z stderr F two",
    b"2026-11-23T10:00:02.000000001Z stdout P thr",
    b"2026-11-23T10:00:02.000000002Z stdout F ee",
    b"2026-11-23T10:00:03Z stdout F ",
]
LOG = b"\n".join(LINES) + b"\n"
PLAIN = b"one\ntwo\nthree\n\n"


class Box:
    """Containers as streams see them."""

    def __init__(self, url: str = "", *containers: Container) -> None:
        self.url = url
        self.found = list(containers)
        self.asked: list[Any] = []

    async def containers(self, namespace: str, pod: str, container: str = "") -> list[Container]:
        return [c for c in self.found if container in ("", c.name)]

    async def exec_url(self, container_id: str, command: Sequence[str], **flags: bool) -> str:
        self.asked.append((container_id, list(command), flags))
        return self.url

    async def attach_url(self, container_id: str, **flags: bool) -> str:
        self.asked.append((container_id, flags))
        return self.url

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        self.asked.append((sandbox_id, list(ports)))
        return self.url


class Node:
    """`Tunnels` with one node whose agent is in this process."""

    def __init__(self, box: Box) -> None:
        self.pair = Pair()
        self.server = self.pair.left._accept = StreamServer(box)

    def open(self, node: str, protocol: asyncio.Protocol) -> Any:
        stream = self.pair.right.open(protocol)
        self.pump = asyncio.ensure_future(self._move())
        return stream

    async def _move(self) -> None:
        while True:
            self.pair.to_left.move()
            self.pair.to_right.move()
            await asyncio.sleep(0.001)


def container(phase: ContainerPhase = ContainerPhase.RUNNING, **more: Any) -> Container:
    return Container("id1", "web", 0, phase, **more)


# -- logs


async def collect(path: Path, options: LogOptions, running: list[bool] | None = None) -> bytes:
    states = running or [False]

    async def is_running() -> bool:
        return states.pop(0) if len(states) > 1 else states[0]

    async def sleep(seconds: float) -> None:
        if len(states) == 1:
            with path.open("ab") as file:
                file.write(b"2026-11-23T10:00:09Z stdout F late\n")

    return b"".join([chunk async for chunk in read_log(path, options, is_running, sleep)])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LogOptions(), PLAIN),
        (LogOptions(tail=0), b""),
        (LogOptions(tail=1), b"\n"),
        (LogOptions(tail=3), b"three\n\n"),
        (LogOptions(tail=99), PLAIN),
        (LogOptions(limit_bytes=6), b"one\ntw"),
        (LogOptions(stream="stderr"), b"two\n"),
        (LogOptions(since=1795428002.0), b"three\n\n"),
        (LogOptions(timestamps=True, tail=1), b"2026-11-23T10:00:03Z \n"),
    ],
)
async def test_a_log_is_read_as_asked(tmp_path: Path, options: LogOptions, expected: bytes) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    assert await collect(path, options) == expected


async def test_following_ends_with_the_container_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    assert await collect(path, LogOptions(follow=True), [True, True, False]) == PLAIN + b"late\n"
    assert await collect(tmp_path / "none.log", LogOptions()) == b""


async def test_a_rotated_log_is_read_to_its_end_and_then_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    looks = 0

    async def running() -> bool:
        return looks < 2

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            path.rename(tmp_path / "0.log.1")
            with (tmp_path / "0.log.1").open("ab") as old:
                old.write(b"2026-11-23T10:00:08Z stdout F before\n")
            path.write_bytes(b"2026-11-23T10:00:09Z stdout F after\n")

    chunks = [chunk async for chunk in read_log(path, LogOptions(follow=True), running, sleep)]
    assert b"".join(chunks) == PLAIN + b"before\nafter\n"


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30), st.integers(0, 40))
def test_the_tail_is_the_last_lines(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], count: int) -> None:
    path = tmp_path_factory.getbasetemp() / "tail.log"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with path.open("rb") as file:
        file.seek(tail_offset(file.fileno(), count))
        assert (
            file.read().splitlines()
            == b"".join(line + b"\n" for line in (lines[-count:] if count else [])).splitlines()
        )


def test_lines_that_are_none_are_left_out() -> None:
    assert format_line(b"garbage", LogOptions()) == b""
    assert format_line(b"t stdout F", LogOptions()) == b"\n"


def test_log_options_of_a_query() -> None:
    assert log_options({"tailLines": "0", "sinceSeconds": "10", "follow": "true"}, 100.0) == LogOptions(
        follow=True, since=90.0, tail=0
    )
    with pytest.raises(BadRequest):
        log_options({"sinceTime": "yesterday"}, 0.0)


async def test_logs_travel_to_the_api_server(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG * 2000)
    node = Node(Box("", container(ContainerPhase.EXITED, log_path=str(path)), container(log_path=str(path))))
    answer = await fetch(node, "n", "/containerLogs/ns/pod/web?limitBytes=20000")  # type: ignore[arg-type]
    assert answer.chunks is not None
    assert b"".join([chunk async for chunk in answer.chunks]) == (PLAIN * 2000)[:20000]
    with pytest.raises(NotFound, match='container "other" in pod "pod" is not there'):
        await fetch(node, "n", "/containerLogs/ns/pod/other")  # type: ignore[arg-type]
    node.pump.cancel()


async def test_what_the_agent_shows_of_itself_is_read_through_its_tunnel() -> None:
    class Shows:
        async def page(self, path: str) -> Page:
            if path != "/pods":
                raise NotFound("nothing there")
            return Page("application/json", b"{}")

    node = Node(Box(""))
    node.server.pages = Shows()
    answer = await fetch(node, "n", "/pods?x=1")  # type: ignore[arg-type]
    assert answer.chunks is not None
    assert (answer.content_type, b"".join([c async for c in answer.chunks])) == (b"application/json", b"{}")
    with pytest.raises(NotFound, match="nothing there"):
        await fetch(node, "n", "/secrets")  # type: ignore[arg-type]
    node.pump.cancel()


async def test_no_previous_container(tmp_path: Path) -> None:
    node = Node(Box("", container()))
    with pytest.raises(BadRequest, match='previous terminated container "web" in pod "pod" not found'):
        await fetch(node, "n", "/containerLogs/ns/pod/web?previous=true")  # type: ignore[arg-type]
    node.pump.cancel()


# -- exec


async def executed(
    box: Box, headers: dict[str, str], query: str, method: str = "GET", path: str = "/exec/ns/pod/web"
) -> tuple[Node, End, Any]:
    """Ask for exec (or what is at `path`) through the relay; the client's end of the connection."""
    node = Node(box)
    between = Pair()
    client = End()

    def hijack(protocol: asyncio.Protocol) -> asyncio.Transport:
        between.right._accept = lambda: protocol
        between.left.open(client)
        return None  # type: ignore[return-value]

    target = f"{path}?{query}"
    pass_through(node, "n", method, target, headers.items(), hijack)  # type: ignore[arg-type]

    async def move() -> None:
        while True:
            between.to_left.move()
            between.to_right.move()
            await asyncio.sleep(0.001)

    return node, client, asyncio.ensure_future(move())


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


def masked(opcode: int, payload: bytes) -> bytes:
    mask = b"\x11\x22\x33\x44"
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    size = struct.pack(">B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack(">BH", 0xFE, len(payload))
    return bytes((0x80 | opcode,)) + size + mask + body


WEBSOCKET = {
    "upgrade": "websocket",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "v5.channel.k8s.io, v4.channel.k8s.io",
}


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        size, at = data[1], 2
        if size == 126:
            size, at = struct.unpack(">H", data[2:4])[0], 4
        found.append((data[0] & 15, data[at : at + size]))
        data = data[at + size :]
    return found


async def test_exec_over_websocket_v5_with_stdin_end_and_exit_code() -> None:
    status = orjson.dumps({"status": "Failure", "reason": "NonZeroExitCode"})

    async def command(server: StreamingServer) -> None:
        got = b""
        while (piece := await server.stdin.get()) is not None:
            got += piece
        server.send("stdout", b"you said " + got)
        server.send("stderr", b"careful")
        server.send("error", status, end=True)

    runtime = StreamingServer(4, command)
    box = Box(await runtime.start(), container())
    node, client, pump = await executed(box, WEBSOCKET, "command=cat&command=-u&stdin=true&stdout=true&stderr=true")
    await until(lambda: b"\r\n\r\n" in client.got)
    head, _, _ = bytes(client.got).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert b"Sec-WebSocket-Protocol: v5.channel.k8s.io" in head
    assert client.stream is not None
    client.stream.write(masked(websocket.BINARY, b"\x00hel") + masked(websocket.BINARY, b"\x00lo"))
    client.stream.write(masked(websocket.PING, b"alive?") + masked(websocket.BINARY, b"\xff\x00"))
    await until(lambda: client.eof or client.lost)
    got = frames(bytes(client.got).partition(b"\r\n\r\n")[2])
    assert (websocket.PONG, b"alive?") in got
    assert b"".join(p[1:] for o, p in got if o == websocket.BINARY and p[0] == 1) == b"you said hello"
    assert (websocket.BINARY, b"\x02careful") in got
    assert got[-2:] == [(websocket.BINARY, b"\x03" + status), (websocket.CLOSE, struct.pack(">H", 1000))]
    flags = {"tty": False, "stdin": True, "stdout": True, "stderr": True}
    assert box.asked == [("id1", ["cat", "-u"], flags)]
    pump.cancel()
    node.pump.cancel()


OLDEST = [(2, b"\x01hi"), (2, b"\x03command terminated with exit code 3")]


@pytest.mark.parametrize("failed", [True, False])
@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ("channel.k8s.io", OLDEST),
        ("base64.channel.k8s.io", [(1, b"1aGk="), (1, b"3" + b64encode(OLDEST[1][1][1:]))]),
        ("", OLDEST),
    ],
)
async def test_the_oldest_subprotocols_tell_a_fault_in_words(
    offered: str, expected: list[tuple[int, bytes]], failed: bool
) -> None:
    """And success not at all: the client reads standard output to its end."""

    def command(server: StreamingServer) -> None:
        server.send("stdout", b"hi", end=True)
        how = {"status": "Failure", "message": "command terminated with exit code 3"}
        server.send("error", orjson.dumps(how if failed else {"status": "Success"}), end=True)

    runtime = StreamingServer(2, command)
    box = Box(await runtime.start(), container())
    headers = {**WEBSOCKET, "sec-websocket-protocol": offered}
    node, client, pump = await executed(box, headers, "command=ls&stdout=true")
    await until(lambda: client.eof or client.lost)
    head, _, body = bytes(client.got).partition(b"\r\n\r\n")
    assert (b"Sec-WebSocket-Protocol" in head) == bool(offered)
    assert frames(body)[:-1] == (expected if failed else expected[:1])
    pump.cancel()
    node.pump.cancel()


async def test_stdin_in_base64_is_read() -> None:
    async def command(server: StreamingServer) -> None:
        server.send("stdout", await server.stdin.get() or b"", end=True)
        server.send("error", b'{"status":"Success"}', end=True)

    runtime = StreamingServer(3, command)
    headers = {**WEBSOCKET, "sec-websocket-protocol": "base64.channel.k8s.io"}
    box = Box(await runtime.start(), container())
    node, client, pump = await executed(box, headers, "command=cat&stdout=true&stdin=true")
    await until(lambda: "stdin" in runtime.streams)
    assert client.stream is not None
    client.stream.write(masked(websocket.TEXT, b"0not base64") + masked(websocket.TEXT, b"0aGk="))
    await until(lambda: client.eof or client.lost)
    assert (websocket.TEXT, b"1aGk=") in frames(bytes(client.got).partition(b"\r\n\r\n")[2])
    pump.cancel()
    node.pump.cancel()


@pytest.mark.parametrize(
    ("offered", "opcode", "text"), [("binary.k8s.io", 2, PLAIN), ("base64.binary.k8s.io", 1, b64encode(PLAIN))]
)
async def test_a_log_is_read_over_websocket(tmp_path: Path, offered: str, opcode: int, text: bytes) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    box = Box("", container(ContainerPhase.EXITED, log_path=str(path)))
    headers = {**WEBSOCKET, "sec-websocket-protocol": offered}
    node, client, pump = await executed(box, headers, "", path="/containerLogs/ns/pod/web")
    await until(lambda: client.eof or client.lost)
    got = frames(bytes(client.got).partition(b"\r\n\r\n")[2])
    assert got == [(opcode, text), (websocket.CLOSE, struct.pack(">H", 1000))]
    pump.cancel()
    node.pump.cancel()


async def test_a_log_that_is_followed_over_websocket_ends_with_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    box = Box("", container(log_path=str(path)))
    headers = {**WEBSOCKET, "sec-websocket-protocol": "binary.k8s.io"}
    node, client, pump = await executed(box, headers, "follow=true", path="/containerLogs/ns/pod/web")
    await until(lambda: b"three" in client.got)
    assert client.stream is not None
    client.stream.write(masked(websocket.PING, b"there?") + masked(websocket.CLOSE, struct.pack(">H", 1000)))
    await until(lambda: client.eof or client.lost)
    assert websocket.frame(websocket.PONG, b"there?") in client.got
    pump.cancel()
    node.pump.cancel()


async def test_a_terminal_has_no_stderr_and_can_be_resized() -> None:
    async def command(server: StreamingServer) -> None:
        await until(lambda: server.resizes)
        server.send("error", b'{"status":"Success"}')

    runtime = StreamingServer(4, command)
    box = Box(await runtime.start(), container())
    node, client, pump = await executed(box, WEBSOCKET, "command=sh&stdin=1&stdout=1&stderr=1&tty=1")
    await until(lambda: set(runtime.streams) == {"error", "stdin", "stdout", "resize"})
    assert client.stream is not None
    client.stream.write(masked(websocket.BINARY, b'\x04{"Width":80,"Height":24}'))
    await until(lambda: client.eof or client.lost)
    assert runtime.resizes == [b'{"Width":80,"Height":24}']
    pump.cancel()
    node.pump.cancel()


@pytest.mark.parametrize("offered", ["v4.channel.k8s.io", ""])
async def test_a_port_is_forwarded_over_websocket_until_its_end(offered: str) -> None:
    """With a subprotocol, and with none offered, as some clients do."""

    async def command(server: StreamingServer) -> None:
        await until(lambda: server.resizes)
        server.send("data", b"HTTP/1.0 200 OK", end=True)
        await asyncio.sleep(0.2)

    runtime = StreamingServer(2, command)
    box = Box(await runtime.start(), container())
    headers = {**WEBSOCKET, "sec-websocket-protocol": offered}
    node, client, pump = await executed(box, headers, "ports=8080", path="/portForward/ns/pod")
    await until(lambda: set(runtime.streams) == {"error", "data"})
    assert client.stream is not None
    client.stream.write(masked(websocket.BINARY, b"\x00GET / HTTP/1.0\r\n\r\n"))
    await until(lambda: client.eof or client.lost)
    got = frames(bytes(client.got).partition(b"\r\n\r\n")[2])
    port = (8080).to_bytes(2, "little")
    assert got[:2] == [(websocket.BINARY, b"\x00" + port), (websocket.BINARY, b"\x01" + port)]
    assert got[2:] == [(websocket.BINARY, b"\x00HTTP/1.0 200 OK"), (websocket.CLOSE, struct.pack(">H", 1000))]
    assert runtime.resizes == [b"GET / HTTP/1.0\r\n\r\n"]
    assert box.asked[0][1] == [8080]
    pump.cancel()
    node.pump.cancel()


async def test_exec_over_spdy_passes_through() -> None:
    runtime = StreamingServer(2, lambda server: server.send("stdout", b"hi", end=True))
    box = Box(await runtime.start(), container())
    headers = {"upgrade": "SPDY/3.1", "x-stream-protocol-version": "v4.channel.k8s.io,v3.channel.k8s.io"}
    node, client, pump = await executed(box, headers, "command=ls&stdout=true", "POST")
    await until(lambda: b"\r\n\r\n" in client.got)
    assert runtime.head.count(b"X-Stream-Protocol-Version: v") == 2
    assert client.stream is not None
    session = Session()
    for name in ("error", "stdout"):
        client.stream.write(session.open({"streamType": name})[1])
    await until(lambda: client.eof or client.lost)
    events = list(session.feed(bytes(client.got).partition(b"\r\n\r\n")[2]))
    assert Data(runtime.streams["stdout"], b"hi", True) in events
    pump.cancel()
    node.pump.cancel()


@pytest.mark.parametrize(
    ("headers", "box", "text"),
    [
        ({"upgrade": "websocket", "sec-websocket-protocol": "chat"}, Box("", container()), b"only v5.channel.k8s.io"),
        (WEBSOCKET, Box(""), b"is not there"),
        (WEBSOCKET, Box("", container(ContainerPhase.EXITED)), b"container not found"),
        (WEBSOCKET, Box("http://127.0.0.1:1/exec/x", container()), b"Connect call failed"),
        ({"upgrade": "h2c"}, Box("", container()), b"SPDY/3.1 or WebSocket is needed"),
    ],
)
async def test_what_cannot_be_run_is_said_in_a_status(headers: dict[str, str], box: Box, text: bytes) -> None:
    node, client, pump = await executed(box, headers, "command=ls&stdout=true")
    await until(lambda: client.eof or client.lost)
    assert bytes(client.got).startswith(b"HTTP/1.1 4") or b"HTTP/1.1 500" in client.got
    assert b'"kind":"Status"' in client.got
    assert text in client.got
    pump.cancel()
    node.pump.cancel()


async def test_a_runtime_that_refuses_is_quoted() -> None:
    runtime = StreamingServer(2, lambda server: None, refuse=b"token expired")
    box = Box(await runtime.start(), container())
    node, client, pump = await executed(box, WEBSOCKET, "command=ls&stdout=true")
    await until(lambda: client.eof or client.lost)
    assert b"the runtime refuses the stream: token expired" in client.got
    pump.cancel()
    node.pump.cancel()
