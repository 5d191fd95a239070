"""The same platform on both databases; after every test the books must balance."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from parkube.parking.adapters.database import SqlDatabase, open_database
from parkube.parking.adapters.database.schema import metadata
from tests.fakes import postgres
from tests.fakes.parking import FakeGarage, World


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    bin_dir = postgres.binaries()
    if bin_dir is None:
        pytest.skip("PostgreSQL's binaries are not installed (apt install postgresql)")
    with postgres.server(bin_dir) as address:
        yield address


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite") / "template.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> AsyncIterator[SqlDatabase]:
    if request.param == "sqlite":
        path = tmp_path / "platform.sqlite"
        if not sqlite_template.exists():
            first = open_database(f"sqlite:///{sqlite_template}")
            await first.upgrade()
            await first.close()
        shutil.copy(sqlite_template, path)
        opened = open_database(f"sqlite:///{path}")
    else:
        opened = open_database(request.getfixturevalue("postgres_address"), pool=20)
        await opened.upgrade()
        async with opened.writing() as transaction:
            tables = ", ".join(table.name for table in metadata.sorted_tables)
            await transaction.connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    yield opened
    await opened.close()


@pytest.fixture
async def world(database: SqlDatabase) -> AsyncIterator[World]:
    made = await World.open(database)
    yield made
    await made.assert_balanced()
    await made.http.aclose()


@pytest.fixture
async def garage(world: World) -> FakeGarage:
    """A connected garage of two bays, nl-test."""
    await world.garage()
    return await FakeGarage(world).connect()
