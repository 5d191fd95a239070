"""A runtime's streaming server for tests: SPDY/3.1 remote command, in which the "command" is a Python function."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable

from parkube.nodeagent.streams.spdy import dictionary


class StreamingServer:
    """`run(server)` is called when all streams are open; it reads `stdin` (a queue, None at its end) and answers."""

    def __init__(self, expected: int, run: Callable[[StreamingServer], object], *, refuse: bytes = b"") -> None:
        self.expected, self.run, self.refuse = expected, run, refuse
        self.streams: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.stdin: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.resizes: list[bytes] = []
        self.head = b""
        self.pongs = 0
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> str:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/exec/token"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.head = await reader.readuntil(b"\r\n\r\n")
        if self.refuse:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(self.refuse), self.refuse))
            writer.close()
            return
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\n\r\n")
        inflate = zlib.decompressobj(zdict=dictionary())
        try:
            while True:
                first, second = struct.unpack(">II", await reader.readexactly(8))
                payload = await reader.readexactly(second & 0xFFFFFF)
                if first & 0x80000000:
                    if first & 0xFFFF == 6:
                        self.pongs += 1
                        continue
                    self._opened(struct.unpack(">I", payload[:4])[0], inflate.decompress(payload[10:]))
                elif self.names[first] == "stdin":
                    if payload:
                        self.stdin.put_nowait(payload)
                    if second >> 24 & 1:
                        self.stdin.put_nowait(None)
                else:
                    self.resizes.append(payload)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.stdin.put_nowait(None)

    def _opened(self, number: int, block: bytes) -> None:
        size = struct.unpack(">I", block[4:8])[0]
        assert block[8 : 8 + size] == b"streamtype"
        (length,) = struct.unpack(">I", block[8 + size : 12 + size])
        name = block[12 + size : 12 + size + length].decode()
        self.streams[name], self.names[number] = number, name
        self.writer.write(struct.pack(">II", 0x80030006, 4) + b"\0\0\0\2")  # a ping, which clients answer
        if len(self.streams) == self.expected:
            self.tasks.append(asyncio.ensure_future(self._run()))

    async def _run(self) -> None:
        result = self.run(self)
        if asyncio.iscoroutine(result):
            await result
        self.writer.close()

    def send(self, name: str, data: bytes, *, end: bool = False) -> None:
        self.writer.write(struct.pack(">II", self.streams[name], int(end) << 24 | len(data)) + data)
