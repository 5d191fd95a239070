"""The databases: migrations make the schema, some tables append only, faults are parking's, restarts lose nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from parkube.parking.adapters.database import SqlDatabase, open_database, schema
from parkube.parking.domain.errors import Invalid, ParkingError, Unavailable
from parkube.parking.domain.ledger import Entry, Move
from parkube.parking.services import receipting
from parkube.parking.services.audit import audit
from tests.fakes.parking import FakeGarage, World, ok


async def test_the_migrations_make_the_schema(database: SqlDatabase) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), schema.metadata))

    async with database.writing() as transaction:
        found = await transaction.connection.run_sync(differences)
    assert found == []
    await database.upgrade()


async def test_what_is_written_down_stays(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    await garage.scan(booking["grant"], "entry")
    await garage.scan(booking["grant"], "exit")
    ok(await world.call(booking, "POST", "/pay"))
    await receipting.name_buyer(world.platform, booking["id"], "Bakker BV", "Dam 1, Amsterdam", "NL", "NL001")
    for table in schema.APPEND_ONLY:
        for what in (f"DELETE FROM {table}", f"UPDATE {table} SET {schema.metadata.tables[table].c[0].name} = NULL"):
            with pytest.raises(ParkingError):
                async with world.platform.database.writing() as transaction:
                    await transaction.connection.execute(text(what))  # type: ignore[attr-defined]
    # The same entry twice is refused by the database, and with it all of its transaction.
    entry = (await world.entries())[0]

    async def twice() -> None:
        async with world.platform.database.writing() as transaction:
            await transaction.put_setting("half", "written")
            await transaction.post(Entry(entry.kind, entry.reference, entry.booking_id, entry.at, "EUR", entry.moves))

    with pytest.raises(ParkingError):
        await twice()
    async with world.platform.database.reading() as transaction:
        assert await transaction.setting("half") is None
    with pytest.raises(ParkingError):
        async with world.platform.database.writing() as transaction:
            await transaction.post(Entry("charge", "x", "no such booking", entry.at, "EUR", (Move("a", "b", 1),)))


async def test_a_platform_that_starts_again_knows_what_it_knew(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    again = await World.open(world.platform.database)  # type: ignore[arg-type]
    assert again.platform.signer.public_key == world.platform.signer.public_key
    assert ok(await again.call(booking, "GET"))["grant"] == booking["grant"]
    assert ok(await again.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 1
    await again.http.aclose()


async def test_a_database_that_is_away_or_is_none(tmp_path: Path) -> None:
    away = open_database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable):
        await away.upgrade()
    await away.close()
    nowhere = open_database(f"postgresql://postgres@/none?host={tmp_path}")
    with pytest.raises(Unavailable):
        await nowhere.upgrade()
    await nowhere.close()
    with pytest.raises(Invalid, match="is not the address of a database"):
        open_database("what?")
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"not a database" * 1000)
    refused = open_database(f"sqlite:///{broken}")
    with pytest.raises(Unavailable):
        await refused.upgrade()
    await refused.close()


async def test_a_database_that_refuses_is_unavailable(postgres_address: str) -> None:
    none = open_database(postgres_address.replace("/postgres?", "/not_there?"))
    with pytest.raises(Unavailable):
        await none.upgrade()
    await none.close()


async def test_books_that_do_not_say_the_same_as_the_bookings_are_named(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    for gate in ("entry", "exit"):
        assert ok(await world.call(booking, "POST", "/open", json={"gate": gate}))["state"] == "opened"
    assert (await audit(world.platform.database)).faults == ()
    async with world.platform.database.writing() as transaction:
        known = await transaction.booking(booking["id"])
        assert known is not None
        await transaction.save_booking(replace(known, charged_minor=known.charged_minor + 1))
    found = await audit(world.platform.database)
    assert found.faults == (f"{known.id}: the ledger says 600 is due, the booking 601",)
    silent = await world.book()
    async with world.platform.database.writing() as transaction:
        other = await transaction.booking(silent["id"])
        assert other is not None
        await transaction.save_booking(known)
        await transaction.save_booking(replace(other, charged_minor=5, credited_minor=5))
    found = await audit(world.platform.database)
    assert found.faults == (f"{other.id}: 5 was charged, the ledger does not know of it",)
    async with world.platform.database.writing() as transaction:
        await transaction.save_booking(other)
    async with world.platform.database.writing() as transaction:
        await transaction.save_booking(known)
