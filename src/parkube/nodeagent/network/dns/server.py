"""The sockets of the cluster's DNS on a node: UDP and TCP at one address, and the servers above. Answers nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

log = logging.getLogger(__name__)
Answer = Callable[[bytes, bool], Awaitable[bytes | None]]
"""(query, over TCP) -> the answer."""
PORT = 53
_RETRY_S = 5.0
_UPSTREAM_S = 2.0  # for one server above; then the next is asked
_IDLE_S = 10.0  # a TCP client's silence
_MOST_AT_ONCE = 200


class DnsServer:
    """Listens until cancelled; an address that is not there yet is tried again."""

    def __init__(self, address: str, answer: Answer, port: int = PORT) -> None:
        self._address, self._answer, self._port = address, answer, port
        self._tasks: set[asyncio.Task[None]] = set()
        self.ready = asyncio.Event()
        self.port = port  # the one that it listens at, where 0 was asked for

    async def run(self) -> None:
        """Serve, until cancelled."""
        said = False
        while True:
            try:
                await self._serve()
            except OSError as error:
                if not said:
                    log.warning("names are not answered at %s: %s", self._address, error.strerror or error)
                said = True
            await asyncio.sleep(_RETRY_S)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._stream, self._address, self._port)
        try:
            self.port = server.sockets[0].getsockname()[1]
            datagrams, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._begin), local_addr=(self._address, self.port)
            )
            try:
                self.ready.set()
                await loop.create_future()
            finally:
                datagrams.close()
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()

    def _begin(self, query: bytes, reply: Callable[[bytes], None]) -> None:
        if len(self._tasks) >= _MOST_AT_ONCE:
            return  # the client asks again

        async def one() -> None:
            said = await self._answer(query, False)
            if said is not None:
                reply(said)

        task = asyncio.get_running_loop().create_task(one())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a DNS query failed", exc_info=task.exception())

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE_S):
                    query = await _read(reader)
                said = await self._answer(query, True)
                if said is None:
                    break
                writer.write(len(said).to_bytes(2, "big") + said)
                await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, begin: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self._begin = begin
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        if transport is not None:
            self._begin(data, lambda said: transport.sendto(said, addr))


async def _read(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


class Forwarder:
    """Asks the servers above, in their order; the first that answers is right."""

    def __init__(self, servers: Sequence[str], port: int = PORT) -> None:
        self._servers, self._port = tuple(servers), port

    async def __call__(self, query: bytes, tcp: bool) -> bytes | None:
        """The answer; None when nobody gives one."""
        for server in self._servers:
            with contextlib.suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(_UPSTREAM_S):
                    return await (self._by_tcp if tcp else self._by_udp)(server, query)
        return None

    async def _by_udp(self, server: str, query: bytes) -> bytes:
        waiting = _Waiting(query[:2])
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: waiting, remote_addr=(server, self._port)
        )
        try:
            transport.sendto(query)
            return await waiting.answer
        finally:
            transport.close()

    async def _by_tcp(self, server: str, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(len(query).to_bytes(2, "big") + query)
            return await _read(reader)
        finally:
            writer.close()


class _Waiting(asyncio.DatagramProtocol):
    def __init__(self, number: bytes) -> None:
        self._number = number
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._number and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)
