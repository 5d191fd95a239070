"""HTTP/1.1 on one connection: order, limits, broken input, streams and take-over."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import orjson
import pytest

from parkube.controlplane.apiserver.connection import IDLE, MAX_BODY, Connection
from parkube.controlplane.apiserver.http import Request, Response, Stream
from parkube.controlplane.apiserver.node_streams import send
from parkube.controlplane.tunnel.answers import Answer
from tests.fakes.transport import FakeTransport


class Served:
    """A connection whose handler is told what to do by path."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.gate = asyncio.Event()
        self.streams: list[Stream] = []
        self.connections: set[Connection] = set()
        self.connection = Connection(self.handle, self.connections)
        self.transport = FakeTransport(self.connection)

    async def handle(self, request: Request) -> Response | None:
        self.requests.append(request)
        if request.path == "/slow":
            await self.gate.wait()
        if request.path == "/stream":
            stream = request.stream(200, b"text/plain")
            stream.write(b"hello")
            self.streams.append(stream)
            return None
        if request.path == "/raise":
            raise ValueError("a bug")
        if request.path == "/mux":
            request.hijack(Echo())
            return None
        return Response(200, request.path.encode() + b"|" + request.body)

    async def say(self, data: bytes) -> bytes:
        self.transport.feed(data)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.transport.take()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"<" + data + b">")  # type: ignore[attr-defined]


@pytest.fixture
async def served() -> Served:
    return Served()


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    out = await served.say(b"GET /slow HTTP/1.1\r\n\r\nGET /a%20b?x=1&x=2 HTTP/1.1\r\n\r\n")
    assert out == b""
    served.gate.set()
    out = await served.say(b"POST /c HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi")
    assert re.findall(rb"\r\n\r\n(/[^H]*)", out) == [b"/slow|", b"/a b|", b"/c|hi"]
    assert served.requests[1].query == {"x": "1"}


async def test_too_many_waiting_requests_pause_reading(served: Served) -> None:
    await served.say(b"GET /slow HTTP/1.1\r\n\r\n" + b"GET /a HTTP/1.1\r\n\r\n" * 20)
    assert served.transport.paused
    served.gate.set()
    for _ in range(10):
        await served.say(b"")
    assert len(served.requests) == 21
    assert not served.transport.paused


async def test_a_body_over_the_limit_is_read_away_and_refused(served: Served) -> None:
    piece = b"x" * 65536
    await served.say(b"POST /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (160 * len(piece)))
    for _ in range(159):
        assert await served.say(piece) == b""
    out = await served.say(piece)
    assert out.startswith(b"HTTP/1.1 413 ")
    status = orjson.loads(out.partition(b"\r\n\r\n")[2])
    assert status["reason"] == "RequestEntityTooLarge"
    assert str(MAX_BODY) in status["message"]
    assert served.requests == []
    assert served.transport.closing


async def test_a_client_that_asks_first_is_refused_before_it_sends(served: Served) -> None:
    out = await served.say(b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10000000\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 413 ")
    other = Served()
    out = await other.say(b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert out == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await other.say(b"x")).endswith(b"/a|x")


async def test_endless_chunks_are_refused(served: Served) -> None:
    await served.say(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + b"y" * 0x100000 + b"\r\n"
    for _ in range(4):
        await served.say(chunk)
    assert (await served.say(b"0\r\n\r\n")).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"431"),
    ],
)
async def test_what_is_no_http_is_answered_and_closed(served: Served, data: bytes, code: bytes) -> None:
    assert (await served.say(data)).startswith(b"HTTP/1.1 " + code)
    assert served.transport.closing
    assert served.requests == []


async def test_a_handler_that_fails_costs_its_own_connection(served: Served) -> None:
    await served.say(b"GET /raise HTTP/1.1\r\n\r\n")
    assert served.transport.aborted
    await asyncio.sleep(0)
    assert served.connections == set()


async def test_a_stream_ends_and_the_connection_goes_on(served: Served) -> None:
    out = await served.say(b"GET /stream HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in out
    assert out.endswith(b"5\r\nhello\r\n")
    served.streams[0].end()
    assert (await served.say(b"")).startswith(b"0\r\n\r\nHTTP/1.1 200 OK")


async def test_a_stream_hears_that_its_client_left(served: Served) -> None:
    await served.say(b"GET /stream HTTP/1.1\r\n\r\n")
    gone = []
    served.streams[0].on_close(lambda: gone.append(1))
    served.connection.connection_lost(None)
    served.streams[0].write(b"into the void")
    served.streams[0].end()
    assert gone == [1]
    assert served.transport.take() == b""


async def test_a_follower_that_leaves_ends_what_it_followed() -> None:
    ended = asyncio.Event()

    async def quiet() -> AsyncIterator[bytes]:
        try:
            yield b"one line"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def handle(request: Request) -> Response | None:
        return await send(request, Answer(200, chunks=quiet()))

    connection = Connection(handle, set())
    transport = FakeTransport(connection)
    transport.feed(b"GET /log HTTP/1.1\r\n\r\n")
    while b"one line" not in transport.out:
        await asyncio.sleep(0)
    connection.connection_lost(None)
    async with asyncio.timeout(2):
        await ended.wait()


async def test_old_clients_get_a_stream_that_ends_with_the_connection(served: Served) -> None:
    out = await served.say(b"GET /stream HTTP/1.0\r\n\r\n")
    assert out.endswith(b"\r\n\r\nhello")
    served.streams[0].end()
    assert served.transport.closing


async def test_taking_over_passes_what_was_read_already(served: Served) -> None:
    out = await served.say(b"GET /mux HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: mux\r\n\r\nearly")
    assert out == b"HTTP/1.1 101 Switching Protocols\r\n\r\n<early>"
    assert await served.say(b"later") == b"<later>"
    assert served.connections == set()


async def test_an_upgrade_that_nobody_wants_is_answered_and_closed(served: Served) -> None:
    out = await served.say(b"GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 OK")
    assert served.transport.closing


async def test_idle_and_dribbling_connections_are_closed(served: Served) -> None:
    now = asyncio.get_running_loop().time()
    served.connection.check(now + IDLE / 2)
    assert not served.transport.closing
    await served.say(b"GET /a HT")
    served.connection.check(now + 60)
    assert served.transport.aborted
    streaming = Served()
    await streaming.say(b"GET /stream HTTP/1.1\r\n\r\n")
    streaming.connection.check(now + 10 * IDLE)
    assert not streaming.transport.closing
