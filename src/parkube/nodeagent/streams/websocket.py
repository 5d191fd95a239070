"""WebSocket framing at the server's end. No I/O, no extensions.

Source: RFC 6455: handshake (4.2.2), framing (5.2), control frames (5.5).
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

from parkube.nodeagent.streams.errors import StreamFault

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MAX_MESSAGE = 8 * 1024 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Message(NamedTuple):
    """A whole data message, or a control frame."""

    opcode: int
    payload: bytes


def accept(key: str) -> str:
    """`Sec-WebSocket-Accept` for a client's key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked, final frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, size)
    elif size < 1 << 16:
        head = struct.pack(">BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 127, size)
    return head + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """The end, with its reason (cut to what fits a control frame)."""
    return frame(CLOSE, struct.pack(">H", code) + reason.encode()[:123])


class Reader:
    """Puts a client's frames together."""

    def __init__(self) -> None:
        self._buffer = b""
        self._opcode = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes. Raises `StreamFault`."""
        self._buffer += data
        while True:
            parsed = self._frame()
            if parsed is None:
                return
            final, opcode, payload = parsed
            if opcode >= CLOSE:
                yield Message(opcode, payload)
                continue
            if (opcode == CONTINUATION) != bool(self._opcode):
                raise StreamFault("WebSocket fragments out of order")
            self._opcode = self._opcode or opcode
            self._parts.append(payload)
            if sum(map(len, self._parts)) > MAX_MESSAGE:
                raise StreamFault("the WebSocket message is too big")
            if final:
                yield Message(self._opcode, b"".join(self._parts))
                self._opcode, self._parts = 0, []

    def _frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        size, at = second & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(buffer) < at + width:
                return None
            size, at = int.from_bytes(buffer[at : at + width], "big"), at + width
        if first & 0x70 or not second & 0x80:
            raise StreamFault("a client's WebSocket frames must be masked and plain")
        if size > MAX_MESSAGE or (first & 0x0F >= CLOSE and (size > 125 or not first & 0x80)):
            raise StreamFault("the WebSocket frame is too big")
        if len(buffer) < at + 4 + size:
            return None
        mask, payload = buffer[at : at + 4], buffer[at + 4 : at + 4 + size]
        self._buffer = buffer[at + 4 + size :]
        return bool(first & 0x80), first & 0x0F, _unmask(payload, mask)


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    long_mask = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(long_mask, "big")).to_bytes(size, "big")
