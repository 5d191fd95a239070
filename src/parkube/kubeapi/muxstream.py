"""One stream of a connection that carries many (see `mux`): an asyncio Transport with its own flow control.

A stream's life, at one end:

              OPEN sent or received
                       |
                     open ---- FIN received ----> reading ended
                       |  \\                            |
        write_eof: FIN sent \\ CLOSE or RESET,          | write_eof, close
                       |     \\ either way              |
                 writing ended ------------------->  gone (connection_lost)
                        FIN received
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parkube.kubeapi.mux import Mux

OPEN, DATA, FIN, CLOSE, RESET, WINDOW, PING, PONG = range(8)
STREAM_WINDOW = 256 * 1024  # bytes a sender may be ahead of its reader, per stream
MAX_FRAME = 32 * 1024  # payload bytes of one frame: streams take turns at this grain
MAX_STREAMS = 1024  # open streams that one end may have opened
HIGH_WATER, LOW_WATER = 64 * 1024, 16 * 1024  # waiting bytes at which a stream's writer is paused and resumed

HEADER = struct.Struct(">BII")  # type, stream, value
_pack = HEADER.pack


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
