"""Many byte streams in both directions over one connection, each stream an asyncio Transport of its own.

An agent dials the server once; watches, leases and image pulls are streams it opens, logs and exec are streams the
server opens. What runs on a stream (ordinary HTTP/1.1) and who is at the other end is not known here.

Frames are nine bytes of header, `type:u8 stream:u32 value:u32`, big-endian, and for DATA `value` bytes more:

    OPEN    a new stream; the dialling side uses odd numbers, the other even ones, each rising
    DATA    bytes; never more than the receiver's window for that stream
    FIN     the sender writes no more, still reads            (write_eof)
    CLOSE   the sender writes no more and reads no more       (close)
    RESET   the stream is gone, what was on its way is lost   (abort)
    WINDOW  `value` more bytes may be sent on the stream
    PING    answered by PONG with the same value

All that is written in one turn of the event loop leaves in one write of the connection below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parkube.kubeapi.muxstream import (
    CLOSE,
    DATA,
    FIN,
    HEADER,
    MAX_FRAME,
    MAX_STREAMS,
    OPEN,
    PING,
    PONG,
    RESET,
    STREAM_WINDOW,
    WINDOW,
    MuxError,
    Stream,
)

__all__ = ["CLOSE", "DATA", "FIN", "MAX_FRAME", "OPEN", "STREAM_WINDOW", "Mux", "MuxError", "Stream"]

_pack, _unpack_from, _HEADER_SIZE = HEADER.pack, HEADER.unpack_from, HEADER.size


class Mux(asyncio.Protocol):
    """One end of the connection.

    `accept` makes the protocol for each stream that the peer opens. `dialled` is true at the end that opened the
    connection. `on_lost` is called once when the connection below is gone. `heard` is set whenever bytes arrive and
    `spoke` whenever some leave: whoever watches over dead peers clears them and looks again later (see `ping`).
    """

    def __init__(
        self,
        accept: Callable[[], asyncio.Protocol],
        *,
        dialled: bool,
        on_lost: Callable[[Exception | None], None] | None = None,
    ) -> None:
        self._accept = accept
        self._on_lost = on_lost
        self._next = 1 if dialled else 2
        self._last_peer = 0 if dialled else -1  # the highest number that the peer opened
        self._streams: dict[int, Stream] = {}
        self._out: list[bytes] = []
        self._rest = b""
        self._backlog: dict[Stream, None] = {}
        self._flushing = self._draining = False
        self.congested = False
        self.heard = self.spoke = True
        self.transport: asyncio.Transport | None = None
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()

    # -- for the owner -------------------------------------------------------------------------------------------

    def attach(self, transport: asyncio.Transport, received: bytes = b"") -> None:
        """Take over a connection after its upgrade; `received` is what already came after the upgrade."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if received:
            self.data_received(received)

    def open(self, protocol: asyncio.Protocol) -> Stream:
        """Open a stream for `protocol`, whose `connection_made` has run on return. Raises `MuxError`."""
        if self.transport is None:
            raise MuxError("the connection is gone")
        if len(self._streams) >= 2 * MAX_STREAMS or self._next >= 1 << 32:
            raise MuxError("too many streams are open")
        number, self._next = self._next, self._next + 2
        stream = self._streams[number] = Stream(self, number)
        self.send(_pack(OPEN, number, 0))
        stream.start(protocol)
        return stream

    def ping(self) -> None:
        """Make the peer say something, so that `heard` tells whether it lives."""
        self.send(_pack(PING, 0, 0))

    def close(self) -> None:
        """End every stream and close the connection below, after what was written is out."""
        self._flush()
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection below at once."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def alive(self) -> bool:
        """Whether streams can be opened."""
        return self.transport is not None and not self.transport.is_closing()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    # -- for the streams -----------------------------------------------------------------------------------------

    def send(self, header: bytes, payload: bytes = b"") -> None:
        """Put a frame into this turn's write."""
        self._out.append(header)
        if payload:
            self._out.append(payload)
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._flush)

    def queue(self, stream: Stream) -> None:
        """The stream has bytes waiting: give it its turns."""
        self._backlog[stream] = None
        if not self._draining and not self.congested:
            self._draining = True
            self.loop.call_soon(self._drain)

    def forget(self, stream: Stream) -> None:
        """The stream is gone."""
        self._streams.pop(stream.number, None)
        self._backlog.pop(stream, None)

    # -- the Protocol's face, towards the connection below -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # uvloop's transports are not asyncio's by class
        if hasattr(transport, "set_write_buffer_limits"):
            transport.set_write_buffer_limits(high=256 * 1024, low=64 * 1024)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._rest = b""
        self._out.clear()
        reason = exc or ConnectionResetError("the tunnel is gone")
        for stream in list(self._streams.values()):
            stream.lost(reason)
        self._backlog.clear()
        if self._on_lost is not None:
            on_lost, self._on_lost = self._on_lost, None
            on_lost(exc)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        if self._backlog and not self._draining:
            self._draining = True
            self.loop.call_soon(self._drain)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, end, streams = 0, len(data), self._streams
        while end - at >= _HEADER_SIZE:
            kind, number, value = _unpack_from(data, at)
            at += _HEADER_SIZE
            if kind == DATA:
                if value > MAX_FRAME:
                    self._broken(f"a frame of {value} bytes")
                    return
                if end - at < value:
                    at -= _HEADER_SIZE
                    break
                stream = streams.get(number)
                if stream is not None:
                    stream.feed(data[at : at + value])
                elif not self._known(number):
                    self._broken(f"data for stream {number}, which was never opened")
                    return
                at += value
            elif not self._control(kind, number, value):
                return
        if at < end:
            self._rest = data[at:]

    # -- inside --------------------------------------------------------------------------------------------------

    def _control(self, kind: int, number: int, value: int) -> bool:
        """Act on a frame without payload; False when the connection is to be given up."""
        if kind == OPEN:
            return self._opened(number, value)
        if kind == PING:
            self.send(_pack(PONG, 0, value))
            return True
        if kind == PONG:
            return True
        if kind > PONG or not self._known(number):
            self._broken(f"frame type {kind} for stream {number}")
            return False
        stream = self._streams.get(number)
        if stream is None:
            pass  # it crossed our own end of the stream on the way
        elif kind == WINDOW:
            stream.feed_credit(value)
        elif kind == RESET:
            stream.feed_reset()
        else:
            stream.feed_end(kind == CLOSE)
        return True

    def _opened(self, number: int, value: int) -> bool:
        if value or number <= self._last_peer or number % 2 == self._next % 2:
            self._broken(f"stream {number} cannot be opened")
            return False
        self._last_peer = number
        if len(self._streams) >= MAX_STREAMS:
            self.send(_pack(RESET, number, 0))
            return True
        stream = self._streams[number] = Stream(self, number)
        stream.start(self._accept())
        return True

    def _known(self, number: int) -> bool:
        return number < self._next if number % 2 == self._next % 2 else number <= self._last_peer

    def _broken(self, what: str) -> None:
        """The peer does not speak this protocol: nothing it says can be trusted any more."""
        self._rest = b""
        self._out.clear()
        if self.transport is not None:
            self.transport.abort()
            self.connection_lost(MuxError(f"the peer broke the tunnel's framing: {what}"))

    def _flush(self) -> None:
        self._flushing = False
        if self._out:
            out, self._out = self._out, []
            self.spoke = True
            if self.transport is not None:
                self.transport.write(b"".join(out))

    def _drain(self) -> None:
        """One turn for every stream that waits; then the loop gets its turn."""
        self._draining = False
        for stream in list(self._backlog):
            if self.congested:
                return
            if not stream.send_some():
                self._backlog.pop(stream, None)
        if self._backlog and not self.congested:
            self._draining = True
            self.loop.call_soon(self._drain)
