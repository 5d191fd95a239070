"""The money half of the services' Transaction on SQLAlchemy Core: ledger, receipts, owners, payouts. Queries only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, Select, Table, func, insert, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database import tables_money as m
from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.ledger import Entry, Move, Terms
from parkube.parking.domain.payouts import Payout, StatementLine, Sums
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.receipts import Buyer, Receipt

_RECEIPTS_LOCK = 0x7061726B  # any number, the same everywhere: whoever numbers receipts waits for it
_ENTRY_FIELDS = ("id", "kind", "reference", "booking_id", "at", "currency", "text", "corrects")


class MoneyRecords:
    """services.ports_money.MoneyTransaction, but for orders and refunds."""

    _connection: AsyncConnection
    _postgres: bool

    async def post(self, entry: Entry) -> int | None:
        if not entry.moves:
            return None
        row = entry_row(entry)
        e = t.ledger_entries
        if self._postgres:
            entry_id = int(await self._connection.scalar(insert(e).values(row).returning(e.c.id)) or 0)
            await self._connection.execute(insert(t.ledger_moves), move_rows(entry, entry_id))
            return entry_id
        # SQLite seals an entry when it is written, so its moves go first; there is one writer, so the number is ours.
        entry_id = int(await self._connection.scalar(select(func.coalesce(func.max(e.c.id), 0))) or 0) + 1
        await self._connection.execute(insert(t.ledger_moves), move_rows(entry, entry_id))
        await self._connection.execute(insert(e), row | {"id": entry_id})
        return entry_id

    async def entries(self, booking_id: str | None = None) -> Sequence[Entry]:
        wanted = with_moves()
        if booking_id is not None:
            wanted = wanted.where(t.ledger_entries.c.booking_id == booking_id)
        return await self._entries(wanted)

    async def entry(self, entry_id: int) -> Entry | None:
        found = await self._entries(with_moves().where(t.ledger_entries.c.id == entry_id))
        return found[0] if found else None

    async def entry_of(self, kind: str, reference: str) -> Entry | None:
        e = t.ledger_entries.c
        found = await self._entries(with_moves().where(e.kind == kind, e.reference == reference))
        return found[0] if found else None

    async def entries_after(self, after_id: int, limit: int, garage_ids: Sequence[str] | None) -> Sequence[Entry]:
        e, v = t.ledger_entries.c, t.ledger_moves.c
        ids = select(e.id).where(e.id > after_id).order_by(e.id).limit(limit)
        if garage_ids is not None:
            accounts = [f"garage:{garage_id}" for garage_id in garage_ids]
            touched = select(v.entry_id).where(v.debit.in_(accounts) | v.credit.in_(accounts))
            ids = ids.where(e.id.in_(touched))
        return await self._entries(with_moves().where(e.id.in_(ids)))

    async def entries_of_kinds(self, kinds: Sequence[str], since: datetime, until: datetime) -> Sequence[Entry]:
        e = t.ledger_entries.c
        return await self._entries(with_moves().where(e.kind.in_(kinds), e.at >= since, e.at < until))

    async def garage_sums(self, garage_ids: Sequence[str]) -> Mapping[str, Sums]:
        v, e = t.ledger_moves.c, t.ledger_entries.c
        accounts = [f"garage:{garage_id}" for garage_id in garage_ids]
        sides = union_all(
            select(v.entry_id, v.credit.label("account"), v.amount_minor.label("amount")).where(v.credit.in_(accounts)),
            select(v.entry_id, v.debit.label("account"), (-v.amount_minor).label("amount")).where(
                v.debit.in_(accounts)
            ),
        ).subquery()
        s = sides.c
        wanted = (
            select(e.currency, s.account, e.kind, func.sum(s.amount))
            .join(t.ledger_entries, e.id == s.entry_id)
            .group_by(e.currency, s.account, e.kind)
            .order_by(e.currency, s.account, e.kind)  # a payout's moves come in it
        )
        found: dict[str, dict[tuple[str, str], int]] = {}
        for currency, account, kind, amount in await self._connection.execute(wanted):
            found.setdefault(currency, {})[(account.removeprefix("garage:"), kind)] = int(amount)
        return found

    async def add_receipt(self, receipt: Receipt) -> Receipt:
        row = rows.receipt_row(receipt) | {"number": await self._last_receipt_number() + 1}
        await self._connection.execute(insert(t.receipts), row)
        return Receipt(**{**row, "lines": receipt.lines})

    async def _last_receipt_number(self) -> int:
        """The last number that was given; whoever asks is the only one to give the next until the end."""
        if self._postgres:
            await self._connection.execute(select(func.pg_advisory_xact_lock(_RECEIPTS_LOCK)))
        return int(await self._connection.scalar(select(func.coalesce(func.max(t.receipts.c.number), 0))) or 0)

    async def receipts(self, booking_id: str | None = None) -> Sequence[Receipt]:
        wanted = select(t.receipts).order_by(t.receipts.c.number)
        if booking_id is not None:
            wanted = wanted.where(t.receipts.c.booking_id == booking_id)
        return [rows.receipt_of(row) for row in (await self._connection.execute(wanted)).mappings()]

    async def receipts_in_all(self) -> tuple[int, int, int]:
        r = t.receipts.c
        wanted = select(func.count(), func.coalesce(func.max(r.number), 0), func.coalesce(func.sum(r.vat_minor), 0))
        count, highest, vat = (await self._connection.execute(wanted.select_from(t.receipts))).one()
        return int(count), int(highest), int(vat)

    async def bookings_with_receipts(self, after_id: str, limit: int) -> Sequence[tuple[Booking, int]]:
        b, r = t.bookings.c, t.receipts.c
        told = select(func.coalesce(func.sum(r.total_minor), 0)).where(r.booking_id == b.id).scalar_subquery()
        wanted = select(t.bookings, told.label("receipts")).where(b.id > after_id).order_by(b.id).limit(limit)
        found = (await self._connection.execute(wanted)).mappings()
        return [(rows.booking_of(row), int(row["receipts"])) for row in found]

    async def add_buyer(self, buyer: Buyer) -> None:
        await self._connection.execute(insert(m.buyers), rows.fields_of(buyer))

    async def buyer(self, receipt_number: int) -> Buyer | None:
        row = await self._one(select(m.buyers).where(m.buyers.c.receipt_number == receipt_number))
        return None if row is None else Buyer(**row)

    # owners
    async def put_organisation(self, organisation: Organisation) -> None:
        await self._put(m.organisations, [rows.fields_of(organisation)])

    async def organisation(self, organisation_id: str) -> Organisation | None:
        return await self._organisation(select(m.organisations).where(m.organisations.c.id == organisation_id))

    async def lock_organisation(self, organisation_id: str) -> Organisation | None:
        wanted = select(m.organisations).where(m.organisations.c.id == organisation_id)
        return await self._organisation(wanted.with_for_update())

    async def organisations(self) -> Sequence[Organisation]:
        found = await self._connection.execute(select(m.organisations).order_by(m.organisations.c.id))
        return [Organisation(**row) for row in found.mappings()]

    async def put_terms(self, garage_id: str, terms: Terms) -> None:
        row = rows.fields_of(terms) | {"garage_id": garage_id, "vat_percent": str(terms.vat_percent)}
        await self._put(m.agreements, [row])

    async def terms(self, garage_id: str) -> Terms | None:
        row = await self._one(select(m.agreements).where(m.agreements.c.garage_id == garage_id))
        return None if row is None else terms_of(row)

    async def garages_of(self, organisation_id: str) -> Sequence[str]:
        a = m.agreements.c
        found = await self._connection.scalars(
            select(a.garage_id).where(a.organisation_id == organisation_id).order_by(a.garage_id)
        )
        return list(found)

    # payouts
    async def payout_marks(self, garage_ids: Sequence[str], currency: str) -> Sums:
        k = m.payout_marks.c
        wanted = select(m.payout_marks).where(k.garage_id.in_(garage_ids), k.currency == currency)
        found = (await self._connection.execute(wanted)).mappings()
        return {(row["garage_id"], row["kind"]): row["amount_minor"] for row in found}

    async def put_payout_marks(self, currency: str, sums: Sums) -> None:
        marks = [
            {"garage_id": garage_id, "currency": currency, "kind": kind, "amount_minor": amount}
            for (garage_id, kind), amount in sums.items()
        ]
        if marks:
            await self._put(m.payout_marks, marks)

    async def add_payout(self, payout: Payout) -> Payout:
        p = m.payouts.c
        last = await self._connection.scalar(
            select(func.coalesce(func.max(p.number), 0)).where(p.organisation_id == payout.organisation_id)
        )
        row = rows.fields_of(payout) | {"number": int(last or 0) + 1}
        row["lines"] = [rows.fields_of(line) for line in payout.lines]
        await self._connection.execute(insert(m.payouts), row)
        return Payout(**{**row, "lines": payout.lines})

    async def save_payout(self, payout: Payout) -> None:
        changed = update(m.payouts).where(m.payouts.c.id == payout.id)
        await self._connection.execute(
            changed.values(
                state=payout.state, transferred_at=payout.transferred_at, bank_reference=payout.bank_reference
            )
        )

    async def payout(self, payout_id: str) -> Payout | None:
        row = await self._one(select(m.payouts).where(m.payouts.c.id == payout_id).with_for_update())
        return None if row is None else _payout(row)

    async def payouts(
        self, organisation_id: str | None = None, after_number: int = 0, limit: int | None = None
    ) -> Sequence[Payout]:
        wanted = select(m.payouts).where(m.payouts.c.number > after_number).limit(limit)
        wanted = wanted.order_by(m.payouts.c.organisation_id, m.payouts.c.number)
        if organisation_id is not None:
            wanted = wanted.where(m.payouts.c.organisation_id == organisation_id)
        return [_payout(row) for row in (await self._connection.execute(wanted)).mappings()]

    async def _organisation(self, wanted: Select[Any]) -> Organisation | None:
        row = await self._one(wanted)
        return None if row is None else Organisation(**row)

    async def _entries(self, wanted: Select[Any]) -> Sequence[Entry]:
        found: dict[int, tuple[Any, list[Move]]] = {}
        order = wanted.order_by(t.ledger_entries.c.id, t.ledger_moves.c.line)
        for row in (await self._connection.execute(order)).mappings():
            moves = found.setdefault(row["id"], (row, []))[1]
            moves.append(Move(row["debit"], row["credit"], row["amount_minor"]))
        return [Entry(moves=tuple(moves), **{f: row[f] for f in _ENTRY_FIELDS}) for row, moves in found.values()]

    async def _one(self, wanted: Select[Any], key: str | None = None) -> Any:
        """The row, or None. `key` fills the parameter of that name of a statement that was built before."""
        found = await self._connection.execute(wanted, None if key is None else {"key": key})
        return found.mappings().one_or_none()

    async def _put(self, table: Table, values: Sequence[dict[str, Any]]) -> None:
        raise NotImplementedError


def entry_row(entry: Entry) -> dict[str, Any]:
    """An entry as its row; without an id where the database gives it."""
    row = {name: getattr(entry, name) for name in _ENTRY_FIELDS if name != "id" or entry.id is not None}
    return row | {"total_minor": entry.total_minor}


def move_rows(entry: Entry, entry_id: int) -> list[dict[str, Any]]:
    """The rows of an entry's moves."""
    return [
        {"entry_id": entry_id, "line": line, "debit": m.debit, "credit": m.credit, "amount_minor": m.amount_minor}
        for line, m in enumerate(entry.moves)
    ]


def terms_of(row: RowMapping) -> Terms:
    """Terms from their row."""
    return Terms(row["organisation_id"], row["commission_bp"], Decimal(row["vat_percent"]), row["country"])


def with_moves() -> Select[Any]:
    """Entries, a row a move."""
    e, v = t.ledger_entries, t.ledger_moves
    return select(e, v.c.debit, v.c.credit, v.c.amount_minor).join(v, v.c.entry_id == e.c.id)


def _payout(row: RowMapping) -> Payout:
    return Payout(**{**row, "lines": tuple(StatementLine(**line) for line in row["lines"])})
