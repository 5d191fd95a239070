"""Keeps what is counted every half hour, learns from it once a day, and says what to expect at an arrival."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from parkube.parking.domain.forecast import learn, nearest_ahead, read_forecast, write_forecast
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.times import zone
from parkube.parking.services.counting import occupancy_of
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

LEARN_FROM: Final = timedelta(weeks=12)
_DONE: Final = "forecast_slot"


@dataclass(frozen=True, slots=True)
class Expected:
    """Free bays to expect at an arrival, and by how many that is wrong in the mean."""

    free_bays: int
    error_bays: float


async def sample(platform: Platform) -> int:
    """Once each half hour, of each garage where something counts. Returns how many. Again is nothing."""
    now = platform.clock()
    at = now.replace(minute=now.minute - now.minute % 30, second=0, microsecond=0)
    kept = 0
    async with platform.database.writing() as transaction:
        if await transaction.setting(_DONE) == at.isoformat():
            return 0
        for garage_id in await transaction.counted_garages():
            inside = (await occupancy_of(transaction, garage_id, now)).raw
            if inside is not None:
                await transaction.add_sample(garage_id, at, max(0, inside))
                kept += 1
        await transaction.put_setting(_DONE, at.isoformat())
        if at.hour == 3 and at.minute == 0:
            for garage_id in await transaction.counted_garages():
                await teach(transaction, garage_id, now)
    return kept


async def teach(transaction: Transaction, garage_id: str, now: datetime) -> bool:
    """Learns a garage's forecast anew. Whether there was enough to learn from."""
    garage = await transaction.garage(garage_id)
    if garage is None:
        return False
    here = zone(garage.time_zone)
    samples = [
        (at.astimezone(here).replace(tzinfo=None), inside)
        for at, inside in await transaction.samples(garage_id, now - LEARN_FROM)
    ]
    made = learn(samples)
    if made is None:
        return False
    await transaction.put_forecast(garage_id, now, write_forecast(made))
    return True


async def expected(transaction: Transaction, garage: Garage, now: datetime, arrival: datetime) -> Expected | None:
    """What to expect at an arrival; None where nothing is known, or the guess is no better than anybody's."""
    if garage.capacity is None or nearest_ahead(arrival - now) is None:
        return None
    written = await transaction.forecast(garage.id)
    inside = (await occupancy_of(transaction, garage.id, now)).published(garage.capacity) if written else None
    if written is None or inside is None:
        return None
    here = zone(garage.time_zone)
    local_now, local_then = (at.astimezone(here).replace(tzinfo=None) for at in (now, arrival))
    guess = read_forecast(written).guess(local_now, inside, local_then)
    if guess is None:
        return None
    return Expected(max(0, garage.capacity - round(min(guess[0], garage.capacity))), round(guess[1], 1))
