"""Stays' part of the services' Transaction on SQLAlchemy Core: terms, changes, passages, credentials. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database import tables_stays as s
from parkube.parking.domain.bookings import OVERSTAY_AHEAD, Booking, State
from parkube.parking.domain.changes import Change
from parkube.parking.domain.credentials import Credential
from parkube.parking.domain.sessions import Passage
from parkube.parking.domain.sharing import Hold
from parkube.parking.domain.site import SiteOrder
from parkube.parking.domain.times import Window

_HOLDS = (State.BOOKED.value, State.ENTERED.value)
_SHARING = select(s.garage_terms.c.terms).where(s.garage_terms.c.garage_id == bindparam("key"))
_HOLDING = select(
    t.bookings.c.id, t.bookings.c.state, t.bookings.c.starts_at, t.bookings.c.ends_at, t.bookings.c.bay_kind
).where(
    t.bookings.c.garage_id == bindparam("garage"),
    t.bookings.c.state.in_(_HOLDS),
    t.bookings.c.starts_at < bindparam("end"),
    (t.bookings.c.ends_at > bindparam("start")) | (t.bookings.c.state == State.ENTERED.value),
)


class StayRecords:
    """services.ports_stays.StayTransaction, but for what is counted."""

    _connection: AsyncConnection
    _postgres: bool

    async def written_sharing(self, garage_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._connection.scalar(_SHARING, {"key": garage_id})
        return found

    async def all_sharing(self) -> Sequence[tuple[str, dict[str, Any]]]:
        found = await self._connection.execute(select(s.garage_terms.c.garage_id, s.garage_terms.c.terms))
        return [(garage_id, terms) for garage_id, terms in found]

    async def put_sharing(self, garage_id: str, terms: dict[str, Any]) -> None:
        written = self._insert(s.garage_terms).values(garage_id=garage_id, terms=terms)
        await self._connection.execute(
            written.on_conflict_do_update(index_elements=["garage_id"], set_={"terms": written.excluded.terms})
        )

    async def add_site_order(self, order: SiteOrder) -> bool:
        return await self._once(s.site_orders, rows.fields_of(order))

    async def site_orders(self, garage_id: str | None = None) -> Sequence[SiteOrder]:
        wanted = select(s.site_orders)
        if garage_id is not None:
            wanted = wanted.where(s.site_orders.c.garage_id == garage_id)
        return [SiteOrder(**row) for row in (await self._connection.execute(wanted)).mappings()]

    async def holds(self, garage_id: str, window: Window, now: datetime, but: str | None = None) -> Sequence[Hold]:
        asked = {"garage": garage_id, "start": window.start, "end": window.end}
        found = []
        for booking_id, state, start, end, kind in await self._connection.execute(_HOLDING, asked):
            if state == State.ENTERED.value:
                end = max(end, now + OVERSTAY_AHEAD)
            if end > window.start and booking_id != but:
                found.append(Hold(start.timestamp(), end.timestamp(), kind, state == State.ENTERED.value))
        return found

    async def starting(self, garage_id: str, after: datetime, before: datetime) -> Sequence[Booking]:
        b = t.bookings.c
        wanted = select(t.bookings).where(
            b.garage_id == garage_id, b.state == State.BOOKED.value, b.starts_at < before, b.ends_at > after
        )
        found = await self._connection.execute(wanted.order_by(b.created_at, b.id))
        return [rows.booking_of(row) for row in found.mappings()]

    async def rewrite_booking(self, booking: Booking) -> None:
        values = rows.booking_row(booking)
        fixed = ("id", "garage_id", "quote_id", "jti", "created_at", "idempotency_key")
        changed = update(t.bookings).where(t.bookings.c.id == booking.id)
        await self._connection.execute(changed.values({k: v for k, v in values.items() if k not in fixed}))

    async def booking_replacing(self, booking_id: str) -> Booking | None:
        found = await self._connection.execute(select(t.bookings).where(t.bookings.c.replaces == booking_id))
        row = found.mappings().one_or_none()
        return None if row is None else rows.booking_of(row)

    async def inside_elsewhere(self, booking: Booking) -> int:
        b = t.bookings.c
        same = [b.person_id == booking.person_id] if booking.person_id else []
        if booking.plate_normal:
            same.append(b.plate_normal == booking.plate_normal)
        if not same:
            return 0
        wanted = select(func.count()).where(b.state == State.ENTERED.value, b.id != booking.id, or_(*same))
        return int(await self._connection.scalar(wanted) or 0)

    async def allowed_at_once(self, driver: str) -> int:
        wanted = select(s.allowances.c.at_once).where(s.allowances.c.driver == driver)
        return int(await self._connection.scalar(wanted) or 1)

    async def allow_at_once(self, driver: str, at_once: int) -> None:
        written = self._insert(s.allowances).values(driver=driver, at_once=at_once)
        await self._connection.execute(
            written.on_conflict_do_update(index_elements=["driver"], set_={"at_once": written.excluded.at_once})
        )

    async def add_change(self, change: Change) -> bool:
        return await self._once(s.booking_changes, rows.fields_of(change))

    async def changes(self, booking_id: str) -> Sequence[Change]:
        wanted = select(s.booking_changes).where(s.booking_changes.c.booking_id == booking_id)
        found = await self._connection.execute(wanted.order_by(s.booking_changes.c.at, s.booking_changes.c.key))
        return [Change(**row) for row in found.mappings()]

    async def add_passage(self, passage: Passage) -> bool:
        return await self._once(s.passages, rows.fields_of(passage))

    async def passages(self, booking_id: str) -> Sequence[Passage]:
        p = s.passages.c
        wanted = select(s.passages).where(p.booking_id == booking_id).order_by(p.garage_id, p.journal, p.seq)
        found = await self._connection.execute(wanted)
        return [Passage(**row) for row in found.mappings()]

    async def put_credential(self, credential: Credential) -> None:
        written = self._insert(s.credentials).values(rows.fields_of(credential))
        rest = {name: written.excluded[name] for name in ("value", "until")}
        await self._connection.execute(written.on_conflict_do_update(index_elements=["booking_id", "kind"], set_=rest))

    async def credentials(self, garage_id: str, booking_id: str | None = None) -> Sequence[Credential]:
        wanted = select(s.credentials).where(s.credentials.c.garage_id == garage_id)
        if booking_id is not None:
            wanted = wanted.where(s.credentials.c.booking_id == booking_id)
        return [Credential(**row) for row in (await self._connection.execute(wanted)).mappings()]

    async def forget_credentials(self, ended_by: datetime, booking_id: str | None = None) -> int:
        wanted = delete(s.credentials).where(s.credentials.c.until <= ended_by)
        if booking_id is not None:
            wanted = wanted.where(s.credentials.c.booking_id == booking_id)
        return (await self._connection.execute(wanted)).rowcount

    def _insert(self, table: Table) -> Any:
        return postgresql_insert(table) if self._postgres else sqlite_insert(table)

    async def _once(self, table: Table, row: dict[str, Any]) -> bool:
        """Writes a row that is there once. Whether it was new."""
        done = await self._connection.execute(self._insert(table).on_conflict_do_nothing(), row)
        return done.rowcount > 0
