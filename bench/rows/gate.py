"""Offline, from the scan to the relay's Modbus answer, journal on disk: the garage app's objects, a real relay board.

The code is shown at the board's scanner over HTTP, travels down the scanner's line, is checked, journalled (fsync) and
pulsed; the clock runs from before the HTTP request until the Modbus answer is in the app's hands. No platform is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import mkdtemp

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.figures import Figure
from bench.measure import BenchError, percentile, quietest
from bench.servers import folder, free_port, processes
from parkube.parking.domain.grants import Grant, encode
from parkube.parking.gate.config import parse
from parkube.parking.gate.devices.modbus import ModbusRelay
from parkube.parking.gate.main import assemble

GARAGE = "nl-bench"
PAUSE_S = 0.06  # between two cars, so that the coil has opened again: a pulse lasts 50 ms


class TimedRelay(ModbusRelay):
    """Keeps when the board had answered the last pulse."""

    answered = 0.0

    async def pulse(self, coil: int, pulse_ms: int) -> None:
        """See `Relay`."""
        await super().pulse(coil, pulse_ms)
        self.answered = time.perf_counter()


def measure(quick: bool) -> list[Figure]:
    """A thousand cars."""
    scans = 100 if quick else 1000
    with folder() as place, processes(place) as running:
        modbus, scanner, page = free_port(), free_port(), free_port()
        board = running.start("board", [
            sys.executable, "-m", "parkube.cli", "parking", "relay-board", "--modbus-port", str(modbus),
            "--scanner-port", str(scanner), "--http-port", str(page), "--gate", "entry",
        ])  # fmt: skip
        taken, how = quietest(lambda: asyncio.run(_measure(place, (modbus, scanner, page), scans)), [board], 3)
    note = (
        f"{scans:,} scans, each a grant of its own; p50 {percentile(taken, 0.5):.1f} ms, worst {max(taken):.1f} ms; "
        "the way from the board's HTTP port to its scanner is counted too; "
        f"{how}"
    )
    what = "offline, from the scan to the relay's Modbus answer, journal fsynced, p99"
    return [Figure(what, percentile(taken, 0.99), "ms", 10, note=note)]


async def _measure(place: Path, ports: tuple[int, int, int], scans: int) -> list[float]:
    """Milliseconds of each scan, on a fresh journal. Ports: Modbus, scanner, HTTP."""
    modbus, scanner, page = ports
    place = Path(mkdtemp(dir=place))
    key = Ed25519PrivateKey.generate()
    relay = TimedRelay("127.0.0.1", modbus, 1)
    async with _garage(place, relay, modbus, scanner, key), _asking(page) as show:
        await _warm(show)
        taken = []
        for number in range(scans):
            now = int(time.time())
            code = encode(Grant(f"g{number}", "k1", GARAGE, ("entry",), now - 60, now + 600, f"b{number}"), key.sign)
            began = time.perf_counter()
            answer = await show(code)
            if not answer.get("ok") or relay.answered < began:
                raise BenchError(f"the gate did not open: {answer}")
            taken.append((relay.answered - began) * 1000)
            await asyncio.sleep(PAUSE_S)
        return taken


@contextlib.asynccontextmanager
async def _garage(
    place: Path, relay: ModbusRelay, modbus: int, scanner: int, key: Ed25519PrivateKey
) -> AsyncIterator[None]:
    """The garage app as `parkube parking gate` puts it together, its link to the platform left out."""
    board = {"address": "127.0.0.1", "port": modbus, "pulseMs": 50}
    raw = {
        "garage": GARAGE, "platformUrl": "http://127.0.0.1:1", "dataDir": str(place / "garage"),
        "gates": [{"name": "entry", "relay": board, "scanner": {"address": "127.0.0.1", "port": scanner}}],
    }  # fmt: skip
    garage, _ = assemble(parse(raw, "token"))
    garage.lane.keys = {"k1": key.public_key().public_bytes_raw()}
    garage.relays = {"entry": relay}
    garage.start()

    async def shown(code: str) -> tuple[bool, str]:
        return await garage.scan("entry", code)

    task = asyncio.create_task(garage.scanners["entry"].run(shown))
    try:
        async with asyncio.timeout(30):
            while not garage.scanners["entry"].alive:
                await asyncio.sleep(0.02)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await relay.close()
        garage.journal.close()


class _Show:
    """POST /scan on one kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def __call__(self, code: str) -> dict[str, object]:
        body = json.dumps({"gate": "entry", "code": code}).encode()
        head = (
            f"POST /scan HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        said: dict[str, object] = json.loads(await self._reader.readexactly(length))
        return said


@contextlib.asynccontextmanager
async def _asking(port: int) -> AsyncIterator[_Show]:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            await asyncio.sleep(0.05)
    try:
        yield _Show(reader, writer)
    finally:
        writer.close()


async def _warm(show: _Show) -> None:
    """What is not a grant is refused; the way there is open."""
    for _ in range(20):
        await show("hello")
