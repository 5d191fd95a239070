"""The local end of the image mirror: an HTTP listener on 127.0.0.1 that containerd asks first for every image.

Only pulls (`GET` and `HEAD` under `/v2/`) are passed on, over the agent's one connection: whoever can reach this port
must not be able to speak to the API as the node. With the server away the answer is 503 at once, and containerd goes on
to the registry itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

from parkube.kubeapi.mux import Stream
from parkube.nodeagent.join.errors import JoinError

Open = Callable[[asyncio.Protocol], Stream]
_PASSED = (b"accept", b"range", b"user-agent")
_MAX_HEAD = 64 * 1024


class MirrorListener:
    """Listens while started. `open_stream` is `Uplink.open`."""

    def __init__(self, open_stream: Open) -> None:
        self._open = open_stream
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> int:
        """Listen; the port (any free one for 0). Raises `JoinError` when it is taken."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Client(self._open), "127.0.0.1", port)
        except OSError as exc:
            raise JoinError(f"port {port} on 127.0.0.1, wanted for the image mirror, is taken: {exc.strerror}") from exc
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()
            self._server = None


class _Client(asyncio.Protocol):
    """A connection of containerd's: each request gets a stream of its own, one after the other."""

    def __init__(self, open_stream: Open) -> None:
        self._open = open_stream
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._up: _Answer | None = None
        self._waiting: list[bytes] = []
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection; None once it is gone."""
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._up is not None:
            self._up.abort()

    def data_received(self, data: bytes) -> None:
        if self._up is not None:  # nobody asks again before the answer is there; if one does, it waits
            self._waiting.append(data)
            if sum(map(len, self._waiting)) > _MAX_HEAD:
                self._close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(400, b"Bad Request")

    def pause_writing(self) -> None:
        if self._up is not None:
            self._up.pause()

    def resume_writing(self) -> None:
        if self._up is not None:
            self._up.resume()

    def on_message_begin(self) -> None:
        """httptools' callback."""
        self._url, self._headers = b"", []

    def on_url(self, url: bytes) -> None:
        """httptools' callback."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools' callback."""
        if name.lower() in _PASSED:
            self._headers.append((name, value))

    def on_message_complete(self) -> None:
        """httptools' callback: pass the request on."""
        method = self._parser.get_method()
        path = self._url.partition(b"?")[0]
        clean = path in (b"/v2", b"/v2/") or (path.startswith(b"/v2/") and b".." not in path and b"%" not in path)
        if method not in (b"GET", b"HEAD") or not clean:
            self._refuse(403, b"Forbidden")
            return
        answer = _Answer(self, method == b"HEAD")
        try:
            stream = self._open(answer)
        except OSError:
            self._refuse(503, b"Service Unavailable", keep=True)
            return
        self._up = answer
        lines = [method + b" " + self._url + b" HTTP/1.1", b"host: mirror", b"connection: close"]
        lines += [name + b": " + value for name, value in self._headers]
        stream.write(b"\r\n".join([*lines, b"", b""]))

    def answered(self) -> None:
        """The answer is through: the connection takes the next request."""
        self._up = None
        waiting, self._waiting = b"".join(self._waiting), []
        if waiting and self._transport is not None:
            self.data_received(waiting)

    def failed(self, nothing_said: bool) -> None:
        """The server went away in the middle."""
        self._up = None
        if nothing_said:
            self._refuse(503, b"Service Unavailable")
        else:
            self._close()

    def _refuse(self, code: int, reason: bytes, *, keep: bool = False) -> None:
        if self._transport is not None:
            self._transport.write(b"HTTP/1.1 %d %b\r\nContent-Length: 0\r\n\r\n" % (code, reason))
            if not keep:
                self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Answer(asyncio.Protocol):
    """The stream to the server: its answer goes to containerd with a length or in chunks, as it came."""

    def __init__(self, client: _Client, bodiless: bool) -> None:
        self._client = client
        self._bodiless = bodiless
        self._parser = httptools.HttpResponseParser(self)
        self._stream: asyncio.Transport | None = None
        self._head: list[bytes] = []
        self._chunked = self._begun = self._complete = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._stream = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream = None
        if not self._complete:
            self._complete = True
            self._client.failed(not self._begun)

    def abort(self) -> None:
        """Nobody wants the rest."""
        if self._stream is not None:
            self._stream.abort()

    def pause(self) -> None:
        """containerd reads slower than the server sends."""
        if self._stream is not None:
            self._stream.pause_reading()

    def resume(self) -> None:
        """It has caught up."""
        if self._stream is not None:
            self._stream.resume_reading()

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools' callback."""
        if name.lower() == b"transfer-encoding":
            self._chunked = True
        if name.lower() not in (b"connection", b"keep-alive"):
            self._head.append(name + b": " + value)

    def on_headers_complete(self) -> None:
        """httptools' callback."""
        self._begun = True
        self._write(b"\r\n".join([b"HTTP/1.1 %d Answer" % self._parser.get_status_code(), *self._head, b"", b""]))
        if self._bodiless:
            self._finish()

    def on_body(self, body: bytes) -> None:
        """httptools' callback."""
        if not self._complete:
            self._write(b"%x\r\n%b\r\n" % (len(body), body) if self._chunked else body)

    def on_message_complete(self) -> None:
        """httptools' callback."""
        if not self._complete:
            if self._chunked:
                self._write(b"0\r\n\r\n")
            self._finish()

    def _finish(self) -> None:
        self._complete = True
        if self._stream is not None:
            self._stream.close()
        self._client.answered()

    def _write(self, data: bytes) -> None:
        transport = self._client.transport
        if transport is not None:
            transport.write(data)
