"""What the everyday work of many garages asks for, read ahead: a select a table instead of one a row. Queries only.

Whoever changes a garage's bookings holds its row, and its link's; so both are locked here, in the order of their names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping, Select, select

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database import tables_money as m
from parkube.parking.adapters.database import tables_stays as s
from parkube.parking.adapters.database.records_money import terms_of, with_moves
from parkube.parking.adapters.database.transaction import SqlTransaction
from parkube.parking.domain.bookings import HOLDS_A_BAY, Booking
from parkube.parking.domain.changes import Change
from parkube.parking.domain.garages import Garage, Link
from parkube.parking.domain.ledger import Entry, Terms
from parkube.parking.domain.payments import Order
from parkube.parking.domain.receipts import Receipt
from parkube.parking.domain.sessions import Passage, Session

_KEYS_AT_ONCE = 2000  # SQLite takes 32,766 in a statement, asyncpg 32,767


@dataclass(slots=True)
class Ahead:
    """All there is, by garage and by booking; what is not in it is not there."""

    garages: dict[str, Garage] = field(default_factory=dict)
    terms: dict[str, Terms] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    sharing: dict[str, dict[str, Any]] = field(default_factory=dict)
    holding: list[Booking] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    passages: dict[str, list[Passage]] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    receipts: dict[str, list[Receipt]] = field(default_factory=dict)
    orders: dict[str, list[Order]] = field(default_factory=dict)


class AheadRecords(SqlTransaction):
    """A transaction that can read ahead."""

    async def ahead(self, garage_ids: Sequence[str]) -> Ahead:
        """These garages, and the bookings that hold a bay in them with all that belongs to them."""
        found = Ahead()
        for ids in _some(sorted(set(garage_ids))):
            await self._garages_ahead(found, ids)
        for ids in _some([booking.id for booking in found.holding]):
            await self._stays_ahead(found, ids)
            await self._money_ahead(found, ids)
        return found

    async def _garages_ahead(self, found: Ahead, ids: Sequence[str]) -> None:
        g, k, b = t.garages.c, t.garage_links.c, t.bookings.c
        wanted = select(t.garages).where(g.id.in_(ids)).order_by(g.id)
        async for row in self._rows(wanted.with_for_update()):
            found.garages[row["id"]] = rows.garage_of(row)
        wanted = select(t.garage_links).where(k.garage_id.in_(ids)).order_by(k.garage_id)
        async for row in self._rows(wanted.with_for_update()):
            found.links[row["garage_id"]] = rows.link_of(row)
        async for row in self._rows(select(m.agreements).where(m.agreements.c.garage_id.in_(ids))):
            found.terms[row["garage_id"]] = terms_of(row)
        async for row in self._rows(select(s.garage_terms).where(s.garage_terms.c.garage_id.in_(ids))):
            found.sharing[row["garage_id"]] = row["terms"]
        states = [state.value for state in HOLDS_A_BAY]
        held = select(t.bookings).where(b.garage_id.in_(ids), b.state.in_(states)).order_by(b.id)
        found.holding.extend(await self._bookings(held))

    async def _stays_ahead(self, found: Ahead, ids: Sequence[str]) -> None:
        c, p = s.booking_changes.c, s.passages.c
        async for row in self._rows(select(t.sessions).where(t.sessions.c.booking_id.in_(ids))):
            found.sessions[row["booking_id"]] = rows.session_of(row)
        wanted = select(s.booking_changes).where(c.booking_id.in_(ids)).order_by(c.at, c.key)
        async for row in self._rows(wanted):
            found.changes.setdefault(row["booking_id"], []).append(Change(**row))
        wanted = select(s.passages).where(p.booking_id.in_(ids)).order_by(p.garage_id, p.journal, p.seq)
        async for row in self._rows(wanted):
            found.passages.setdefault(row["booking_id"], []).append(Passage(**row))

    async def _money_ahead(self, found: Ahead, ids: Sequence[str]) -> None:
        r, o = t.receipts.c, m.payment_orders.c
        for entry in await self._entries(with_moves().where(t.ledger_entries.c.booking_id.in_(ids))):
            found.entries.setdefault(str(entry.booking_id), []).append(entry)
        async for row in self._rows(select(t.receipts).where(r.booking_id.in_(ids)).order_by(r.number)):
            found.receipts.setdefault(row["booking_id"], []).append(rows.receipt_of(row))
        wanted = select(m.payment_orders).where(o.booking_id.in_(ids)).order_by(o.created_at, o.id)
        for order in await self._orders(wanted):
            found.orders.setdefault(order.booking_id, []).append(order)

    async def _rows(self, wanted: Select[Any]) -> AsyncIterator[RowMapping]:
        for row in (await self._connection.execute(wanted)).mappings():
            yield row


def _some(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _KEYS_AT_ONCE] for start in range(0, len(keys), _KEYS_AT_ONCE))
