"""SPDY/3.1 as a client: just enough to speak remote command to a CRI streaming server. No I/O.

Source: SPDY Protocol, Draft 3.1: framing (2.2), SYN_STREAM (2.6.1), name/value block and its zlib dictionary (2.6.10).
Headers that come in are not looked at, so nothing is decompressed; flow-control windows are not used by these servers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from parkube.nodeagent.streams.errors import StreamFault

_LENGTH = struct.Struct(">I")
_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_WORDS = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    "00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)


def dictionary() -> bytes:
    """The dictionary with which header blocks are compressed."""
    names = (name.replace("_", " ").encode() for name in _NAMES.split(" "))
    return b"".join(_LENGTH.pack(len(name)) + name for name in names) + _WORDS.encode()


_HEAD = struct.Struct(">II")
_CONTROL = 0x80030000
SYN_STREAM, RST_STREAM, PING, GOAWAY = 1, 3, 6, 7
FLAG_FIN = 0x01
_MAX_FRAME = 1 << 20
_CHUNK = 1 << 14


class Data(NamedTuple):
    """Bytes of a stream; `end` marks its last."""

    stream: int
    payload: bytes
    end: bool


class Reset(NamedTuple):
    """The server gave a stream up."""

    stream: int
    status: int


class Session:
    """One connection's framing, at the client's end."""

    def __init__(self) -> None:
        self._compress = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, 15, 8, 0, dictionary())
        self._next = 1
        self._buffer = b""

    def open(self, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """A new stream's number, and the bytes to send."""
        number, self._next = self._next, self._next + 2
        block = [_LENGTH.pack(len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                block += (_LENGTH.pack(len(text)), text)
        packed = self._compress.compress(b"".join(block)) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        body = struct.pack(">IIH", number, 0, 0) + packed
        return number, _HEAD.pack(_CONTROL | SYN_STREAM, len(body)) + body

    def data(self, stream: int, payload: bytes, *, end: bool = False) -> bytes:
        """The bytes to send for `payload`; `end`: nothing follows on that stream."""
        parts = [payload[i : i + _CHUNK] for i in range(0, len(payload), _CHUNK)] or [b""]
        last = len(parts) - 1
        return b"".join(
            _HEAD.pack(stream, (FLAG_FIN if end and i == last else 0) << 24 | len(part)) + part
            for i, part in enumerate(parts)
        )

    def feed(self, data: bytes) -> Iterator[Data | Reset | bytes]:
        """What arrived: data and resets of streams, and bytes that are to be sent in answer (pings)."""
        self._buffer += data
        while len(self._buffer) >= 8:
            first, second = _HEAD.unpack_from(self._buffer)
            size = second & 0xFFFFFF
            if size > _MAX_FRAME or (first & 0x80000000 and first >> 16 != _CONTROL >> 16):
                raise StreamFault("the runtime does not speak SPDY/3.1")
            if len(self._buffer) < 8 + size:
                return
            payload, self._buffer = self._buffer[8 : 8 + size], self._buffer[8 + size :]
            if not first & 0x80000000:
                yield Data(first, payload, bool(second >> 24 & FLAG_FIN))
            elif first & 0xFFFF == PING and size == 4:
                yield _HEAD.pack(first, second) + payload
            elif first & 0xFFFF == RST_STREAM and size == 8:
                yield Reset(*_HEAD.unpack(payload))
