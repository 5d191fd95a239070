"""Killed at each step of a stay, the database away, a garage's clock wrong by a day: nothing lost or charged twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from parkube.parking.adapters.database import SqlDatabase
from parkube.parking.domain.errors import Unavailable
from parkube.parking.services import keeping
from tests.fakes.parking import FakeGarage, World, ok, problem


class Killed(BaseException):
    """The process is gone: nothing of it runs on."""


class Fragile:
    """A database in a process that is killed around one of its commits, or that is away."""

    def __init__(self, inside: SqlDatabase, dies_at: int = 0, when: str = "before") -> None:
        self.inside, self.dies_at, self.when = inside, dies_at, when
        self.commits = 0
        self.away = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        self._here()
        async with self.inside.reading() as transaction:
            yield transaction

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        self._here()
        self.commits += 1
        mine = self.commits
        async with self.inside.writing() as transaction:
            yield transaction
            if mine == self.dies_at and self.when == "before":
                raise Killed
        if mine == self.dies_at:
            raise Killed

    def _here(self) -> None:
        if self.away:
            raise Unavailable("the database does not answer now", code="database_unavailable")


class Story:
    """A driver's stay, told to platforms that die: each step is done again until it is done."""

    def __init__(self, world: World, database: SqlDatabase, dies_at: int, when: str, garage_id: str) -> None:
        self.clock, self.database, self.garage_id = world.clock, database, garage_id
        self.world, self.garage = world, FakeGarage(world, garage_id)
        self.fragile = Fragile(database, dies_at, when)
        self.world.platform.database = self.fragile
        self.deaths = 0

    async def step(self, done: Callable[[], Any]) -> Any:
        """Does it; where the platform is killed on the way, a new one does it again on what the first left."""
        try:
            return await done()
        except Killed:
            self.deaths += 1
            await self.world.http.aclose()
            again = await World.open(self.database)
            again.clock = again.platform.clock = self.clock
            self.world = self.garage.world = again
            self.garage.connection = None
            await self.garage.connect()
            return await done()

    async def pass_gate(self, booking: dict[str, Any], gate: str) -> None:
        """A code shown at a gate opens it once, whatever becomes of the platform."""
        opened = any(e["kind"] == "opened" and e["gate"] == gate for e in self.garage.events)
        if not opened:
            assert await self.garage.scan(booking["grant"], gate) == ""
        elif self.garage.connection is not None:
            await self.garage.send()

    async def tell(self) -> None:
        await self.step(self.garage.connect)

        async def book() -> Any:
            quote = await self.world.quote(self.garage_id)
            headers = {"Idempotency-Key": f"key-{self.garage_id}"}
            answer = await self.world.http.post(
                "/api/v1/driver/bookings", json={"quote_id": quote["id"]}, headers=headers
            )
            if answer.status_code == 409:  # Another quote, the same key: it was booked before the platform died.
                async with self.world.platform.database.reading() as transaction:
                    known = await transaction.booking_of_key(f"key-{self.garage_id}")
                quoted = {"quote_id": known.quote_id}
                answer = await self.world.http.post("/api/v1/driver/bookings", json=quoted, headers=headers)
            return ok(answer, 201)

        booking = await self.step(book)
        await self.step(lambda: self.pass_gate(booking, "entry"))
        self.clock.forward(minutes=150)
        await self.step(lambda: keeping.tick(self.world.platform))
        await self.step(lambda: self.pass_gate(booking, "exit"))

        async def pay() -> Any:
            return ok(await self.world.call(booking, "POST", "/pay"))

        receipt = await self.step(pay)
        assert receipt["total_cents"] == 750
        shown = ok(await self.world.call(booking, "GET"))
        assert (shown["state"], shown["due_cents"]) == ("paid", 0)
        assert shown["session"]["state"] == "closed"
        async with self.database.reading() as transaction:
            entries = await transaction.entries(booking["id"])
            assert [e.kind for e in entries].count("charge") == 1
            assert len(await transaction.receipts(booking["id"])) == 1
            assert await transaction.holding() == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_around_each_commit_of_a_stay(database: SqlDatabase, when: str) -> None:
    if when == "before" and database._turn is None:
        pytest.skip("what is rolled back is the same on both; what is kept is tried on both")
    deaths = 0
    for dies_at in range(1, 60):
        world = await World.open(database)
        world.clock.forward(days=dies_at)
        garage_id = f"nl-{when}-{dies_at}"
        await world.garage(garage_id)
        story = Story(world, database, dies_at, when, garage_id)
        await story.tell()
        await story.world.assert_balanced()
        await story.world.http.aclose()
        deaths += story.deaths
        if not story.deaths:
            break
    else:
        pytest.fail("the story never ends")
    assert deaths >= 10


async def test_the_database_away_for_a_minute(world: World, garage: FakeGarage, database: SqlDatabase) -> None:
    booking = await world.book()
    fragile = Fragile(database)
    world.platform.database = fragile
    fragile.away = True
    problem(await world.call(booking, "GET"), 503, "database_unavailable")
    problem(await world.http.post("/api/v1/driver/stays", json={"garage_id": "nl-test"}), 503, "database_unavailable")
    # The gate still opens; its lines wait at the garage, whose link is closed without an acknowledgement.
    with pytest.raises(Unavailable):
        await garage.scan(booking["grant"], "entry")
    garage.disconnect()
    world.clock.forward(minutes=1)
    assert await garage.scan(booking["grant"], "exit") == ""
    fragile.away = False
    await garage.connect()
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["due_cents"]) == ("exited", 600)
    assert shown["session"]["entered_at"] < shown["session"]["exited_at"]


async def test_postgresql_drops_every_connection_and_is_used_again(
    postgres_address: str, database: SqlDatabase
) -> None:
    if database._turn is not None:
        pytest.skip("SQLite has no connections to drop")
    world = await World.open(database)
    await world.garage()
    garage = await FakeGarage(world).connect()
    booking = await world.book()
    async with database.reading() as transaction:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        await transaction.connection.execute(text(f"{others} AND datname = current_database()"))
    assert await garage.scan(booking["grant"], "entry") == ""
    assert ok(await world.call(booking, "GET"))["state"] == "entered"
    await world.assert_balanced()
    await world.http.aclose()


@pytest.mark.parametrize("days", [-1, 1])
async def test_a_garages_clock_wrong_by_a_day_bills_what_was_parked(
    world: World, garage: FakeGarage, days: int
) -> None:
    garage.disconnect()
    garage.clock_error = timedelta(days=days)
    await garage.connect()
    stay = ok(await world.http.post("/api/v1/driver/stays", json={"garage_id": "nl-test"}), 201)
    booking = await world.book()
    await garage.scan(booking["grant"], "entry")
    # The link is down as they leave: only the garage's clock says when.
    garage.disconnect()
    world.clock.forward(minutes=95)
    await garage.report("opened", "exit", booking=stay["id"])
    await garage.scan(booking["grant"], "exit")
    world.clock.forward(hours=30)
    await garage.connect()
    assert ok(await world.call(stay, "GET"))["due_cents"] == 600
    assert ok(await world.call(booking, "GET"))["due_cents"] == 600
