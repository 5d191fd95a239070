"""A small HTTP/1.1 client over any asyncio transport: TLS sockets, or streams of a tunnel. No redirects, no cookies.

A connection's life: dialled -> busy (one request) -> idle, kept for the next -> busy … -> closed by either end.
A response is read whole (`request`) or in pieces (`stream`); a reader that does not keep up pauses the transport.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import httptools

P = TypeVar("P", bound=asyncio.Protocol)
Dialer = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[Any, Any]]]
"""Connects a protocol made by the factory: `(transport, protocol)`, as `loop.create_connection` answers."""

_HIGH_WATER = 1 << 20  # bytes of a streamed body that may wait for their reader
_SAFE = ("GET", "HEAD")


class HttpError(ConnectionError):
    """The connection broke, or what came over it is not HTTP."""


class Response(NamedTuple):
    """A whole response; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def tcp(host: str, port: int, context: ssl.SSLContext | None = None, server_hostname: str | None = None) -> Dialer:
    """Dials a host; with TLS when a context is given."""

    async def dial(factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        name = server_hostname or (host if context else None)
        loop = asyncio.get_running_loop()
        return await loop.create_connection(factory, host, port, ssl=context, server_hostname=name)

    return dial


class _Connection(asyncio.Protocol):
    """One connection; at most one request on it at a time. The parser calls the `on_…` methods."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reset()
        self.error: BaseException | None = None
        self.lost = False

    def _reset(self) -> None:
        self.headers: dict[str, str] = {}
        self.chunks: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.answered = self.complete = self.keep = False
        self._wake: asyncio.Event = asyncio.Event()

    # -- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(HttpError(f"the answer is not HTTP: {error}"))
            return
        if self.waiting_bytes > _HIGH_WATER and self.transport is not None:
            self.transport.pause_reading()
        self._wake.set()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        if not self.complete and self.error is None:
            self.error = HttpError(f"the connection was lost{f': {exc}' if exc else ''}")
        self._wake.set()

    def _fail(self, error: BaseException) -> None:
        self.error = error
        self.close()
        self._wake.set()

    # -- the parser's side

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self.answered = True
        else:
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)
        self.waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.answered:
            self.complete = True
            self.keep = bool(self._parser.should_keep_alive())  # the parser forgets it after this call

    # -- the client's side

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    @property
    def reusable(self) -> bool:
        return (
            self.complete and self.keep and not self.lost and self.error is None
            and self.transport is not None and not self.transport.is_closing()
        )  # fmt: skip

    def begin(self, request: bytes) -> None:
        """Send a request on a connection that is idle."""
        if self.complete:
            self._reset()
            self._parser = httptools.HttpResponseParser(self)
        if self.transport is not None:
            self.transport.write(request)

    async def until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self.error is not None:
                raise self.error
            self._wake.clear()
            await self._wake.wait()

    def take(self) -> bytes:
        """One piece of the body that has arrived."""
        piece = self.chunks.popleft()
        self.waiting_bytes -= len(piece)
        if self.waiting_bytes <= _HIGH_WATER and self.transport is not None and not self.lost:
            self.transport.resume_reading()
        return piece

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class Stream:
    """A response whose body is read in pieces. Close it, or read it to its end."""

    def __init__(self, connection: _Connection, done: Callable[[_Connection], None]) -> None:
        self._connection, self._done = connection, done
        self.status, self.headers = connection.status, connection.headers
        self._open = True

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises HttpError when the connection breaks before its end."""
        connection = self._connection
        while True:
            await connection.until(lambda: bool(connection.chunks) or connection.complete)
            if not connection.chunks:
                self.close()
                return
            yield connection.take()

    async def read(self) -> bytes:
        """The whole body."""
        pieces = [piece async for piece in self.chunks()]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Give the connection back; if the body was not read to its end, it is closed."""
        if self._open:
            self._open = False
            self._done(self._connection)


class HttpClient:
    """Keeps at most `max_idle` idle connections; how many are busy is the callers' affair."""

    def __init__(
        self, dial: Dialer, *, host: str = "parkube", headers: Mapping[str, str] | None = None, max_idle: int = 2
    ) -> None:
        self._dial, self._max_idle = dial, max_idle
        fixed = {"Host": host, **(headers or {})}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    async def request(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Response:  # fmt: skip
        """A whole exchange. Raises HttpError, OSError from dialling, TimeoutError."""
        async with asyncio.timeout(timeout):
            stream = await self._exchange(method, path, body, headers or {})
            try:
                return Response(stream.status, stream.headers, await stream.read())
            finally:
                stream.close()

    async def stream(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Stream:  # fmt: skip
        """An exchange up to the response's headers, which `timeout` is for."""
        async with asyncio.timeout(timeout):
            return await self._exchange(method, path, body, headers or {})

    async def close(self) -> None:
        """Close every connection."""
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle = []

    async def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Stream:
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body)}\r\n" if body or method not in (*_SAFE, "DELETE") else ""
        request = f"{method} {path} HTTP/1.1\r\n{self._fixed}{extra}{length}\r\n".encode("latin-1") + body
        while True:
            connection, fresh = await self._connection()
            self._busy.add(connection)
            try:
                connection.begin(request)
                await connection.until(lambda connection=connection: connection.answered)  # type: ignore[misc]
                return Stream(connection, self._release)
            except HttpError:
                self._release(connection)
                if fresh or method not in _SAFE:
                    raise
            except BaseException:
                self._release(connection)
                raise

    async def _connection(self) -> tuple[_Connection, bool]:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection, False
            connection.close()
        _, connection = await self._dial(_Connection)
        return connection, True

    def _release(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection.reusable and not connection.chunks and len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.close()
