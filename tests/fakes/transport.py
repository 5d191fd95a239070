"""A transport that keeps what is written: HTTP without sockets."""

from __future__ import annotations

import asyncio
from typing import Any


class FakeTransport(asyncio.Transport):
    """Plays the loop's part for one protocol."""

    def __init__(self, protocol: asyncio.Protocol, extra: dict[str, Any] | None = None) -> None:
        super().__init__(extra)
        self.protocol = protocol
        self.out = b""
        self.stuck = 0  # what get_write_buffer_size says
        self.closing = self.aborted = self.paused = False
        protocol.connection_made(self)

    def feed(self, data: bytes) -> None:
        """Bytes from the client."""
        if not self.closing:
            self.protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closing, "written after close"
        self.out += bytes(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        out, self.out = self.out, b""
        return out

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()
