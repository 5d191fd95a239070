"""Search near a place with price and free bays, over HTTP: 20 clients, 6,000 garages, 10,000 live bookings.

The platform runs as it does in use, a process of its own on SQLite; the clients are raw sockets, so that what they cost
beside it on two cores is little. Each asks near a city's centre, scattered, for a window of its own. The garages are
the register's, and a generated city's where it has fewer or is not on the machine. What a search costs is the process's
CPU: 500 of them a second are one core.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.figures import Figure
from bench.measure import BenchError, cpu_s, percentile, quietest
from bench.servers import folder, free_port, processes
from parkube.parking.adapters import city
from parkube.parking.adapters.database import open_database
from parkube.parking.domain.bookings import Booking, Quote, State
from parkube.parking.domain.money import Money
from parkube.parking.domain.times import Window
from parkube.parking.main.wiring import new_id, now, open_platform

REGISTER = Path(__file__).resolve().parents[3] / "shared" / "data" / "nl_npr_facilities_2019.csv"
CENTRES = ((52.37, 4.89), (51.92, 4.48), (52.09, 5.12), (52.07, 4.30), (51.44, 5.47), (53.22, 6.56), (50.85, 5.69))
GARAGES = 6000
SEARCH_CPU_MS = 2.0
LENGTHS = (45, 60, 120, 180, 300)


def measure(quick: bool) -> list[Figure]:
    """Import, seed, run, ask."""
    clients, requests, bookings = 20, 50 if quick else 500, 10_000
    with folder() as place, processes(place) as running:
        url = f"sqlite:///{place}/platform.sqlite"
        if REGISTER.exists():
            _import(url, "import-npr", str(REGISTER))
        missing = GARAGES - asyncio.run(_known(url))
        if missing > 0:
            _import(url, "city", "--garages", str(missing))
        garages, bookable = asyncio.run(_seed(url, bookings))
        port = free_port()
        pid = running.start("platform", _command(["platform", "--database-url", url, "--listen", f"127.0.0.1:{port}"]))
        asyncio.run(_load(port, clients, 50))
        before = cpu_s(pid)
        asyncio.run(_load(port, clients, requests))
        one_ms = (cpu_s(pid) - before) / (clients * requests) * 1000
        taken, how = quietest(lambda: asyncio.run(_load(port, clients, requests)), [pid], 1 if quick else 5)
    kind = "the imported register and a generated city" if REGISTER.exists() else "a generated city"
    note = (
        f"{kind}: {garages:,} garages, {bookable:,} of them bookable, {bookings:,} live bookings; {clients} clients in "
        f"one process that ask again at once, {len(taken):,} searches; p50 {percentile(taken, 0.5):.1f} ms, "
        f"worst {max(taken):.1f} ms; {how}"
    )
    return [
        Figure(
            "search near a place with price and free bays over HTTP, p99", percentile(taken, 0.99), "ms", 20, note=note
        ),
        Figure("search: one, CPU of the platform's process", one_ms, "ms", SEARCH_CPU_MS,
               note=f"{1000 / one_ms:,.0f} searches a second on one core"),
    ]  # fmt: skip


def _import(url: str, *words: str) -> None:
    subprocess.run(_command([*words, "--bookable", "--database-url", url]), check=True, stdout=subprocess.DEVNULL)


async def _known(url: str) -> int:
    database = open_database(url)
    platform = await open_platform(database)
    await database.close()
    return len(platform.index)


async def _seed(url: str, count: int) -> tuple[int, int]:
    """Live bookings on the garages that can be booked, over the next three days."""
    chance = random.Random(1)
    database = open_database(url)
    platform = await open_platform(database)
    garages = [known.garage for known in platform.index.all() if known.bookable]
    begin = now().replace(microsecond=0)
    async with database.writing() as transaction:
        for _ in range(count):
            garage = chance.choice(garages)
            start = begin + timedelta(minutes=chance.randrange(3 * 24 * 60))
            window = Window(start, start + timedelta(minutes=chance.choice(LENGTHS)))
            quote = Quote(new_id("qt"), garage.id, window, Money(600), 104, (), garage.tariff, begin, window.end)
            await transaction.add_quote(quote)
            await transaction.add_booking(
                Booking(
                    new_id("bk"), garage.id, quote.id, window, State.BOOKED, Money(600), (), garage.tariff,
                    new_id("gr"), "PK1.none.none", begin,
                )
            )  # fmt: skip
    await database.close()
    return len(platform.index), len(garages)


async def _load(port: int, clients: int, requests: int) -> list[float]:
    """Milliseconds of each search."""
    await _ready(port)
    latencies: list[float] = []
    await asyncio.gather(*(_client(port, requests, latencies, random.Random(i)) for i in range(clients)))
    return latencies


async def _client(port: int, requests: int, latencies: list[float], chance: random.Random) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin = datetime.now(UTC).replace(microsecond=0, second=0)
    for _ in range(requests):
        latitude, longitude = chance.choice(CENTRES if REGISTER.exists() else (city.CENTRE,))
        start = begin + timedelta(minutes=chance.randrange(1, 2880))
        end = start + timedelta(minutes=chance.choice(LENGTHS))
        query = (
            f"lat={latitude + chance.gauss(0, 0.02):.5f}&lon={longitude + chance.gauss(0, 0.03):.5f}"
            f"&from={start:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}&limit=20"
        )
        began = time.perf_counter()
        writer.write(f"GET /api/v1/driver/garages?{query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        latencies.append((time.perf_counter() - began) * 1000)
        if not head.startswith(b"http/1.1 200") or body.count(b'"price_cents"') != 20:
            raise BenchError(f"the search failed: {body[:300]!r}")
    writer.close()


async def _ready(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return


def _command(argv: list[str]) -> list[str]:
    run = "import sys; from parkube.parking.main import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-c", run, *argv]
