"""Bookings on PostgreSQL whose commits are on disk: quote and book through the services, and none oversold.

Many drivers at once, over few garages, for times that overlap: some find no bay left, as they should.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import timedelta

from sqlalchemy import select
from tests.fakes import postgres

from bench.figures import Figure
from bench.measure import BenchError
from parkube.parking.adapters.database import SqlDatabase, open_database
from parkube.parking.adapters.database import schema as t
from parkube.parking.domain.errors import Conflict
from parkube.parking.domain.garages import Garage, Gate
from parkube.parking.domain.occupancy import most_at_once
from parkube.parking.main.wiring import now, open_platform
from parkube.parking.services import booking
from parkube.parking.services.platform import Platform

BOOKING_MS = 1000 / 300
GARAGES, BAYS, DRIVERS = 50, 30, 20


def measure(quick: bool) -> list[Figure]:
    """Drivers that ask again at once."""
    bin_dir = postgres.binaries()
    if bin_dir is None:
        raise BenchError("PostgreSQL's binaries are not installed (apt install postgresql)")
    with postgres.server(bin_dir, durable=True) as address:
        booked, refused, took_s = asyncio.run(_book(address, 500 if quick else 6000))
    note = (
        f"{booked:,} booked and {refused:,} turned away for want of a bay by {DRIVERS} drivers at once in {GARAGES} "
        f"garages of {BAYS} bays; each quoted and booked in its own transactions; none oversold"
    )
    return [Figure("bookings: one, quoted and booked, durable", took_s / booked * 1000, "ms", BOOKING_MS, note=note)]


async def _book(address: str, count: int) -> tuple[int, int, float]:
    database = open_database(address, pool=DRIVERS)
    platform = await open_platform(database)
    gates = (Gate("entry", "entry"), Gate("exit", "exit"))
    garages = [Garage(f"nl-{i:03d}", f"Garage {i}", capacity=BAYS, managed=True, gates=gates) for i in range(GARAGES)]
    async with database.writing() as transaction:
        await transaction.put_garages(garages)
    for garage in garages:
        platform.index.put(garage)
    chances = [random.Random(driver) for driver in range(DRIVERS)]
    began = time.monotonic()
    done = await asyncio.gather(*(_driver(platform, chance, count // DRIVERS) for chance in chances))
    took_s = time.monotonic() - began
    await _none_oversold(database)
    await database.close()
    booked = sum(done)
    return booked, count // DRIVERS * DRIVERS - booked, took_s


async def _driver(platform: Platform, chance: random.Random, count: int) -> int:
    booked = 0
    for _ in range(count):
        begins = now().replace(microsecond=0) + timedelta(minutes=chance.randrange(10, 600))
        ends = begins + timedelta(minutes=chance.choice((45, 60, 120, 180)))
        garage = f"nl-{chance.randrange(GARAGES):03d}"
        quote = await booking.quote(platform, garage, begins.isoformat(), ends.isoformat())
        try:
            await booking.book(platform, quote.id, None, None)
            booked += 1
        except Conflict as refused:
            if refused.code != "no_free_bay":
                raise
    return booked


async def _none_oversold(database: SqlDatabase) -> None:
    b = t.bookings.c
    async with database.reading() as transaction:
        rows = (await transaction.connection.execute(select(b.garage_id, b.starts_at, b.ends_at))).all()
    for garage in {row[0] for row in rows}:
        most = most_at_once([(start.timestamp(), end.timestamp()) for of, start, end in rows if of == garage])
        if most > BAYS:
            raise BenchError(f"{garage} has {most} bookings at once for {BAYS} bays")
