"""Opens a database by its address and gives out transactions. SQLite where nothing else is said.

SQLite has one writer: writing transactions queue here, in this process, and begin immediately, so that none of them
finds out half-way that another was first. Each commit is on disk before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from alembic import command
from alembic.config import Config
from asyncpg import InterfaceError, PostgresError
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from parkube.parking.adapters.database import tables_money, tables_people, tables_stays  # noqa: F401 (the schema is whole)
from parkube.parking.adapters.database.transaction import SqlTransaction
from parkube.parking.domain.errors import Conflict, Invalid, Unavailable

_log = logging.getLogger(__name__)
DEFAULT_URL = "sqlite:///parkube.sqlite"
_IDLE_S = 2.0
_UPGRADE_LOCK = 0x7061726B7562
_JSON: dict[str, Any] = {
    "json_serializer": lambda value: orjson.dumps(value).decode(),
    "json_deserializer": orjson.loads,
}
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class SqlDatabase:
    """Transactions on SQLite or PostgreSQL."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, *, one_writer: bool) -> None:
        self._reader, self._writer = reader, writer
        self._turn: asyncio.Lock | None = asyncio.Lock() if one_writer else None

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlTransaction]:
        with _errors():
            async with self._reader.connect() as connection:
                yield SqlTransaction(connection)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[SqlTransaction]:
        if self._turn is None:
            with _errors():
                async with self._writer.begin() as connection:
                    yield SqlTransaction(connection)
            return
        async with self._turn:
            with _errors():
                async with self._writer.begin() as connection:
                    yield SqlTransaction(connection)

    async def upgrade(self) -> None:
        """Brings the schema to this version's."""
        with _errors():
            await self._foreign_keys("OFF")
            try:
                async with self._writer.begin() as connection:
                    await connection.run_sync(upgrade)
            finally:
                await self._foreign_keys("ON")

    async def _foreign_keys(self, to: str) -> None:
        # SQLite changes a table by making it anew, which would take what refers to it along. Not inside a transaction:
        # there the pragma is silently nothing. The writer has one connection, so this is the one that migrates.
        if self._turn is None:
            return
        async with self._writer.connect() as connection:
            raw = await connection.get_raw_connection()
            await raw.driver_connection.execute(f"PRAGMA foreign_keys={to}")  # type: ignore[union-attr]

    async def close(self) -> None:
        await self._reader.dispose()
        if self._writer is not self._reader:
            await self._writer.dispose()


def open_database(url: str = DEFAULT_URL, *, pool: int = 10) -> SqlDatabase:
    """The database at an address: `sqlite:///file` or `postgresql://user@host/name`. Raises Invalid."""
    address = _address(url)
    if address.get_backend_name() == "postgresql":
        engine = create_async_engine(address, pool_size=pool, max_overflow=0, pool_timeout=60, **_JSON)
        _ask_idle_connections(engine)
        return SqlDatabase(engine, engine, one_writer=False)
    if address.database and address.database != ":memory:":
        Path(address.database).absolute().parent.mkdir(parents=True, exist_ok=True)
    reader = create_async_engine(address, pool_size=4, max_overflow=0, pool_timeout=60, **_JSON)
    writer = create_async_engine(address, pool_size=1, max_overflow=0, pool_timeout=60, **_JSON)
    for engine, begin in ((reader, "BEGIN"), (writer, "BEGIN IMMEDIATE")):
        _prepare_sqlite(engine, begin)
    return SqlDatabase(reader, writer, one_writer=True)


def upgrade(connection: Connection) -> None:
    """Runs the migrations that are missing, on this connection."""
    if connection.dialect.name == "postgresql":
        # Two platforms that start at once: the second waits, and finds it done.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise Invalid("the database holds rows that refer to nothing: restore it from before this version")


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise Invalid(f"{url!r} is not the address of a database") from error
    driver = _DRIVERS.get(address.drivername.partition("+")[0])
    if driver is None:
        raise Invalid(f"{address.drivername} is not a database this version knows, SQLite and PostgreSQL are")
    return address.set(drivername=driver)


def _ask_idle_connections(engine: AsyncEngine) -> None:
    """A connection that lay idle is asked whether it lives before it is given out; one in use would have told.

    SQLAlchemy's own way asks each time, which costs three round trips a transaction.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def _given_back(_connection: Any, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _taken(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("idle_since", time.monotonic()) > _IDLE_S:
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        # The driver's own idea of transactions begins them too late; SQLAlchemy's "begin" does it here.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=15000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


class _errors:
    """The driver's errors as parking's: what nobody outside may have to know about SQLAlchemy."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise Conflict("the database refuses it, something else was there first", code="conflict") from error
        if isinstance(error, (SQLAlchemyError, OSError, PostgresError, InterfaceError)):
            _log.warning("database: %s", error)
            raise Unavailable("the database does not answer now", code="database_unavailable") from error
