"""A short year, replayed in batches: balanced to the cent, the same again, and all of a batch or nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from bench.replay import Outcome, Replay, Year
from sqlalchemy import event, text

from parkube.parking.adapters.database import SqlDatabase, batch
from parkube.parking.adapters.database.schema import metadata
from parkube.parking.domain.bookings import State
from parkube.parking.domain.errors import Conflict, ParkingError
from parkube.parking.services import booking
from parkube.parking.services.audit import audit
from parkube.parking.services.ports import Transaction
from tests.fakes.parking import FakeGarage, World, ok

SHORT = Year(stays=150, days=33, garages=10)


async def replay(database: SqlDatabase) -> Outcome:
    return [outcome async for outcome in Replay(database, SHORT).run()][-1]


async def test_a_short_year_balances_and_its_database_says_so(database: SqlDatabase) -> None:
    outcome = await replay(database)
    assert outcome.stays + outcome.turned_away == SHORT.stays
    assert outcome.stays > 130
    assert outcome.payouts >= 2
    assert outcome.charged_minor > 130 * 200
    assert (await audit(database)).faults == ()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
async def test_the_same_year_ends_the_same(database: SqlDatabase) -> None:
    digests = []
    for _ in range(2):
        async with database.writing() as transaction:
            tables = ", ".join(table.name for table in metadata.sorted_tables)
            await transaction.connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        digests.append((await replay(database)).digest)
    assert digests[0] == digests[1]


async def test_a_batch_sees_what_it_did_and_never_oversells(world: World) -> None:
    await world.garage()
    await world.book()
    async with batch(world.platform.database) as database:  # type: ignore[arg-type]
        one = replace(world.platform, database=database)
        made = await booking.book(one, (await booking.quote(one, "nl-test", *_hours(world))).id, "GX-001-B", None)
        with pytest.raises(Conflict, match="no bay left"):
            await booking.book(one, (await booking.quote(one, "nl-test", *_hours(world))).id, None, None)
        await booking.cancel(one, made.id, booking.secret_of(one.signer, made.id))
        again = await booking.book(one, (await booking.quote(one, "nl-test", *_hours(world))).id, None, None)
    async with world.platform.database.reading() as transaction:
        known = [await transaction.booking(each.id) for each in (made, again)]
        assert await transaction.credentials("nl-test", made.id) == []
    assert [each and each.state for each in known] == [State.CANCELLED, State.BOOKED]


async def test_what_ended_is_gone_through_in_the_order_of_its_end(world: World) -> None:
    await world.garage(capacity=3)
    made = [(await world.book(hours=hours))["id"] for hours in (3, 2, 1)]
    async with world.platform.database.reading() as transaction:
        found = await transaction.unused_bookings(world.clock.now + timedelta(days=1))
    assert [each.id for each in found] == made[::-1]


async def test_a_batch_that_reads_ahead_knows_all_of_it_without_asking(world: World, garage: FakeGarage) -> None:
    inside, waiting = [await world.book() for _ in range(2)]
    ok(await world.call(inside, "PATCH", json={"to": _hours(world)[1].replace("T10", "T12")}))
    ok(await world.call(inside, "POST", "/prepay"))
    await garage.scan(inside["grant"], "entry")
    ids = [inside["id"], waiting["id"]]
    async with world.platform.database.reading() as transaction:
        told = await _everything(transaction, ids)
    asked: list[str] = []
    here = world.platform.database
    async with batch(here, ["nl-test", "nl-none"]) as database, database.reading() as transaction:  # type: ignore[arg-type]
        connection = transaction.connection._connection.sync_connection
        event.listen(connection, "before_cursor_execute", lambda *what: asked.append(what[2]))
        assert await _everything(transaction, ids) == told
        assert await transaction.lock_garage("nl-none") is None
    assert asked == []
    assert all(told[ids[0]][what] for what in ("session", "changes", "passages", "orders"))


async def _everything(transaction: Transaction, booking_ids: list[str]) -> dict[str, Any]:
    """What a stay's use cases ask of one garage and these bookings."""
    told: dict[str, Any] = {
        "garage": await transaction.lock_garage("nl-test"),
        "link": await transaction.lock_link("nl-test"),
        "terms": await transaction.terms("nl-test"),
        "sharing": await transaction.written_sharing("nl-test"),
    }
    for booking_id in booking_ids:
        told[booking_id] = {
            "booking": await transaction.lock_booking(booking_id),
            "session": await transaction.session(booking_id),
            "changes": list(await transaction.changes(booking_id)),
            "passages": list(await transaction.passages(booking_id)),
            "entries": list(await transaction.entries(booking_id)),
            "receipts": list(await transaction.receipts(booking_id)),
            "orders": list(await transaction.orders(booking_id)),
        }
    return told


async def fails_half_way(world: World) -> None:
    async with batch(world.platform.database) as database:  # type: ignore[arg-type]
        one = replace(world.platform, database=database)
        made = await booking.quote(one, "nl-test", *_hours(world))
        with suppress(ZeroDivisionError):
            async with database.writing() as transaction:
                await transaction.add_quote(replace(made, id="qt_other"))
                raise ZeroDivisionError


async def test_a_use_case_that_fails_half_way_fails_the_whole_batch(world: World) -> None:
    await world.garage()
    with pytest.raises(ParkingError, match="nothing of the batch is kept"):
        await fails_half_way(world)
    async with world.platform.database.reading() as transaction:
        assert (await transaction.connection.execute(text("SELECT count(*) FROM quotes"))).scalar() == 0  # type: ignore[attr-defined]


def _hours(world: World) -> tuple[str, str]:
    begin = world.clock.now.isoformat()
    return begin, begin.replace("T08", "T10")
