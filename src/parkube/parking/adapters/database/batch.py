"""Many use cases in one transaction: what was read is remembered, what is written goes to the database in bulk.

For work that comes by the thousand and is committed together: a register's history, a garage's journal of days. The use
cases are the same; each sees what those before it did. A plain insert waits in a buffer; whatever else is asked of its
table finds it written, for the buffers are emptied first; what changes a remembered table otherwise makes the memory
forget. All of it is kept at the end, or nothing: a use case that fails after it has written something fails the whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, cast

from sqlalchemy import Delete, Insert, Select, Table, Update, bindparam, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import CompoundSelect
from sqlalchemy.sql.util import find_tables

from parkube.parking.adapters.database import records_money, records_orders, rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database import tables_money as m
from parkube.parking.adapters.database import tables_stays as s
from parkube.parking.adapters.database.engine import SqlDatabase
from parkube.parking.adapters.database.records_ahead import AheadRecords
from parkube.parking.adapters.database.schema import metadata
from parkube.parking.adapters.database.transaction import SqlTransaction, booking_changes
from parkube.parking.domain.bookings import HOLDS_A_BAY, Booking, Quote, State
from parkube.parking.domain.changes import Change
from parkube.parking.domain.counting import Count
from parkube.parking.domain.errors import ParkingError
from parkube.parking.domain.garages import Garage, Link
from parkube.parking.domain.ledger import Entry, Terms
from parkube.parking.domain.payments import Order
from parkube.parking.domain.receipts import Receipt
from parkube.parking.domain.sessions import Passage, Session
from parkube.parking.domain.sharing import Hold
from parkube.parking.domain.times import Window

_T = TypeVar("_T")
_IDS_AT_ONCE = 2000
_KEY = "key_of_row"
_REMEMBERED = {
    t.garages, t.garage_links, t.quotes, t.bookings, t.sessions, t.ledger_entries, t.ledger_moves, t.receipts,
    m.agreements, m.payment_orders, s.garage_terms, s.booking_changes, s.passages,
}  # fmt: skip
_ONCE = {s.booking_changes, s.passages, s.counts}
_REFERRED_TO = {key.column.table for table in metadata.tables.values() for key in table.foreign_keys}


class BatchDatabase:
    """services.ports.Database inside one transaction. Not for several tasks at once."""

    def __init__(self, transaction: BatchTransaction) -> None:
        self._transaction = transaction
        self.broken = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[SqlTransaction]:
        yield self._transaction

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[SqlTransaction]:
        before = self._transaction.written
        try:
            yield self._transaction
        except BaseException:
            self.broken = self.broken or self._transaction.written != before
            raise


@asynccontextmanager
async def batch(database: SqlDatabase, garage_ids: Sequence[str] = ()) -> AsyncIterator[BatchDatabase]:
    """A database for the use cases of one batch; everything is committed at the end. garage_ids: where most of it will
    happen; these are locked and read ahead. Raises ParkingError where a use case failed half-way, and what the
    database raises."""
    async with database.writing() as outer:
        transaction = BatchTransaction(outer.connection)
        await transaction.read_ahead(garage_ids)
        made = BatchDatabase(transaction)
        yield made
        if made.broken:
            raise ParkingError("a use case failed half-way: nothing of the batch is kept", code="batch_failed")
        await transaction.flush()


class _Through:
    """A connection that keeps plain inserts back, and lets nothing pass that could miss them."""

    def __init__(self, connection: AsyncConnection, batched: BatchTransaction) -> None:
        self._connection, self._batched = connection, batched
        self.dialect = connection.dialect

    async def execute(self, statement: Any, values: Any = None) -> Any:
        if isinstance(statement, Insert) and values and _is_plain(statement):
            self._batched.add(cast(Table, statement.table), [values] if isinstance(values, dict) else values)
            return None
        await self._batched.before(statement)
        return await self._connection.execute(statement, values)

    async def scalar(self, statement: Any, values: Any = None) -> Any:
        await self._batched.before(statement)
        return await self._connection.scalar(statement, values)

    async def scalars(self, statement: Any) -> Any:
        await self._batched.before(statement)
        return await self._connection.scalars(statement)


class BatchTransaction(AheadRecords):
    """A transaction whose everyday methods work in memory. Those that it does not know go to the database."""

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(cast(AsyncConnection, _Through(connection, self)))
        self._direct = connection
        self._passing = False
        self.written = 0
        self._ids: list[int] = []
        self._order = [table for table in metadata.sorted_tables if table is not t.ledger_moves]
        # SQLite seals an entry when it is written, so its moves go first; PostgreSQL looks at the end.
        self._order.insert(self._order.index(t.ledger_entries) + self._postgres, t.ledger_moves)
        self._added: dict[Table, list[dict[str, Any]]] = {}
        self._changed: dict[Table, dict[str, dict[str, Any]]] = {}
        self._pending: dict[tuple[str, str], dict[str, Any]] = {}
        self._forget()

    def _forget(self) -> None:
        self._garages: dict[str, Garage | None] = {}
        self._terms: dict[str, Terms | None] = {}
        self._links: dict[str, Link | None] = {}
        self._quotes: dict[str, Quote] = {}
        self._known: dict[str, Booking] = {}
        self._sharing: dict[str, dict[str, Any] | None] = {}
        self._changes_of: dict[str, list[Change]] = {}
        self._passages_of: dict[str, list[Passage]] = {}
        self._sessions: dict[str, Session | None] = {}
        self._entries_of: dict[str, list[Entry]] = {}
        self._receipts_of: dict[str, list[Receipt]] = {}
        self._orders_of: dict[str, list[Order]] = {}
        self._holding: dict[str, set[str]] = {}
        self._by_quote: dict[str, str] = {}
        self._by_jti: dict[str, str] = {}
        self._last_receipt: int | None = None

    async def read_ahead(self, garage_ids: Sequence[str]) -> None:
        """Remembers these garages and the stays in them, at a batch's beginning."""
        found = await self._aside(self.ahead(garage_ids))
        for garage_id in garage_ids:
            self._garages[garage_id] = found.garages.get(garage_id)
            self._terms[garage_id] = found.terms.get(garage_id)
            self._links[garage_id] = found.links.get(garage_id)
            self._sharing[garage_id] = found.sharing.get(garage_id)
            self._holding[garage_id] = set()
        for booking in found.holding:
            self._know(booking)
            self._sessions[booking.id] = found.sessions.get(booking.id)
            self._changes_of[booking.id] = found.changes.get(booking.id, [])
            self._passages_of[booking.id] = found.passages.get(booking.id, [])
            self._entries_of[booking.id] = found.entries.get(booking.id, [])
            self._receipts_of[booking.id] = found.receipts.get(booking.id, [])
            self._orders_of[booking.id] = found.orders.get(booking.id, [])

    async def before(self, statement: Any) -> None:
        """Before a statement goes to the database."""
        if self._passing:
            return
        touched = {cast(Table, each) for each in find_tables(statement, include_joins=True, include_aliases=True)}
        reads = isinstance(statement, Select | CompoundSelect)
        # What is buffered can neither need nor hinder a row's end to which nothing refers.
        alone = reads or (isinstance(statement, Delete) and not touched & _REFERRED_TO)
        if not alone or touched & (self._added.keys() | self._changed.keys()):
            await self.flush()
        if not reads:
            self.written += 1
            if not touched or touched & _REMEMBERED:
                self._forget()

    async def flush(self) -> None:
        """Writes what is buffered."""
        self._passing = True
        try:
            for table in self._order:
                added = self._added.pop(table, None)
                if added:
                    fresh = self._insert(table).on_conflict_do_nothing() if table in _ONCE else insert(table)
                    await self._direct.execute(fresh, added)
                for alike in _alike(self._changed.pop(table, {}).values()):
                    await self._direct.execute(_update(table, alike[0]), alike)
        finally:
            self._passing = False
        self._pending.clear()

    def add(self, table: Table, added: Sequence[dict[str, Any]]) -> None:
        """Rows to be inserted."""
        self.written += 1
        self._added.setdefault(table, []).extend(added)

    def _add(self, table: Table, key: str, row: dict[str, Any]) -> None:
        self._pending[table.name, key] = row
        self.add(table, [row])

    def _change(self, table: Table, key: str, row: dict[str, Any]) -> None:
        """A row whose key is its table's first column gets these values."""
        self.written += 1
        if (table.name, key) in self._pending:
            self._pending[table.name, key].update(row)
        else:
            self._changed.setdefault(table, {}).setdefault(key, {_KEY: key}).update(row)

    # garages
    async def garage(self, garage_id: str) -> Garage | None:
        if garage_id not in self._garages:
            self._garages[garage_id] = await self._aside(super().garage(garage_id))
        return self._garages[garage_id]

    async def lock_garage(self, garage_id: str) -> Garage | None:
        if garage_id not in self._holding:
            self._garages[garage_id] = await self._aside(super().lock_garage(garage_id))
            b = t.bookings.c
            wanted = select(t.bookings).where(
                b.garage_id == garage_id, b.state.in_([state.value for state in HOLDS_A_BAY])
            )
            for found in await self._aside(self._bookings(wanted)):
                self._know(self._known.get(found.id, found))
            known = [each for each in self._known.values() if each.garage_id == garage_id]
            self._holding[garage_id] = {each.id for each in known if each.state in HOLDS_A_BAY}
        return self._garages[garage_id]

    async def terms(self, garage_id: str) -> Terms | None:
        if garage_id not in self._terms:
            self._terms[garage_id] = await self._aside(super().terms(garage_id))
        return self._terms[garage_id]

    async def lock_link(self, garage_id: str) -> Link | None:
        if garage_id not in self._links:
            self._links[garage_id] = await self._aside(super().lock_link(garage_id))
        return self._links[garage_id]

    async def save_link(self, link: Link) -> None:
        before = await self.lock_link(link.garage_id)
        self._links[link.garage_id] = link
        if before is None:
            self.written += 1
            await self._aside(super().save_link(link))  # memory has it: nothing is to be forgotten
        else:
            self._change(t.garage_links, link.garage_id, rows.link_row(link))

    # quotes and bookings
    async def add_quote(self, quote: Quote) -> None:
        self._quotes[quote.id] = quote
        await super().add_quote(quote)

    async def quote(self, quote_id: str) -> Quote | None:
        return self._quotes.get(quote_id) or await super().quote(quote_id)

    async def add_booking(self, booking: Booking) -> None:
        self._know(booking)
        self._sessions[booking.id] = None
        self._changes_of[booking.id], self._passages_of[booking.id] = [], []
        self._entries_of[booking.id], self._receipts_of[booking.id], self._orders_of[booking.id] = [], [], []
        self._add(t.bookings, booking.id, rows.booking_row(booking))

    async def booking(self, booking_id: str) -> Booking | None:
        known = self._known.get(booking_id)
        if known is None:
            found = await self._aside(super().booking(booking_id))
            known = None if found is None else self._know(found)
        return known

    async def lock_booking(self, booking_id: str) -> Booking | None:
        return self._known.get(booking_id) or await self._locked(booking_id)

    async def save_booking(self, booking: Booking) -> None:
        self._know(booking)
        self._change(t.bookings, booking.id, booking_changes(booking))

    async def booking_of_quote(self, quote_id: str) -> Booking | None:
        if quote_id in self._by_quote:
            return self._known[self._by_quote[quote_id]]
        return None if quote_id in self._quotes else await super().booking_of_quote(quote_id)

    async def booking_of_jti(self, jti: str) -> Booking | None:
        known = self._by_jti.get(jti)
        return self._known[known] if known else await super().booking_of_jti(jti)

    async def holds(self, garage_id: str, window: Window, now: datetime, but: str | None = None) -> Sequence[Hold]:
        if garage_id not in self._holding:
            await self.lock_garage(garage_id)
        found = []
        for booking in (self._known[each] for each in self._holding[garage_id] if each != but):
            held = booking.taken(now)
            if held is not None and held.overlaps(window):
                inside = booking.state is State.ENTERED
                found.append(Hold(held.start.timestamp(), held.end.timestamp(), booking.bay_kind, inside))
        return found

    async def rewrite_booking(self, booking: Booking) -> None:
        self._know(booking)
        self._change(t.bookings, booking.id, rows.booking_row(booking))

    # what happened to a booking
    async def written_sharing(self, garage_id: str) -> dict[str, Any] | None:
        if garage_id not in self._sharing:
            self._sharing[garage_id] = await self._aside(super().written_sharing(garage_id))
        return self._sharing[garage_id]

    async def add_change(self, change: Change) -> bool:
        known = await self.changes(change.booking_id)
        if any(each.key == change.key for each in known):
            return False
        self._changes_of[change.booking_id] = sorted([*known, change], key=lambda each: (each.at, each.key))
        self.add(s.booking_changes, [rows.fields_of(change)])
        return True

    async def changes(self, booking_id: str) -> Sequence[Change]:
        if booking_id not in self._changes_of:
            self._changes_of[booking_id] = list(await self._aside(super().changes(booking_id)))
        return self._changes_of[booking_id]

    async def add_passage(self, passage: Passage) -> bool:
        known = await self.passages(passage.booking_id)
        if passage in known:
            return False
        self._passages_of[passage.booking_id] = [*known, passage]
        self.add(s.passages, [rows.fields_of(passage)])
        return True

    async def passages(self, booking_id: str) -> Sequence[Passage]:
        if booking_id not in self._passages_of:
            self._passages_of[booking_id] = list(await self._aside(super().passages(booking_id)))
        return self._passages_of[booking_id]

    async def add_count(self, count: Count) -> bool:
        """True also where it is there already: the database finds out when it is written, and keeps the one."""
        self.add(s.counts, [rows.fields_of(count)])
        return True

    # sessions and money
    async def session(self, booking_id: str) -> Session | None:
        if booking_id not in self._sessions:
            self._sessions[booking_id] = await self._aside(super().session(booking_id))
        return self._sessions[booking_id]

    async def save_session(self, session: Session) -> None:
        before = await self.session(session.booking_id)
        self._sessions[session.booking_id] = session
        put = self._add if before is None else self._change
        put(t.sessions, session.booking_id, rows.session_row(session))

    async def post(self, entry: Entry) -> int | None:
        if not entry.moves:
            return None
        written = replace(entry, id=await self._next_id())
        if entry.booking_id is not None:
            (await self._entries_known(entry.booking_id)).append(written)
        self.add(t.ledger_entries, [records_money.entry_row(written)])
        self.add(t.ledger_moves, records_money.move_rows(entry, written.id or 0))
        return written.id

    async def entries(self, booking_id: str | None = None) -> Sequence[Entry]:
        if booking_id is None:
            return await super().entries()
        return tuple(await self._entries_known(booking_id))

    async def add_receipt(self, receipt: Receipt) -> Receipt:
        if self._last_receipt is None:
            self._last_receipt = await self._aside(self._last_receipt_number())
        self._last_receipt += 1
        made = replace(receipt, number=self._last_receipt)
        known = list(await self.receipts(receipt.booking_id))
        self._receipts_of[receipt.booking_id] = [*known, made]
        self.add(t.receipts, [rows.receipt_row(made)])
        return made

    async def receipts(self, booking_id: str | None = None) -> Sequence[Receipt]:
        if booking_id is None:
            return await super().receipts()
        if booking_id not in self._receipts_of:
            self._receipts_of[booking_id] = list(await self._aside(super().receipts(booking_id)))
        return self._receipts_of[booking_id]

    async def add_order(self, order: Order) -> None:
        known = list(await self.orders(order.booking_id))
        self._orders_of[order.booking_id] = [*known, order]
        self._add(m.payment_orders, order.id, records_orders.order_row(order))

    async def orders(self, booking_id: str) -> Sequence[Order]:
        if booking_id not in self._orders_of:
            self._orders_of[booking_id] = list(await self._aside(super().orders(booking_id)))
        return self._orders_of[booking_id]

    async def lock_order(self, order_id: str) -> Order | None:
        row = self._pending.get((m.payment_orders.name, order_id))
        if row is not None:
            return next(each for each in self._orders_of[row["booking_id"]] if each.id == order_id)
        return await super().lock_order(order_id)

    async def save_order(self, order: Order) -> None:
        known = await self.orders(order.booking_id)
        self._orders_of[order.booking_id] = [order if each.id == order.id else each for each in known]
        self._change(m.payment_orders, order.id, records_orders.order_row(order))

    async def _aside(self, asked: Awaitable[_T]) -> _T:
        """An answer about rows that memory does not know: none of them can be buffered."""
        before, self._passing = self._passing, True
        try:
            return await asked
        finally:
            self._passing = before

    def _know(self, booking: Booking) -> Booking:
        known = self._known[booking.id] = booking
        self._by_quote[booking.quote_id] = self._by_jti[booking.jti] = booking.id
        held = self._holding.get(booking.garage_id)
        if held is not None:
            (held.add if booking.state in HOLDS_A_BAY else held.discard)(booking.id)
        return known

    async def _locked(self, booking_id: str) -> Booking | None:
        found = await self._aside(super().lock_booking(booking_id))
        return None if found is None else self._know(found)

    async def _entries_known(self, booking_id: str) -> list[Entry]:
        if booking_id not in self._entries_of:
            self._entries_of[booking_id] = list(await self._aside(super().entries(booking_id)))
        return self._entries_of[booking_id]

    async def _next_id(self) -> int:
        if not self._ids:
            if self._postgres:
                sequence = func.pg_get_serial_sequence("ledger_entries", "id")
                wanted = select(func.nextval(sequence)).select_from(func.generate_series(1, _IDS_AT_ONCE).alias())
                self._ids = sorted((await self._direct.scalars(wanted)).all(), reverse=True)
            else:
                last = int(
                    await self._connection.scalar(select(func.coalesce(func.max(t.ledger_entries.c.id), 0))) or 0
                )
                self._ids = list(range(last + _IDS_AT_ONCE, last, -1))
        return self._ids.pop()


def _is_plain(statement: Insert) -> bool:
    return not statement._values and not statement._returning and statement._post_values_clause is None


def _alike(changed: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Changed rows by which of their columns change."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in changed:
        found.setdefault(tuple(sorted(row)), []).append(row)
    return list(found.values())


def _update(table: Table, row: dict[str, Any]) -> Update:
    key = next(iter(table.primary_key.columns))
    changes: dict[str, Any] = {name: bindparam(name) for name in row if name != _KEY}
    return update(table).where(key == bindparam(_KEY)).values(changes)
