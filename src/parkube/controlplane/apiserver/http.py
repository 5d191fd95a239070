"""A request, a response, and a streamed answer: what handlers see of HTTP/1.1. Parsing is connection.py's."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qsl

from parkube.controlplane.registry.resource import User

if TYPE_CHECKING:
    from parkube.controlplane.apiserver.connection import Connection

JSON = b"application/json"
REASONS = {
    100: b"Continue", 101: b"Switching Protocols", 200: b"OK", 201: b"Created", 202: b"Accepted",
    204: b"No Content",
    206: b"Partial Content", 301: b"Moved Permanently", 302: b"Found", 304: b"Not Modified",
    307: b"Temporary Redirect", 400: b"Bad Request",
    401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 406: b"Not Acceptable",
    409: b"Conflict", 410: b"Gone", 413: b"Request Entity Too Large", 415: b"Unsupported Media Type",
    416: b"Range Not Satisfiable", 422: b"Unprocessable Entity", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 507: b"Insufficient Storage",
}  # fmt: skip
Header = tuple[bytes, bytes]


def head(status: int, headers: Iterable[Header]) -> bytes:
    """The status line and headers, ready to write."""
    lines = [b"HTTP/1.1 %d %s\r\n" % (status, REASONS.get(status, b"Status"))]
    lines.extend(b"%s: %s\r\n" % pair for pair in headers)
    lines.append(b"\r\n")
    return b"".join(lines)


class Request:
    """One request with its whole body. `path` is percent-decoded, `raw_query` is not; header names are lower case."""

    __slots__ = (
        "_query", "body", "connection", "headers", "keep_alive", "method", "path", "raw_query", "target", "told",
        "user",
    )  # fmt: skip

    def __init__(self, method: str, target: bytes, headers: dict[str, str], connection: Connection) -> None:
        self.method = method
        self.target = target  # the URL as it came, for passing on
        self.headers = headers
        self.connection = connection
        self.body = b""
        self.keep_alive = True
        self.user = User("system:anonymous", ("system:unauthenticated",))
        self.path = ""
        self.raw_query = ""
        self.told: tuple[str, str] | None = None  # uids of the FlowSchema and the priority level that it came under
        self._query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The first value of each query parameter."""
        if self._query is None:
            pairs = parse_qsl(self.raw_query, keep_blank_values=True) if self.raw_query else []
            self._query = dict(reversed(pairs))
        return self._query

    def flag(self, name: str) -> bool:
        """A boolean query parameter, as the API reads it."""
        return self.query.get(name, "") in ("true", "1", "True", "t", "T", "TRUE")

    def stream(self, status: int, content_type: bytes, headers: Iterable[Header] = ()) -> Stream:
        """Begin a chunked answer; the handler then returns None, after `end()` or when the client went away."""
        return self.connection.start_stream(status, content_type, headers)

    def hijack(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Give the raw connection to `protocol`: it gets `connection_made` and what was already read.
        HTTP is over on it; the handler returns None. The answer to the upgrade is the caller's to write."""
        return self.connection.hijack(protocol)


class Response:
    """A whole answer."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self, status: int = 200, body: bytes = b"", content_type: bytes = JSON, headers: Iterable[Header] = ()
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = list(headers)


ZIP_FROM = 128 * 1024  # bytes; what is smaller costs more than it saves


async def zipped(request: Request, response: Response) -> Response:
    """The response with its body compressed, where that is worth it and the client takes it. Off the event loop."""
    wanted = "gzip" in request.headers.get("accept-encoding", "")
    if not wanted or request.method != "GET" or len(response.body) < ZIP_FROM or response.status != 200:
        return response
    body = await asyncio.to_thread(gzip.compress, response.body, 1, mtime=0)
    headers = [*response.headers, (b"Content-Encoding", b"gzip"), (b"Vary", b"Accept-Encoding")]
    return Response(response.status, body, response.content_type, headers)


class Writer(Protocol):
    """The side of a transport that a stream needs."""

    def write(self, data: bytes) -> None: ...

    def get_write_buffer_size(self) -> int: ...


class Stream:
    """An answer without a known end: watches, logs, image layers."""

    __slots__ = ("_chunked", "_connection", "_on_close", "_transport", "closed", "ended")

    def __init__(self, connection: Connection, transport: asyncio.Transport, chunked: bool) -> None:
        self._connection = connection
        self._transport = transport
        self._chunked = chunked
        self._on_close: list[Callable[[], object]] = []
        self.closed = False  # the client is gone
        self.ended = False  # we ended it

    def write(self, data: bytes) -> None:
        """Queue one chunk; never blocks. Dropped when the client is gone."""
        if self.closed or self.ended or not data:
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent."""
        return 0 if self.closed else self._transport.get_write_buffer_size()

    async def drain(self) -> None:
        """Wait while the client reads slower than we write. Raises `ConnectionResetError` when it is gone."""
        await self._connection.drain()
        if self.closed:
            raise ConnectionResetError("client is gone")

    def end(self) -> None:
        """The regular end: the connection can carry the next request."""
        if not self.ended and not self.closed:
            self.ended = True
            if self._chunked:
                self._transport.write(b"0\r\n\r\n")
            self._connection.stream_ended(keep=self._chunked)

    def abort(self) -> None:
        """Cut the client off at once, unsent data and all."""
        self.ended = True
        self._transport.abort()

    def on_close(self, call: Callable[[], object]) -> None:
        """Call when the client goes away before the end; at once if it has gone already."""
        if self.closed:
            call()
        else:
            self._on_close.append(call)

    def connection_lost(self) -> None:
        """For the connection alone."""
        self.closed = True
        calls, self._on_close = self._on_close, []
        for call in calls:
            call()
