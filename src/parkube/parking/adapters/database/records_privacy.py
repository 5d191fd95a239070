"""Personal data in the tables: a retention rule carried out, a person's bookings unnamed. Queries only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Boolean, ColumnElement, and_, delete, literal_column, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database.tables_stays import credentials
from parkube.parking.domain.retention import Rule

_HASHED = "#"
_BATCH = 1000


class PrivacyRecords:
    """services.ports_people.PeopleTransaction: what is over its time."""

    _connection: AsyncConnection

    async def unname_bookings(self, person_id: str) -> None:
        b = t.bookings.c
        whose = select(b.id).where(b.person_id == person_id)
        await self._connection.execute(delete(credentials).where(credentials.c.booking_id.in_(whose)))
        unnamed = update(t.bookings).where(b.person_id == person_id)
        await self._connection.execute(
            unnamed.values(person_id=None, plate_raw=None, plate_normal=None, plate_country=None)
        )

    async def obey_retention(self, rule: Rule, now: datetime, secret: str) -> int:
        table = t.metadata.tables[rule.table]
        over: list[ColumnElement[bool]] = [table.c[rule.since] < now - timedelta(days=rule.days or 0)]
        if rule.only:
            over.append(literal_column(f"({rule.only})", Boolean))
        if rule.then == "delete":
            return int((await self._connection.execute(delete(table).where(*over))).rowcount)
        there = [table.c[name].is_not(None) for name in rule.columns]
        if rule.then == "clear":
            cleared = update(table).where(and_(*over), or_(*there)).values(dict.fromkeys(rule.columns))
            return int((await self._connection.execute(cleared)).rowcount)
        return await self._hash_plates(rule, over, secret)

    async def _hash_plates(self, rule: Rule, over: Sequence[ColumnElement[bool]], secret: str) -> int:
        b, count = t.bookings.c, 0
        wanted = select(b.id, b.plate_normal).where(*over, b.plate_normal.is_not(None), b.plate_raw.is_not(None))
        while rows := (await self._connection.execute(wanted.limit(_BATCH))).all():
            for booking_id, plate in rows:
                digest = hmac.digest(secret.encode(), plate.encode(), hashlib.sha256).hex()
                hashed = update(t.bookings).where(b.id == booking_id)
                await self._connection.execute(
                    hashed.values(plate_raw=None, plate_normal=_HASHED + digest[:15], plate_country=None)
                )
            count += len(rows)
        return count
