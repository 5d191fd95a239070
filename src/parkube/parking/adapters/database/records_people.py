"""People, rights, logins and the trail: the part of the services' Transaction. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import tables_people as p
from parkube.parking.services.trail import Noted


class PeopleRecords:
    """services.ports_people.PeopleTransaction."""

    _connection: AsyncConnection

    async def add_to_trail(self, noted: Noted) -> None:
        row: dict[str, Any] = rows.fields_of(noted)
        del row["id"]
        await self._connection.execute(insert(p.trail), row)

    async def trail_before(
        self, before_id: int | None, limit: int, garage_ids: Sequence[str] | None, subject: str | None
    ) -> Sequence[Noted]:
        c = p.trail.c
        wanted = select(p.trail).order_by(c.id.desc()).limit(limit)
        if before_id is not None:
            wanted = wanted.where(c.id < before_id)
        if garage_ids is not None:
            wanted = wanted.where(c.garage_id.in_(garage_ids))
        if subject is not None:
            wanted = wanted.where(c.subject == subject)
        return [Noted(**row) for row in (await self._connection.execute(wanted)).mappings()]
