"""The services' Transaction on SQLAlchemy Core. Queries only; what they mean is decided above.

Locks are PostgreSQL's row locks. On SQLite a writing transaction holds the whole file from its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, bindparam, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database.records_counts import CountRecords
from parkube.parking.adapters.database.records_money import MoneyRecords
from parkube.parking.adapters.database.records_orders import OrderRecords
from parkube.parking.adapters.database.records_people import PeopleRecords
from parkube.parking.adapters.database.records_privacy import PrivacyRecords
from parkube.parking.adapters.database.records_stays import StayRecords
from parkube.parking.domain.bookings import Booking, Quote, State
from parkube.parking.domain.commands import Command
from parkube.parking.domain.garages import Garage, GateEvent, Link, Verification
from parkube.parking.domain.sessions import Session, SessionState

_HOLDS = (State.BOOKED.value, State.ENTERED.value)
_BATCH = 500

# Built once: what every search, quote, booking and stay asks costs more to put together than to answer.
_GARAGE = select(t.garages).where(t.garages.c.id == bindparam("key"))
_GARAGE_LOCKED = _GARAGE.with_for_update()
_QUOTE = select(t.quotes).where(t.quotes.c.id == bindparam("key"))
_ADD_QUOTE = insert(t.quotes)
_ADD_BOOKING = insert(t.bookings)
_BOOKING = select(t.bookings).where(t.bookings.c.id == bindparam("key"))
_BOOKING_LOCKED = _BOOKING.with_for_update()
_BOOKING_OF_KEY = select(t.bookings).where(t.bookings.c.idempotency_key == bindparam("key"))
_BOOKING_OF_QUOTE = select(t.bookings).where(t.bookings.c.quote_id == bindparam("key"))
_BOOKING_OF_JTI = select(t.bookings).where(t.bookings.c.jti == bindparam("key"))
_SESSION = select(t.sessions).where(t.sessions.c.booking_id == bindparam("key"))


class SqlTransaction(MoneyRecords, OrderRecords, PeopleRecords, PrivacyRecords, StayRecords, CountRecords):
    """One transaction on one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = self._connection = connection
        self._postgres = connection.dialect.name == "postgresql"

    async def hold_still(self) -> None:
        if self._postgres:  # SQLite's are like that.
            await self._connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))

    # settings
    async def setting(self, name: str) -> str | None:
        found = await self._connection.scalar(select(t.settings.c.value).where(t.settings.c.name == name))
        return None if found is None else str(found)

    async def put_setting(self, name: str, value: str) -> None:
        await self._put(t.settings, [{"name": name, "value": value}])

    # garages
    async def garage(self, garage_id: str) -> Garage | None:
        row = await self._one(_GARAGE, garage_id)
        return None if row is None else rows.garage_of(row)

    async def lock_garage(self, garage_id: str) -> Garage | None:
        row = await self._one(_GARAGE_LOCKED, garage_id)
        return None if row is None else rows.garage_of(row)

    async def garages(self) -> Sequence[Garage]:
        found = await self._connection.execute(select(t.garages).order_by(t.garages.c.id))
        return [rows.garage_of(row) for row in found.mappings()]

    async def put_garages(self, garages: Sequence[Garage]) -> None:
        await self._put(t.garages, [rows.garage_row(garage) for garage in garages])

    # quotes and bookings
    async def add_quote(self, quote: Quote) -> None:
        await self._connection.execute(_ADD_QUOTE, rows.quote_row(quote))

    async def quote(self, quote_id: str) -> Quote | None:
        row = await self._one(_QUOTE, quote_id)
        return None if row is None else rows.quote_of(row)

    async def add_booking(self, booking: Booking) -> None:
        await self._connection.execute(_ADD_BOOKING, rows.booking_row(booking))

    async def booking(self, booking_id: str) -> Booking | None:
        return await self._booking(_BOOKING, booking_id)

    async def lock_booking(self, booking_id: str) -> Booking | None:
        return await self._booking(_BOOKING_LOCKED, booking_id)

    async def save_booking(self, booking: Booking) -> None:
        changed = update(t.bookings).where(t.bookings.c.id == booking.id)
        await self._connection.execute(changed.values(booking_changes(booking)))

    async def booking_of_key(self, idempotency_key: str) -> Booking | None:
        return await self._booking(_BOOKING_OF_KEY, idempotency_key)

    async def booking_of_quote(self, quote_id: str) -> Booking | None:
        return await self._booking(_BOOKING_OF_QUOTE, quote_id)

    async def booking_of_jti(self, jti: str) -> Booking | None:
        return await self._booking(_BOOKING_OF_JTI, jti)

    async def holding(self) -> Sequence[Booking]:
        return await self._bookings(select(t.bookings).where(t.bookings.c.state.in_(_HOLDS)))

    async def overstaying(self, ended_by: datetime) -> Sequence[Booking]:
        return await self._ended(State.ENTERED, ended_by)

    async def unused_bookings(self, ended_by: datetime) -> Sequence[Booking]:
        return await self._ended(State.BOOKED, ended_by)

    # sessions
    async def session(self, booking_id: str) -> Session | None:
        row = await self._one(_SESSION, booking_id)
        return None if row is None else rows.session_of(row)

    async def save_session(self, session: Session) -> None:
        await self._put(t.sessions, [rows.session_row(session)])

    async def running_sessions(self, booked_until: datetime) -> Sequence[Session]:
        b = t.bookings.c
        wanted = (
            select(t.sessions)
            .join(t.bookings, b.id == t.sessions.c.booking_id)
            .where(t.sessions.c.state == SessionState.RUNNING.value, b.ends_at <= booked_until)
            .order_by(b.ends_at, b.id)
        )
        return [rows.session_of(row) for row in (await self._connection.execute(wanted)).mappings()]

    # links, events, commands, verification
    async def link(self, garage_id: str) -> Link | None:
        row = await self._one(select(t.garage_links).where(t.garage_links.c.garage_id == garage_id))
        return None if row is None else rows.link_of(row)

    async def lock_link(self, garage_id: str) -> Link | None:
        wanted = select(t.garage_links).where(t.garage_links.c.garage_id == garage_id).with_for_update()
        row = await self._one(wanted)
        return None if row is None else rows.link_of(row)

    async def links(self) -> Sequence[Link]:
        return [rows.link_of(row) for row in (await self._connection.execute(select(t.garage_links))).mappings()]

    async def save_link(self, link: Link) -> None:
        await self._put(t.garage_links, [rows.link_row(link)])

    async def add_events(self, events: Sequence[GateEvent]) -> None:
        await self._connection.execute(insert(t.gate_events), [rows.event_row(event) for event in events])

    async def events(self, garage_id: str) -> Sequence[GateEvent]:
        e = t.gate_events.c
        wanted = select(t.gate_events).where(e.garage_id == garage_id).order_by(e.journal, e.seq)
        return [rows.event_of(row) for row in (await self._connection.execute(wanted)).mappings()]

    async def add_command(self, command: Command) -> None:
        await self._connection.execute(insert(t.commands), rows.command_row(command))

    async def lock_command(self, command_id: str) -> Command | None:
        row = await self._one(select(t.commands).where(t.commands.c.id == command_id).with_for_update())
        return None if row is None else rows.command_of(row)

    async def save_command(self, command: Command) -> None:
        changed = update(t.commands).where(t.commands.c.id == command.id)
        await self._connection.execute(changed.values(state=command.state, reason=command.reason))

    async def add_verification(self, verification: Verification) -> None:
        await self._connection.execute(insert(t.verifications), rows.verification_row(verification))

    async def latest_verifications(self) -> Sequence[Verification]:
        latest = select(func.max(t.verifications.c.id)).group_by(t.verifications.c.garage_id)
        wanted = select(t.verifications).where(t.verifications.c.id.in_(latest))
        return [rows.verification_of(row) for row in (await self._connection.execute(wanted)).mappings()]

    async def _booking(self, wanted: Select[Any], key: str) -> Booking | None:
        row = await self._one(wanted, key)
        return None if row is None else rows.booking_of(row)

    async def _ended(self, state: State, ended_by: datetime) -> Sequence[Booking]:
        """In one order always: what is done with them is written in it."""
        b = t.bookings.c
        wanted = select(t.bookings).where(b.state == state.value, b.ends_at <= ended_by)
        return await self._bookings(wanted.order_by(b.ends_at, b.id))

    async def _bookings(self, wanted: Select[Any]) -> Sequence[Booking]:
        found = await self._connection.execute(wanted)
        return [rows.booking_of(row) for row in found.mappings()]

    async def _put(self, table: Table, values: Sequence[dict[str, Any]]) -> None:
        keys = [column.name for column in table.primary_key]
        for start in range(0, len(values), _BATCH):
            batch = values[start : start + _BATCH]
            if self._postgres:
                written: Any = postgresql_insert(table)
            else:
                written = sqlite_insert(table)
            rest = {name: written.excluded[name] for name in batch[0] if name not in keys}
            await self._connection.execute(written.on_conflict_do_update(index_elements=keys, set_=rest), batch)


def booking_changes(booking: Booking) -> dict[str, Any]:
    """What of a booking changes once it is written."""
    return {
        "state": booking.state.value,
        "charged_minor": booking.charged_minor,
        "paid_minor": booking.paid_minor,
        "credited_minor": booking.credited_minor,
    }
