"""Joins two connections into one: what comes in on either goes out on the other, end by end, at its pace."""

from __future__ import annotations

import asyncio


class Splice(asyncio.Protocol):
    """One side of two connections that are joined: what comes in here goes out there, end by end, at its pace."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._other: Splice | None = None
        self._early: list[bytes] = []
        self._ended = self._gone = False

    def join(self, other: Splice) -> None:
        """Join with the protocol of the other side, which need not be connected yet."""
        self._other, other._other = other, self
        for side in (self, other):
            side._pass_on()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        if self._other is not None:
            self._other._pass_on()

    def data_received(self, data: bytes) -> None:
        out = self._out()
        if out is None:
            self._early.append(data)
        else:
            out.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        self._pass_on()
        # TLS cannot be half closed: its end is the end.
        return self.transport is not None and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._gone = True
        self._pass_on()

    def pause_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.resume_reading()

    def _out(self) -> asyncio.Transport | None:
        return self._other.transport if self._other is not None else None

    def _pass_on(self) -> None:
        """Bring the other side to where this one is."""
        out = self._out()
        if out is None or out.is_closing():
            return
        if self._early:
            out.write(b"".join(self._early))
            self._early.clear()
        if self._gone:
            out.close()
        elif self._ended:
            # TLS has no half-close: the end of one direction is then the end of both.
            try:
                if out.can_write_eof():
                    out.write_eof()
                    return
            except OSError:  # it was cut off there, which its own side has not read yet
                pass
            out.close()
