"""Counts taken in from garages and people, and what they say of a garage now."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from parkube.parking.domain import counting
from parkube.parking.domain.counting import Count, Occupancy
from parkube.parking.domain.errors import Invalid, NotFound
from parkube.parking.domain.garages import Garage, GateEvent
from parkube.parking.services import news
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

_MOST_INSIDE: Final = 100_000
_INWARD: Final = {"entry": 1, "exit": -1}


async def occupancy_of(transaction: Transaction, garage_id: str, now: datetime) -> Occupancy:
    """What is known of a garage now: from its last recount on, and the drifts of the latest ones."""
    return counting.occupancy(await transaction.counts(garage_id), now)


async def occupied_now(transaction: Transaction, garage: Garage, now: datetime) -> int | None:
    """Taken bays by the counters; None where nothing counts there."""
    return (await occupancy_of(transaction, garage.id, now)).published(garage.capacity)


async def recount(platform: Platform, garage_id: str, occupied: int, source: str, key: str | None) -> Occupancy:
    """Somebody or a camera counted all that stand inside. The same key again is the same recount.

    Raises NotFound, Invalid.
    """
    if not 0 <= occupied <= _MOST_INSIDE:
        raise Invalid(f"{occupied} vehicles cannot stand there", [("occupied", f"from 0 to {_MOST_INSIDE}")])
    now = platform.clock()
    async with platform.database.writing() as transaction:
        if await transaction.garage(garage_id) is None:
            raise NotFound(f"there is no garage {garage_id[:80]!r}")
        made = Count(garage_id, f"recount:{key or platform.new_id('rc')}", now, counting.RECOUNT, occupied, source)
        await transaction.add_count(made)
        found = await occupancy_of(transaction, garage_id, now)
    news.garage(platform, garage_id)
    return found


def count_of(event: GateEvent, at: datetime, direction: str | None) -> Count | None:
    """What a journal line counts: a vehicle through a gate, or what a counter or a camera there reports.

    A `counted` line's detail is {in, out} since the line before, or {occupied}. One that cannot be read counts nothing.
    """
    key, source = f"{event.garage_id}:{event.journal}:{event.seq}", (event.gate or "counter")[:32]
    if event.kind == "opened" and direction in _INWARD:
        return Count(event.garage_id, key, at, counting.PASSED, _INWARD[direction], "gate")
    if event.kind != "counted" or not isinstance(event.detail, dict):
        return None
    said = {name: event.detail.get(name) for name in ("in", "out", "occupied")}
    if any(value is not None and (type(value) is not int or not 0 <= value <= _MOST_INSIDE) for value in said.values()):
        return None
    if said["occupied"] is not None:
        return Count(event.garage_id, key, at, counting.RECOUNT, said["occupied"], source)
    return Count(event.garage_id, key, at, counting.PASSED, (said["in"] or 0) - (said["out"] or 0), source)
