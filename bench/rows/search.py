"""Search near a place with price and free bays, over HTTP: 500 a second, 6,000 garages, 10,000 live bookings.

The platform runs as it does in use, a process of its own on SQLite, and is kept on one core. The drivers come when they
come, not when the last one was answered: a search's time begins when it was due, so that a pause is paid by everybody
who came during it. They are raw sockets, so that they cost little. Each asks near a city's centre, scattered, for a
window of its own. The garages are the register's, and a generated city's where it has fewer or is not on the machine.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
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
PER_S = 500
SEARCH_CPU_MS = 1000 / PER_S
CONNECTIONS = 40
LENGTHS = (45, 60, 120, 180, 300)
_Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def measure(quick: bool) -> list[Figure]:
    """Import, seed, run, ask."""
    searches, bookings = 1000 if quick else 10_000, 10_000
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
        asyncio.run(_load(port, 1000))
        os.sched_setaffinity(pid, {max(os.sched_getaffinity(0))})
        before = cpu_s(pid)
        asyncio.run(_load(port, searches))
        one_ms = (cpu_s(pid) - before) / searches * 1000
        taken, how = quietest(lambda: asyncio.run(_load(port, searches)), [pid], 1 if quick else 5)
    kind = "the imported register and a generated city" if REGISTER.exists() else "a generated city"
    note = (
        f"{kind}: {garages:,} garages, {bookable:,} of them bookable, {bookings:,} live bookings; {len(taken):,} "
        f"searches, {PER_S} a second at random moments, the platform on one core; p50 {percentile(taken, 0.5):.1f} ms, "
        f"worst {max(taken):.1f} ms; {how}"
    )
    p99 = percentile(taken, 0.99)
    return [
        Figure(f"search with price and free bays over HTTP, {PER_S} a second, p99", p99, "ms", 20, note=note),
        Figure("search: one, CPU of the platform's process", one_ms, "ms", SEARCH_CPU_MS,
               note=f"{1000 / one_ms:,.0f} searches a second are one core"),
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


async def _load(port: int, searches: int) -> list[float]:
    """Milliseconds of each search, from when it was due."""
    await _ready(port)
    loop, chance, taken = asyncio.get_running_loop(), random.Random(searches), list[float]()
    idle: asyncio.Queue[_Line] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    async def one(due: float) -> None:
        query = _query(chance)
        line = await idle.get()
        await _search(line, query)
        idle.put_nowait(line)
        taken.append((loop.time() - due) * 1000)

    due = loop.time()
    async with asyncio.TaskGroup() as drivers:
        for _ in range(searches):
            due += chance.expovariate(PER_S)
            await asyncio.sleep(due - loop.time())
            drivers.create_task(one(due))
    for _ in range(CONNECTIONS):
        idle.get_nowait()[1].close()
    return taken


def _query(chance: random.Random) -> str:
    latitude, longitude = chance.choice(CENTRES if REGISTER.exists() else (city.CENTRE,))
    start = datetime.now(UTC).replace(microsecond=0, second=0) + timedelta(minutes=chance.randrange(1, 2880))
    end = start + timedelta(minutes=chance.choice(LENGTHS))
    return (
        f"lat={latitude + chance.gauss(0, 0.02):.5f}&lon={longitude + chance.gauss(0, 0.03):.5f}"
        f"&from={start:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}&limit=20"
    )


async def _search(line: _Line, query: str) -> None:
    reader, writer = line
    writer.write(f"GET /api/v1/driver/garages?{query} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"http/1.1 200") or body.count(b'"price_cents"') != 20:
        raise BenchError(f"the search failed: {body[:300]!r}")


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
    return ["env", "PARKUBE_RATE_PER_S=0", sys.executable, "-c", run, *argv]
