"""HTTP/1.1 on one asyncio transport: a TLS socket or a stream of a tunnel. Knows no Kubernetes.

Requests of a connection are answered one after the other, in order (pipelining waits in a short queue). Limits are
held here: header size, body size, how long a request may dribble in. Nothing a client sends can raise out of here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import unquote

import httptools
import orjson

from parkube.controlplane.apiserver.http import JSON, Header, Request, Response, Stream, head, zipped
from parkube.controlplane.registry.resource import User

log = logging.getLogger(__name__)

Waiting = tuple[Request, tuple[int, str, str] | None]
"""A request, and what it is refused with if it broke a limit: code, message, reason."""
Handler = Callable[[Request], Awaitable[Response | None]]
MAX_HEAD = 64 * 1024
MAX_BODY = 3 * 1024 * 1024  # what the API server of Kubernetes takes, too
MAX_DISCARD = 64 * 1024 * 1024  # read and thrown away so that the client gets to read our 413
MAX_QUEUE = 16
HEADER_LATE = 30.0  # seconds a request may take to come in
IDLE = 300.0


class Connection(asyncio.Protocol):
    """One connection's state. `user`: who the tunnel says it is; None: ask the certificate."""

    __slots__ = (
        "_body", "_drained", "_head_size", "_headers", "_leftover", "_loop", "_old", "_parser", "_paused", "_queue",
        "_reading", "_refusal", "_size", "_stream", "_target", "_task", "_upgrade_asked", "_upgraded", "connections",
        "handler", "since", "transport", "tunnel_user",
    )  # fmt: skip

    def __init__(self, handler: Handler, connections: set[Connection], user: User | None = None) -> None:
        self.handler = handler
        self.connections = connections
        self.tunnel_user = user
        self.transport: asyncio.Transport | None = None
        self.since = 0.0  # when the request being read began, or the connection fell idle
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._old = False  # the request being answered is HTTP/1.0
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._body: list[bytes] = []
        self._size = 0
        self._reading = False
        self._refusal: tuple[int, str, str] | None = None
        self._queue: deque[Waiting] = deque()
        self._task: asyncio.Task[None] | None = None
        self._stream: Stream | None = None
        self._upgraded: asyncio.Protocol | None = None
        self._upgrade_asked = False
        self._leftover = b""
        self._paused = False
        self._drained: asyncio.Future[None] | None = None

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = transport  # type: ignore[assignment]
        self.since = self._loop.time()
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self.connections.discard(self)
        self._queue.clear()
        self._parser = None  # it holds on to us: without this the pair would wait for the garbage collector
        if self._stream is not None:
            self._stream.connection_lost()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._upgraded is not None:
            self._upgraded.connection_lost(exc)
        self.transport = None

    def eof_received(self) -> bool | None:
        """Called by the loop."""
        if self._upgraded is not None:
            return self._upgraded.eof_received()
        return None

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._upgraded is not None:
            self._upgraded.data_received(data)
            return
        if self._upgrade_asked:
            self._leftover += data
            if len(self._leftover) > MAX_HEAD:
                self._abort()
            return
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade_asked = True
            self._leftover += data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._give_up(400, f"this is not HTTP/1.1: {error}")
        except Exception:
            log.exception("while reading a request")
            self._abort()

    def pause_writing(self) -> None:
        """Called by the loop."""
        self._paused = True
        if self._upgraded is not None:
            self._upgraded.pause_writing()

    def resume_writing(self) -> None:
        """Called by the loop."""
        self._paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
        if self._upgraded is not None:
            self._upgraded.resume_writing()

    # -- httptools' callbacks

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._target, self._headers, self._head_size = b"", {}, 0
        self._body, self._size, self._refusal = [], 0, None
        self._reading = True
        self.since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        key = name.decode("latin-1").lower()
        text = (value or b"").decode("latin-1")
        self._count(len(name) + len(text) + 4)
        if key in self._headers and key not in ("authorization", "content-length", "host"):
            text = f"{self._headers[key]},{text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self._refusal is not None:
            return
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY:
            self._too_large()
        if "expect" in self._headers and self.transport is not None:
            if self._headers["expect"].lower() == "100-continue" and self._refusal is None:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif self._refusal is not None:
                self._give_up(*self._refusal)

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        self._size += len(body)
        if self._size > MAX_BODY:
            self._body.clear()
            self._too_large()
            if self._size > MAX_DISCARD:
                self._give_up(413, "request body is far too large")
        elif self._refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._reading = False
        parser = self._parser
        if parser is None or self.transport is None or self.transport.is_closing():
            return
        request = Request(parser.get_method().decode("latin-1"), self._target, self._headers, self)
        path, _, request.raw_query = self._target.decode("latin-1").partition("?")
        request.path = unquote(path) if "%" in path else path
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request.keep_alive = parser.should_keep_alive()
        self._old = parser.get_http_version() == "1.0"
        self._body = []
        self._queue.append((request, self._refusal))
        if self._task is None and self._stream is None:
            self._next()
        elif len(self._queue) > MAX_QUEUE and self.transport is not None:
            self.transport.pause_reading()

    # -- what requests and streams call

    def start_stream(self, status: int, content_type: bytes, headers: Iterable[Header] = ()) -> Stream:
        """The head of a chunked answer."""
        chunked = not self._old
        lines = [(b"Content-Type", content_type), *headers]
        lines.append((b"Transfer-Encoding", b"chunked") if chunked else (b"Connection", b"close"))
        transport = self.transport
        if transport is None:
            transport = _Gone()
        stream = self._stream = Stream(self, transport, chunked)
        stream.closed = self.transport is None
        transport.write(head(status, lines))
        return stream

    def stream_ended(self, *, keep: bool) -> None:
        """The stream reached its end."""
        self._stream = None
        if not keep and self.transport is not None:
            self.transport.close()
        if self._task is None:
            self._proceed()

    def hijack(self, protocol: asyncio.Protocol) -> asyncio.Transport:
        """Hand the transport over for good. Raises `ConnectionResetError` when the client is gone."""
        if self.transport is None:
            raise ConnectionResetError("client is gone")
        self.connections.discard(self)
        self._upgraded = protocol
        protocol.connection_made(self.transport)
        if self._paused:
            protocol.pause_writing()
        if self._leftover:
            leftover, self._leftover = self._leftover, b""
            protocol.data_received(leftover)
        return self.transport

    async def drain(self) -> None:
        """Wait until the transport takes more."""
        if self._paused and self.transport is not None:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await self._drained

    def check(self, now: float) -> None:
        """Close what is idle or dribbles; called now and then with the loop's time."""
        busy = self._task is not None or self._stream is not None
        if (self._reading and now - self.since > HEADER_LATE) or (not busy and now - self.since > IDLE):
            self._abort()

    def close_idle(self) -> None:
        """The server is going down."""
        if self.transport is not None and (self._task is None or self._stream is not None):
            self.transport.close()

    # -- inside

    def _next(self) -> None:
        request, refusal = self._queue.popleft()
        self._task = self._loop.create_task(self._answer(request, refusal))

    async def _answer(self, request: Request, refusal: tuple[int, str, str] | None) -> None:
        try:
            if refusal is not None:
                request.keep_alive = False
                response: Response | None = _plain(*refusal)
            else:
                response = await self.handler(request)
            if response is not None:
                self._send(request, await zipped(request, response))
        except Exception:  # the handler answers its own errors; this is the last fence
            log.exception("while answering %s %s", request.method, request.path)
            self._abort()
        finally:
            self._task = None
            if self._stream is None:  # else it goes on by callbacks, without a task
                self._proceed()

    def _proceed(self) -> None:
        self.since = self._loop.time()
        if self.transport is None or self._upgraded is not None:
            return
        if self._queue:
            self._next()
            if len(self._queue) == MAX_QUEUE:
                self.transport.resume_reading()
        elif self._upgrade_asked:
            self.transport.close()

    def _send(self, request: Request, response: Response) -> None:
        transport = self.transport
        if transport is None:
            return
        body = response.body
        lines = [(b"Content-Type", response.content_type), (b"Content-Length", b"%d" % len(body)), *response.headers]
        keep = request.keep_alive and not self._upgrade_asked
        if not keep:
            lines.append((b"Connection", b"close"))
        first = head(response.status, lines)
        if request.method == "HEAD" or response.status == 304:
            transport.write(first)
        elif len(body) < 65536:
            transport.write(first + body)
        else:
            transport.write(first)
            transport.write(body)
        if not keep:
            transport.close()

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._give_up(431, "request headers are too large")

    def _too_large(self) -> None:
        self._refusal = (413, f"Request entity too large: limit is {MAX_BODY}", "RequestEntityTooLarge")

    def _give_up(self, status: int, message: str, reason: str = "BadRequest") -> None:
        """Answer and close at once, when the rest cannot be read; only if nothing else is being answered."""
        if self.transport is None or self.transport.is_closing():
            return
        if self._task is None and self._stream is None:
            response = _plain(status, message, reason)
            size = b"%d" % len(response.body)
            lines = [(b"Content-Type", JSON), (b"Content-Length", size), (b"Connection", b"close")]
            self.transport.write(head(status, lines) + response.body)
            self.transport.close()
        else:
            self._abort()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Gone(asyncio.Transport):
    """Stands in for a transport whose client left before the answer began."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody listens."""

    def get_write_buffer_size(self) -> int:
        """Nothing waits."""
        return 0

    def abort(self) -> None:
        """Already."""


def _plain(status: int, message: str, reason: str) -> Response:
    body = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status,
    }  # fmt: skip
    return Response(status, orjson.dumps(body))
