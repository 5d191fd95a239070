"""Many byte streams in both directions over one connection, each stream an asyncio Transport of its own.

An agent dials the server once; watches, leases and image pulls are streams it opens, logs and exec are streams the
server opens. What runs on a stream (ordinary HTTP/1.1) and who is at the other end is not known here.

Frames are nine bytes of header, `type:u8 stream:u32 value:u32`, big-endian, and for OPEN and DATA `value` bytes more:

    OPEN    a new stream; the dialling side uses odd numbers, the other even ones, each rising
    DATA    bytes; never more than the receiver's window for that stream
    FIN     the sender writes no more, still reads            (write_eof)
    CLOSE   the sender writes no more and reads no more       (close)
    RESET   the stream is gone, what was on its way is lost   (abort)
    WINDOW  `value` more bytes may be sent on the stream
    PING    answered by PONG with the same value

A stream's life, at one end:

              OPEN sent or received
                       |
                     open ---- FIN received ----> reading ended
                       |  \\                            |
        write_eof: FIN sent \\ CLOSE or RESET,          | write_eof, close
                       |     \\ either way              |
                 writing ended ------------------->  gone (connection_lost)
                        FIN received

All that is written in one turn of the event loop leaves in one write of the connection below.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

OPEN, DATA, FIN, CLOSE, RESET, WINDOW, PING, PONG = range(8)
STREAM_WINDOW = 256 * 1024  # bytes a sender may be ahead of its reader, per stream
MAX_FRAME = 32 * 1024  # payload bytes of one frame: streams take turns at this grain
MAX_STREAMS = 1024  # open streams that one end may have opened
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024  # waiting bytes at which a stream's writer is paused and resumed

_HEADER = struct.Struct(">BII")
_pack, _unpack_from, _HEADER_SIZE = _HEADER.pack, _HEADER.unpack_from, _HEADER.size


class MuxError(ConnectionError):
    """The peer broke the framing, or the connection below is gone."""


class Stream(asyncio.Transport):
    """One stream. `get_extra_info` answers `stream_number` itself and asks the connection below for the rest."""

    __slots__ = (
        "_closing", "_consumed", "_credit", "_done", "_eof_waiting", "_fin_received", "_fin_sent", "_finishing",
        "_inbox", "_mux", "_peer_gone", "_pending", "_protocol", "_reading", "_receive_credit", "_write_paused",
        "number",
    )  # fmt: skip

    def __init__(self, mux: Mux, number: int) -> None:
        super().__init__()
        self._mux = mux
        self.number = number
        self._protocol: asyncio.Protocol = _UNSET
        self._credit = self._receive_credit = STREAM_WINDOW
        self._consumed = 0  # delivered bytes not yet given back to the sender
        self._pending: bytes | bytearray = b""  # written, not yet framed; a bytearray whenever it is not empty
        self._inbox: list[bytes] = []
        self._reading = True
        self._closing = self._done = self._peer_gone = self._write_paused = False
        self._finishing = self._fin_sent = self._fin_received = self._eof_waiting = False

    # -- the Transport's face ------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "stream_number":
            return self.number
        below = self._mux.transport
        return default if below is None else below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing or self._done

    def is_reading(self) -> bool:
        return self._reading and not self.is_closing()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            if self._inbox or self._eof_waiting:
                self._mux.loop.call_soon(self._deliver)

    def get_write_buffer_size(self) -> int:
        return len(self._pending)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return LOW_WATER, HIGH_WATER

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The limits are the same for all streams; asked for others, nothing changes."""

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._finishing:
            raise RuntimeError("write after write_eof")
        if self._closing or self._done or self._peer_gone:
            return
        size = len(data)
        mux = self._mux
        if size <= self._credit and size <= MAX_FRAME and not self._pending and not mux.congested:
            if size:
                self._credit -= size
                mux.send(_pack(DATA, self.number, size), bytes(data))
            return
        if isinstance(self._pending, bytes):
            self._pending = bytearray()
        self._pending += data
        mux.queue(self)
        if len(self._pending) > HIGH_WATER and not self._write_paused:
            self._write_paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if self._finishing or self._closing or self._done:
            return
        self._finishing = True
        if not self._pending:
            self._send_end()

    def close(self) -> None:
        if self._closing or self._done:
            return
        self._closing = True
        self._inbox.clear()
        if not self._pending or self._peer_gone:
            self._send_end()

    def abort(self) -> None:
        if not self._done:
            if not self._peer_gone:
                self._mux.send(_pack(RESET, self.number, 0))
            self._finish(None)

    # -- what the Mux calls --------------------------------------------------------------------------------------

    def start(self, protocol: asyncio.Protocol) -> None:
        """Give the stream its protocol."""
        self._protocol = protocol
        protocol.connection_made(self)

    def feed(self, payload: bytes) -> None:
        """DATA arrived."""
        size = len(payload)
        self._receive_credit -= size
        if self._receive_credit < 0 or self._fin_received:
            self._mux.send(_pack(RESET, self.number, 0))
            self._finish(MuxError("the peer sent more than the stream's window, or after its end"))
        elif self._closing:
            self._give_back(size)  # read by nobody, but a peer that waits for room must go on
        elif self._reading and not self._inbox:
            self._hand_over(payload)
        else:
            self._inbox.append(payload)

    def feed_end(self, gone: bool) -> None:
        """FIN arrived, or CLOSE (`gone`): the peer will write no more, and with CLOSE will read no more."""
        told = self._fin_received and not self._eof_waiting  # CLOSE may follow a FIN
        self._eof_waiting = not told
        self._fin_received = True
        if gone:
            self._drop_pending()
            self._peer_gone = True
            if self._closing or told:
                self._finish(None)
                return
        if self._reading and not self._inbox:
            self._deliver()

    def feed_reset(self) -> None:
        """RESET arrived."""
        self._finish(ConnectionResetError("the peer reset the stream"))

    def feed_credit(self, size: int) -> None:
        """WINDOW arrived."""
        self._credit += size
        if self._pending:
            self._mux.queue(self)

    def send_some(self) -> bool:
        """Frame up to one frame's worth of what waits; whether more can go at once."""
        size = min(len(self._pending), self._credit, MAX_FRAME)
        if size:
            self._credit -= size
            chunk = bytes(self._pending[:size])
            del self._pending[:size]  # type: ignore[union-attr]
            self._mux.send(_pack(DATA, self.number, size), chunk)
        left = len(self._pending)
        if self._write_paused and left <= LOW_WATER:
            self._write_paused = False
            self._protocol.resume_writing()
        if not left:
            self._pending = b""
            if self._finishing or self._closing:
                self._send_end()
            return False
        return self._credit > 0

    def lost(self, exc: Exception | None) -> None:
        """The connection below is gone."""
        self._finish(exc)

    # -- inside --------------------------------------------------------------------------------------------------

    def _hand_over(self, payload: bytes) -> None:
        try:
            self._protocol.data_received(payload)
        except Exception as exc:
            self._broken(exc)
        else:
            self._give_back(len(payload))

    def _give_back(self, size: int) -> None:
        self._consumed += size
        if self._consumed >= STREAM_WINDOW // 2 and not self._fin_received and not self._done:
            self._receive_credit += self._consumed
            self._mux.send(_pack(WINDOW, self.number, self._consumed))
            self._consumed = 0

    def _deliver(self) -> None:
        while self._inbox and self._reading and not self.is_closing():
            self._hand_over(self._inbox.pop(0))
        if self._eof_waiting and self._reading and not self._inbox and not self.is_closing():
            self._eof_waiting = False
            try:
                keep = self._protocol.eof_received()
            except Exception as exc:
                self._broken(exc)
                return
            if self._peer_gone or self._fin_sent:
                self._finish(None)
            elif not keep:
                self.close()

    def _send_end(self) -> None:
        """Nothing is left to write: say so with FIN or CLOSE."""
        if self._closing:
            if not self._peer_gone and not self._done:
                self._mux.send(_pack(CLOSE, self.number, 0))
            self._finish(None)
        elif not self._fin_sent:
            self._fin_sent = True
            if not self._peer_gone:
                self._mux.send(_pack(FIN, self.number, 0))
            if self._fin_received and not self._eof_waiting:
                self._finish(None)

    def _drop_pending(self) -> None:
        self._pending = b""
        if self._write_paused:
            self._write_paused = False
            self._protocol.resume_writing()

    def _broken(self, exc: Exception) -> None:
        """The protocol raised: that ends its stream, never the connection."""
        self._mux.loop.call_exception_handler(
            {"message": "a stream's protocol failed", "exception": exc, "transport": self, "protocol": self._protocol}
        )
        self.abort()

    def _finish(self, exc: Exception | None) -> None:
        if not self._done:
            self._done = self._closing = True
            self._pending = b""
            self._inbox.clear()
            self._mux.forget(self)
            self._mux.loop.call_soon(self._protocol.connection_lost, exc)


_UNSET = asyncio.Protocol()


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
