"""A QR scanner that serves its lines on TCP, as serial scanners behind an Ethernet adapter do.

Each line it sends is a code; the answer is `OK` or `NO <reason>`. `PING` asks whether it is still there: `PONG`.
"""

from __future__ import annotations

import asyncio

from parkube.parking.gate.devices.port import OnCode

LINE_BYTES = 4096


class TcpScanner:
    """One scanner. `ping_s`: how often it must say that it lives; `answer_s`: how long it may take when asked."""

    def __init__(self, address: str, port: int, ping_s: float = 5.0, answer_s: float = 2.0) -> None:
        self._address, self._port, self._ping_s, self._answer_s = address, port, ping_s, answer_s
        self._alive = False
        self._writer: asyncio.StreamWriter | None = None
        self._heard = asyncio.Event()

    @property
    def alive(self) -> bool:
        return self._alive

    async def answers(self) -> bool:
        if self._writer is None:
            return False
        self._heard.clear()
        self._writer.write(b"PING\n")
        try:
            async with asyncio.timeout(self._answer_s):
                await self._heard.wait()
        except TimeoutError:
            return False
        return True

    async def run(self, on_code: OnCode) -> None:
        while True:
            try:
                async with asyncio.timeout(self._ping_s):
                    reader, writer = await asyncio.open_connection(self._address, self._port, limit=LINE_BYTES)
            except (OSError, TimeoutError):
                await asyncio.sleep(1.0)
                continue
            self._writer = writer
            try:
                await self._serve(reader, writer, on_code)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                pass
            finally:
                self._alive, self._writer = False, None
                writer.close()
            await asyncio.sleep(0.2)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, on_code: OnCode) -> None:
        asked = True
        writer.write(b"PING\n")
        while True:
            try:
                async with asyncio.timeout(self._ping_s):
                    line = await reader.readline()
            except TimeoutError:
                if asked:
                    raise
                asked = True
                writer.write(b"PING\n")
                continue
            if not line:
                return
            self._alive, asked = True, False
            self._heard.set()
            text = line.decode(errors="replace").strip()
            if text and text != "PONG":
                ok, reason = await on_code(text)
                writer.write(b"OK\n" if ok else f"NO {reason}\n".encode())
                await writer.drain()
