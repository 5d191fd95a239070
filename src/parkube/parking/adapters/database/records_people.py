"""People, rights, logins and the trail: the part of the services' Transaction. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database import tables_people as p
from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.people import Person
from parkube.parking.domain.rights import Membership, Role
from parkube.parking.services.ports_people import AccessToken, Kept, LoginCode
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

    # people
    async def add_person(self, person: Person) -> None:
        await self._connection.execute(insert(p.people), rows.fields_of(person))

    async def save_person(self, person: Person) -> None:
        changed = update(p.people).where(p.people.c.id == person.id)
        await self._connection.execute(changed.values(rows.fields_of(person)))

    async def person(self, person_id: str) -> Person | None:
        return await self._person(select(p.people).where(p.people.c.id == person_id))

    async def person_of_email(self, email: str) -> Person | None:
        return await self._person(select(p.people).where(p.people.c.email == email))

    async def person_of_subject(self, issuer: str, subject: str) -> Person | None:
        c = p.people.c
        return await self._person(select(p.people).where(c.issuer == issuer, c.subject == subject))

    async def add_membership(self, membership: Membership, at: datetime) -> None:
        await self._connection.execute(insert(p.memberships), rows.fields_of(membership) | {"created_at": at})

    async def remove_membership(self, membership_id: str) -> None:
        await self._connection.execute(delete(p.memberships).where(p.memberships.c.id == membership_id))

    async def memberships(self, person_id: str) -> Sequence[Membership]:
        return await self._memberships(select(p.memberships).where(p.memberships.c.person_id == person_id))

    async def memberships_in(self, organisation_id: str, garage_ids: Sequence[str]) -> Sequence[Membership]:
        c = p.memberships.c
        here = or_(c.organisation_id == organisation_id, c.garage_id.in_(garage_ids))
        return await self._memberships(select(p.memberships).where(here))

    # logins
    async def add_token(self, token: AccessToken) -> None:
        await self._connection.execute(insert(p.access_tokens), rows.fields_of(token))

    async def token(self, token_hash: str) -> AccessToken | None:
        row = await self._first(select(p.access_tokens).where(p.access_tokens.c.hash == token_hash))
        return None if row is None else AccessToken(**row)

    async def remove_token(self, token_hash: str) -> None:
        await self._connection.execute(delete(p.access_tokens).where(p.access_tokens.c.hash == token_hash))

    async def remove_tokens(self, person_id: str) -> None:
        await self._connection.execute(delete(p.access_tokens).where(p.access_tokens.c.person_id == person_id))

    async def lock_login_code(self, email: str) -> LoginCode | None:
        row = await self._first(select(p.login_codes).where(p.login_codes.c.email == email).with_for_update())
        return None if row is None else LoginCode(**row)

    async def put_login_code(self, code: LoginCode) -> None:
        await self._put(p.login_codes, [rows.fields_of(code)])

    async def remove_login_code(self, email: str) -> None:
        await self._connection.execute(delete(p.login_codes).where(p.login_codes.c.email == email))

    # bookings, as people look at them
    async def bookings_of(self, person_id: str, after_id: str, limit: int) -> Sequence[Booking]:
        return await self._page(t.bookings.c.person_id == person_id, after_id, limit)

    async def bookings_in(self, garage_id: str, after_id: str, limit: int) -> Sequence[Booking]:
        return await self._page(t.bookings.c.garage_id == garage_id, after_id, limit)

    async def adopt_booking(self, booking_id: str, person_id: str) -> None:
        b = t.bookings.c
        mine = update(t.bookings).where(b.id == booking_id, b.person_id.is_(None))
        await self._connection.execute(mine.values(person_id=person_id))

    # answers kept for their keys
    async def kept_answer(self, scope: str, key: str) -> Kept | None:
        c = p.idempotency.c
        row = await self._first(select(p.idempotency).where(c.scope == scope, c.key == key))
        return None if row is None else Kept(**row)

    async def keep_answer(self, kept: Kept) -> None:
        if kept.status is None:
            await self._connection.execute(insert(p.idempotency), rows.fields_of(kept))
        else:
            await self._put(p.idempotency, [rows.fields_of(kept)])

    async def forget_answer(self, scope: str, key: str) -> None:
        c = p.idempotency.c
        await self._connection.execute(delete(p.idempotency).where(c.scope == scope, c.key == key))

    async def _page(self, whose: Any, after_id: str, limit: int) -> Sequence[Booking]:
        b = t.bookings.c
        wanted = select(t.bookings).where(whose, b.id > after_id).order_by(b.id).limit(limit)
        return [rows.booking_of(row) for row in (await self._connection.execute(wanted)).mappings()]

    async def _person(self, wanted: Select[Any]) -> Person | None:
        row = await self._first(wanted)
        return None if row is None else Person(**row)

    async def _memberships(self, wanted: Select[Any]) -> Sequence[Membership]:
        found = (await self._connection.execute(wanted.order_by(p.memberships.c.id))).mappings()
        return [
            Membership(Role(row["role"]), row["organisation_id"], row["garage_id"], row["id"], row["person_id"])
            for row in found
        ]

    async def _first(self, wanted: Select[Any]) -> Any:
        return (await self._connection.execute(wanted)).mappings().one_or_none()

    async def _put(self, table: Table, values: Sequence[dict[str, Any]]) -> None:
        raise NotImplementedError
