"""800,000 stays of a generated year, replayed through services and database on PostgreSQL whose commits are on disk.

Told to be quick, it replays the first days twice, compares their ledgers, and says what the year would take at that
rate.
"""

from __future__ import annotations

import asyncio
import os
import time

from tests.fakes import postgres

from bench.figures import Figure
from bench.measure import BenchError, rss_mib
from bench.replay import Outcome, Replay, Year
from parkube.parking.adapters.database import open_database

STAYS = 800_000
MINUTES = 45.0
GROWTH_MIB = 50.0


def measure(quick: bool) -> list[Figure]:
    """The year, or two times its first days."""
    bin_dir = postgres.binaries()
    if bin_dir is None:
        raise BenchError("PostgreSQL's binaries are not installed (apt install postgresql)")
    year = Year(STAYS * 4 // 365, days=4) if quick else Year(STAYS)
    outcomes: list[Outcome] = []
    for _ in range(2 if quick else 1):
        with postgres.server(bin_dir, durable=True) as address:
            outcome, took_s, cpu_s, memory = asyncio.run(_replay(address, year))
        outcomes.append(outcome)
    if len({each.digest for each in outcomes}) > 1:
        raise BenchError("the same year did not end the same")
    said = f"{outcome.stays:,} stays, {outcome.turned_away:,} turned away, {outcome.entries:,} ledger entries, "
    said += f"{outcome.payouts} payouts, balanced to the cent; {cpu_s / 60:.1f} min of that is this process's CPU"
    said += f"; the ledger's digest is {outcome.digest[:16]}, the same each time"
    if quick:
        said = f"at the rate of the first {year.days} days, replayed twice to the same ledger: {said}"
    minutes = took_s / 60 * STAYS / max(1, outcome.stays)
    later = memory[len(memory) // 3 :]
    return [
        Figure("year: 800,000 stays replayed", minutes, "min", MINUTES, note=said),
        Figure("year: memory gained after its first third", max(later) - later[0], "MiB", GROWTH_MIB,
               note=f"{max(memory):.0f} MiB at most"),
    ]  # fmt: skip


async def _replay(address: str, year: Year) -> tuple[Outcome, float, float, list[float]]:
    database = open_database(address)
    replay, memory = Replay(database, year), []
    began, cpu = time.monotonic(), time.process_time()
    day, outcome = 0, replay.outcome
    async for outcome in replay.run():
        day += 1
        memory.append(rss_mib(os.getpid()))
        if day % 30 == 0:
            print(
                f"  day {day}: {outcome.stays:,} stays, {(time.monotonic() - began) / 60:.1f} min, {memory[-1]:.0f} MiB"
            )
    took = time.monotonic() - began, time.process_time() - cpu
    await database.close()
    return outcome, *took, memory
