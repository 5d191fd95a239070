"""The HTTP client against a server that plays its part: reuse, streaming, retries, broken and slow peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from parkube.kubeapi.http import HttpClient, HttpError, tcp

Play = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """Serves every request by `play`; counts connections and keeps the requests."""

    def __init__(self) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self.play: Play = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
                body = await reader.readexactly(length[0]) if length else b""
                self.requests.append(head + body)
                await self.play(head + body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Some: Thing\r\n\r\nok")


@pytest.fixture
async def peer() -> Peer:
    return Peer()


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[HttpClient]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    made = HttpClient(tcp("127.0.0.1", server.sockets[0].getsockname()[1]), host="cluster", headers={"X-Fixed": "1"})
    yield made
    await made.close()
    server.close()


async def test_one_connection_serves_request_after_request(peer: Peer, client: HttpClient) -> None:
    for number in range(5):
        response = await client.request("POST", f"/{number}", body=b"body", headers={"X-Own": "2"})
        assert (response.status, response.headers["x-some"], response.body) == (200, "Thing", b"ok")
    assert peer.connections == 1
    assert peer.requests[4] == (
        b"POST /4 HTTP/1.1\r\nHost: cluster\r\nX-Fixed: 1\r\nX-Own: 2\r\nContent-Length: 4\r\n\r\nbody"
    )
    await asyncio.gather(*[client.request("GET", "/") for _ in range(6)])
    busy = peer.connections
    assert busy <= 7
    await asyncio.gather(*[client.request("GET", "/") for _ in range(2)])
    assert peer.connections == busy


async def test_a_body_is_read_in_pieces_as_they_come(peer: Peer, client: HttpClient) -> None:
    go_on = asyncio.Event()

    async def play(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await go_on.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    peer.play = play
    stream = await client.stream("GET", "/")
    pieces = stream.chunks()
    assert (stream.status, await anext(pieces)) == (200, b"one")
    go_on.set()
    assert [piece async for piece in pieces] == [b"two"]
    peer.play = answer
    await client.request("GET", "/")
    assert peer.connections == 1


async def test_a_reader_that_is_slow_pauses_the_sender(peer: Peer, client: HttpClient) -> None:
    size = 20 << 20
    paused = asyncio.Event()

    async def play(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.transport.set_write_buffer_limits(1 << 16)
        for _ in range(size >> 16):
            writer.write(b"x" * (1 << 16))
            try:
                await asyncio.wait_for(writer.drain(), 0.05)
            except TimeoutError:
                paused.set()
                await writer.drain()

    peer.play = play
    stream = await client.stream("GET", "/")
    await asyncio.wait_for(paused.wait(), 10)
    assert sum([len(piece) async for piece in stream.chunks()]) == size


async def test_only_safe_requests_are_tried_again_when_an_idle_connection_was_closed(
    peer: Peer, client: HttpClient
) -> None:
    async def hang_up_second(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) in (2, 5):
            writer.close()
        else:
            await answer(request, writer)

    peer.play = hang_up_second
    await client.request("GET", "/")
    assert (await client.request("GET", "/")).body == b"ok"
    assert (peer.connections, len(peer.requests)) == (2, 3)
    await client.request("GET", "/")
    with pytest.raises(HttpError, match="the connection was lost"):
        await client.request("POST", "/")


async def test_what_is_no_answer_is_an_error_and_a_silent_peer_times_out(peer: Peer, client: HttpClient) -> None:
    async def nonsense(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"I speak no HTTP\r\n\r\n")

    async def cut(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        writer.close()

    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    peer.play = nonsense
    with pytest.raises(HttpError, match="not HTTP"):
        await client.request("GET", "/")
    peer.play = cut
    with pytest.raises(HttpError):
        await client.request("GET", "/")
    peer.play = silent
    with pytest.raises(TimeoutError):
        await client.request("GET", "/", timeout=0.05)
    peer.play = answer
    assert (await client.request("GET", "/")).body == b"ok"
