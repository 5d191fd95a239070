"""What was counted and what is forecast: the part of the services' Transaction. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import tables_stays as s
from parkube.parking.domain.counting import RECOUNT, Count

_RECOUNTS_READ = 20


class CountRecords:
    """services.ports_stays.CountTransaction."""

    _connection: AsyncConnection
    _postgres: bool

    async def add_count(self, count: Count) -> bool:
        written: Any = postgresql_insert(s.counts) if self._postgres else sqlite_insert(s.counts)
        done = await self._connection.execute(written.values(rows.fields_of(count)).on_conflict_do_nothing())
        return int(done.rowcount) > 0

    async def counts(self, garage_id: str) -> Sequence[Count]:
        c = s.counts.c
        recounts = select(c.at).where(c.garage_id == garage_id, c.kind == RECOUNT)
        latest = recounts.order_by(c.at.desc()).limit(_RECOUNTS_READ).subquery()
        since: datetime | None = await self._connection.scalar(select(func.min(latest.c.at)))
        if since is None:
            return []
        wanted = select(s.counts).where(c.garage_id == garage_id, c.at >= since)
        return [Count(**row) for row in (await self._connection.execute(wanted)).mappings()]

    async def counted_garages(self) -> Sequence[str]:
        wanted = select(s.counts.c.garage_id).where(s.counts.c.kind == RECOUNT).distinct()
        return list(await self._connection.scalars(wanted))

    async def add_sample(self, garage_id: str, at: datetime, occupied: int) -> None:
        written: Any = postgresql_insert(s.occupancy_samples) if self._postgres else sqlite_insert(s.occupancy_samples)
        row = {"garage_id": garage_id, "at": at, "occupied": occupied}
        await self._connection.execute(written.values(row).on_conflict_do_nothing())

    async def samples(self, garage_id: str, since: datetime) -> Sequence[tuple[datetime, int]]:
        o = s.occupancy_samples.c
        wanted = select(o.at, o.occupied).where(o.garage_id == garage_id, o.at >= since).order_by(o.at)
        return [(at, occupied) for at, occupied in await self._connection.execute(wanted)]

    async def put_forecast(self, garage_id: str, made_at: datetime, model: dict[str, Any]) -> None:
        written: Any = postgresql_insert(s.forecasts) if self._postgres else sqlite_insert(s.forecasts)
        row = {"garage_id": garage_id, "made_at": made_at, "model": model}
        rest = {name: written.excluded[name] for name in ("made_at", "model")}
        await self._connection.execute(
            written.values(row).on_conflict_do_update(index_elements=["garage_id"], set_=rest)
        )

    async def forecast(self, garage_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._connection.scalar(
            select(s.forecasts.c.model).where(s.forecasts.c.garage_id == garage_id)
        )
        return found
