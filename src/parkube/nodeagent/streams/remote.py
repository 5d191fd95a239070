"""Exec and attach: from the client's upgraded connection to the runtime's streaming server on this machine.

Older kubectl speaks SPDY/3.1, and so does the runtime: bytes pass through. Current kubectl and other clients speak
WebSocket (`channels.REMOTE`), which ends here and is put into SPDY streams, since the runtime knows no v5 and so could
not be told that stdin has ended.

    WebSocket channel   0 stdin  1 stdout  2 stderr  3 error (the exit status)  4 resize   255 <n>: channel n has ended
    SPDY stream         one each, named by its `streamtype` header; an end is FLAG_FIN

Source: Kubernetes remotecommand, subprotocols `channel.k8s.io`, v4 and v5.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from parkube.kubeapi.errors import InternalError
from parkube.kubeapi.splice import Splice
from parkube.nodeagent.streams import spdy, websocket
from parkube.nodeagent.streams.channels import Framing
from parkube.nodeagent.streams.errors import StreamFault

STDIN, STDOUT, STDERR, ERROR, RESIZE, END = 0, 1, 2, 3, 4, 255
_SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
CONNECT_S = 10.0
_FRAMING = Framing()


@dataclass(frozen=True, slots=True)
class Streams:
    """Which of the three the client asked for, and whether on a terminal."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


async def pass_spdy(url: str, versions: Sequence[str], client: asyncio.Transport) -> Splice:
    """Hand the upgrade to the runtime as it is; the protocol that the client's connection is to have from now on.
    Raises `OSError`."""
    host, port, target = _where(url)
    runtime, ours = Splice(), Splice()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_S):
        transport, _ = await loop.create_connection(lambda: runtime, host, port)
    transport.write(_upgrade(host, port, target, versions or _SPDY_PROTOCOLS))
    ours.connection_made(client)
    runtime.join(ours)
    return ours


async def translate(url: str, translator: Translator, versions: Sequence[str] = _SPDY_PROTOCOLS[:1]) -> None:
    """Connect the translator to the runtime: it writes its greeting (the answer to the WebSocket handshake) to the
    client and opens the streams. Raises `OSError`, `StreamFault`, before the greeting."""
    host, port, target = _where(url)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_S):
        transport, _ = await loop.create_connection(lambda: _Runtime(translator), host, port)
        transport.write(_upgrade(host, port, target, versions))
        try:
            await translator.ready
        except BaseException:
            transport.abort()
            raise


def _where(url: str) -> tuple[str, int, str]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80, parts.path + (f"?{parts.query}" if parts.query else "")


def _upgrade(host: str, port: int, target: str, versions: Sequence[str]) -> bytes:
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}:{port}", "Connection: Upgrade", "Upgrade: SPDY/3.1"]
    lines += [f"X-Stream-Protocol-Version: {version}" for version in versions]
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


class Translator(asyncio.Protocol):
    """Between a client's WebSocket (this protocol's connection) and the runtime's SPDY connection."""

    def __init__(
        self, streams: Streams, client: asyncio.Transport, greeting: bytes = b"", framing: Framing = _FRAMING
    ) -> None:
        self.client = client
        self._framing = framing
        self._greeting = greeting
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._streams = streams
        self._session = spdy.Session()
        self._reader = websocket.Reader()
        self._runtime: asyncio.Transport | None = None
        self._stream_of: dict[int, int] = {}  # channel -> SPDY stream
        self._channel_of: dict[int, int] = {}
        self._status_sent = self._closing = False

    # -- the runtime's side

    def runtime_ready(self, transport: asyncio.Transport) -> None:
        """The runtime has upgraded: open the streams, in the order its clients use."""
        self._runtime = transport
        self.client.write(self._greeting)
        wanted = {
            ERROR: True, STDIN: self._streams.stdin, STDOUT: self._streams.stdout,
            STDERR: self._streams.stderr and not self._streams.tty, RESIZE: self._streams.tty,
        }  # fmt: skip
        names = {ERROR: "error", STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", RESIZE: "resize"}
        for channel, wish in wanted.items():
            if wish:
                number, packet = self._session.open({"streamtype": names[channel]})
                self._stream_of[channel], self._channel_of[number] = number, channel
                transport.write(packet)
        self.ready.set_result(None)

    def runtime_failed(self, fault: Exception) -> None:
        """The runtime did not upgrade, or broke off."""
        if not self.ready.done():
            self.ready.set_exception(fault)
        else:
            self.runtime_lost(str(fault))

    def runtime_data(self, data: bytes) -> None:
        """SPDY frames: to the client's channels."""
        for event in self._session.feed(data):
            if isinstance(event, bytes):
                if self._runtime is not None:
                    self._runtime.write(event)
            elif isinstance(event, spdy.Data) and event.payload:
                channel = self._channel_of.get(event.stream)
                if channel == ERROR:
                    self._tell_end(event.payload)
                elif channel is not None:
                    self._send(self._framing.pack(channel, event.payload))

    def _tell_end(self, status: bytes) -> None:
        """How the command ended; the oldest subprotocols have words for a fault, and none for success."""
        self._status_sent = True
        if self._framing.plain:
            try:
                said = orjson.loads(status)
            except ValueError:
                said = {"message": status.decode("utf-8", "replace")}
            if said.get("status") == "Success":
                return
            status = str(said.get("message") or "").encode()
        self._send(self._framing.pack(ERROR, status))

    def runtime_lost(self, fault: str = "") -> None:
        """The command has ended (its status came before), or the runtime went away."""
        self._runtime = None
        if not self._status_sent:
            error = InternalError(fault or "the runtime closed the stream before the command's exit status")
            self._tell_end(orjson.dumps(error.status()))
        self._close(1000)

    # -- the client's side

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._reader.feed(data):
                self._message(message)
        except StreamFault as exc:
            self._close(1002, str(exc))

    def eof_received(self) -> bool:
        self._drop_runtime()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_runtime()

    def pause_writing(self) -> None:
        if self._runtime is not None:
            self._runtime.pause_reading()

    def resume_writing(self) -> None:
        if self._runtime is not None:
            self._runtime.resume_reading()

    # -- inside

    def _message(self, message: websocket.Message) -> None:
        opcode, payload = message
        if opcode == websocket.PING:
            self._send(websocket.frame(websocket.PONG, payload))
        elif opcode == websocket.CLOSE:
            self._close(1000)
        elif opcode in (websocket.BINARY, websocket.TEXT) and self._runtime is not None:
            channel, body = self._framing.unpack(payload) or (-1, b"")
            if channel == END and body:
                number = self._stream_of.get(body[0])
                if number is not None:
                    self._runtime.write(self._session.data(number, b"", end=True))
            elif channel in (STDIN, RESIZE) and body and channel in self._stream_of:
                self._runtime.write(self._session.data(self._stream_of[channel], body))

    def _send(self, frame: bytes) -> None:
        if not self._closing and not self.client.is_closing():
            self.client.write(frame)

    def _close(self, code: int, reason: str = "") -> None:
        if not self._closing:
            if not self.client.is_closing():
                self.client.write(websocket.close_frame(code, reason))
            self._closing = True
            self.client.close()
        self._drop_runtime()

    def _drop_runtime(self) -> None:
        if self._runtime is not None:
            runtime, self._runtime = self._runtime, None
            runtime.abort()


class _Runtime(asyncio.Protocol):
    """The runtime's connection: reads the answer to the upgrade, then feeds the translator."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self._transport: asyncio.Transport | None = None
        self._head: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._head is not None:
            head, separator, data = (self._head + data).partition(b"\r\n\r\n")
            if not separator:
                self._head = head
                return
            self._head = None
            if head.split(b" ", 2)[1:2] != [b"101"]:
                text = data.decode("utf-8", "replace").strip() or head.split(b"\r\n")[0].decode("latin-1")
                self._translator.runtime_failed(StreamFault(f"the runtime refuses the stream: {text}"))
                return
            self._translator.runtime_ready(self._transport)
        if data:
            try:
                self._translator.runtime_data(data)
            except StreamFault as exc:
                self._translator.runtime_failed(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head is None:
            self._translator.runtime_lost()
        else:
            self._translator.runtime_failed(StreamFault("the runtime closed the connection"))

    def pause_writing(self) -> None:
        self._translator.client.pause_reading()

    def resume_writing(self) -> None:
        self._translator.client.resume_reading()
