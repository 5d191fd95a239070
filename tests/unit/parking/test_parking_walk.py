"""Random days at a small garage: never oversold, search shows what the database holds, the books balance."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from parkube.parking.domain.occupancy import most_at_once
from parkube.parking.domain.times import Window
from parkube.parking.services import keeping
from tests.fakes.parking import FakeGarage, World, ok

BAYS = 3


async def check(world: World) -> None:
    now = world.clock.now
    async with world.platform.database.reading() as transaction:
        holding = await transaction.holding()
    promised = [(b.window.start.timestamp(), b.window.end.timestamp()) for b in holding]
    assert most_at_once(promised) <= BAYS
    known = world.platform.index.get("nl-test")
    assert known is not None
    for hours in (0, 1, 3, 6, 12):
        window = Window(now + timedelta(hours=hours), now + timedelta(hours=hours + 2))
        taken = [w for b in holding if (w := b.taken(now)) is not None and w.overlaps(window)]
        spans = [(max(w.start, window.start).timestamp(), min(w.end, window.end).timestamp()) for w in taken]
        assert world.platform.index.free(known, window) == max(0, BAYS - most_at_once(spans))


@pytest.mark.parametrize("seed", range(1))
async def test_a_random_walk(world: World, seed: int) -> None:
    chance = random.Random(seed)
    await world.garage(capacity=BAYS)
    garage = await FakeGarage(world).connect()
    bookings: list[dict[str, Any]] = []
    sold_out = 0
    for _ in range(80):
        what = chance.choice(("book", "book", "cancel", "enter", "exit", "exit", "pay", "cut", "time", "time"))
        one = chance.choice(bookings) if bookings else None
        if what == "book":
            start = world.clock.now + timedelta(minutes=chance.randrange(0, 300))
            quote = await world.quote(start=start, hours=chance.choice((0.5, 1, 3)))
            answer = await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]})
            if answer.status_code == 409:
                sold_out += 1
            else:
                bookings.append(ok(answer, 201))
        elif what == "cut":
            if garage.connection is None:
                await garage.connect()
                await garage.send(since=max(0, garage.acked - 3))
            else:
                garage.disconnect()
        elif what == "time":
            world.clock.forward(minutes=chance.randrange(1, 60))
            await keeping.tick(world.platform)
        elif one is not None and what in ("enter", "exit"):
            if what == "exit" and not any(e.get("booking") == one["id"] for e in garage.events):
                continue
            await garage.scan(one["grant"], "entry" if what == "enter" else "exit")
        elif one is not None:
            answer = await world.call(one, *(("DELETE",) if what == "cancel" else ("POST", "/pay")))
            assert answer.status_code in (200, 409)
        await check(world)
    assert sold_out
    if garage.connection is None:
        await garage.connect()
    await check(world)
