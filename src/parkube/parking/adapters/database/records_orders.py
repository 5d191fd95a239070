"""Orders at payment providers, refunds and webhooks: the part of the services' Transaction. Queries only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from parkube.parking.adapters.database import rows
from parkube.parking.adapters.database import schema as t
from parkube.parking.adapters.database import tables_money as m
from parkube.parking.domain.bookings import State
from parkube.parking.domain.payments import Order, OrderState
from parkube.parking.domain.refunds import Refund, RefundState

_WITH_MONEY = (OrderState.AUTHORISED.value, OrderState.CAPTURED.value)
_STAY_IS_OVER = (State.EXITED.value, State.CANCELLED.value, State.EXPIRED.value)


class OrderRecords:
    """services.ports_money.MoneyTransaction: orders, refunds, webhooks."""

    _connection: AsyncConnection

    async def add_order(self, order: Order) -> None:
        await self._connection.execute(insert(m.payment_orders), order_row(order))

    async def save_order(self, order: Order) -> None:
        changed = update(m.payment_orders).where(m.payment_orders.c.id == order.id)
        await self._connection.execute(changed.values(order_row(order)))

    async def lock_order(self, order_id: str) -> Order | None:
        found = await self._orders(select(m.payment_orders).where(m.payment_orders.c.id == order_id).with_for_update())
        return found[0] if found else None

    async def order_of_reference(self, provider: str, reference: str) -> Order | None:
        o = m.payment_orders.c
        found = await self._orders(select(m.payment_orders).where(o.provider == provider, o.reference == reference))
        return found[0] if found else None

    async def orders(self, booking_id: str) -> Sequence[Order]:
        o = m.payment_orders.c
        wanted = select(m.payment_orders).where(o.booking_id == booking_id)
        return await self._orders(wanted.order_by(o.created_at, o.id))

    async def orders_in(self, states: Sequence[OrderState], changed_by: datetime) -> Sequence[Order]:
        o = m.payment_orders.c
        wanted = select(m.payment_orders).where(o.state.in_([s.value for s in states]), o.changed_at <= changed_by)
        return await self._orders(wanted.order_by(o.changed_at, o.id))

    async def orders_to_settle(self) -> Sequence[Order]:
        o, b = m.payment_orders.c, t.bookings.c
        wanted = (
            select(m.payment_orders)
            .join(t.bookings, b.id == o.booking_id)
            .where(o.state.in_(_WITH_MONEY), b.state.in_(_STAY_IS_OVER))
        )
        return await self._orders(wanted.order_by(o.changed_at, o.id))

    async def add_refund(self, refund: Refund) -> None:
        await self._connection.execute(insert(m.refunds), rows.fields_of(refund))

    async def save_refund(self, refund: Refund) -> None:
        changed = update(m.refunds).where(m.refunds.c.id == refund.id)
        await self._connection.execute(changed.values(rows.fields_of(refund)))

    async def lock_refund(self, refund_id: str) -> Refund | None:
        found = await self._refunds(select(m.refunds).where(m.refunds.c.id == refund_id).with_for_update())
        return found[0] if found else None

    async def refund_of_key(self, idempotency_key: str) -> Refund | None:
        found = await self._refunds(select(m.refunds).where(m.refunds.c.idempotency_key == idempotency_key))
        return found[0] if found else None

    async def refunds(self, booking_id: str) -> Sequence[Refund]:
        r = m.refunds.c
        return await self._refunds(select(m.refunds).where(r.booking_id == booking_id).order_by(r.asked_at, r.id))

    async def refunds_asked(self) -> Sequence[Refund]:
        r = m.refunds.c
        return await self._refunds(
            select(m.refunds).where(r.state == RefundState.ASKED.value).order_by(r.asked_at, r.id)
        )

    async def refunds_open(self, after_id: str = "", limit: int | None = None) -> Sequence[Refund]:
        r = m.refunds.c
        open_ = select(m.refunds).where(r.state != RefundState.DONE.value, r.id > after_id)
        return await self._refunds(open_.order_by(r.id).limit(limit))

    async def webhook(self, provider: str, event_id: str, reference: str, at: datetime) -> bool:
        w = m.webhook_events
        known = await self._connection.execute(
            select(w.c.applied_at).where(w.c.provider == provider, w.c.event_id == event_id)
        )
        row = known.one_or_none()
        if row is None:
            values = {"provider": provider, "event_id": event_id, "reference": reference, "received_at": at}
            await self._connection.execute(insert(w), values)
        return row is None or row[0] is None

    async def webhook_applied(self, provider: str, event_id: str, at: datetime) -> None:
        w = m.webhook_events
        done = update(w).where(w.c.provider == provider, w.c.event_id == event_id)
        await self._connection.execute(done.values(applied_at=at))

    async def webhooks_waiting(self, provider: str) -> Sequence[tuple[str, str]]:
        w = m.webhook_events.c
        wanted = select(w.event_id, w.reference).where(w.provider == provider, w.applied_at.is_(None))
        found = await self._connection.execute(wanted.order_by(w.received_at, w.event_id))
        return [(event_id, reference) for event_id, reference in found]

    async def _orders(self, wanted: Select[Any]) -> Sequence[Order]:
        found = (await self._connection.execute(wanted)).mappings()
        return [
            Order(**{**row, "state": OrderState(row["state"]), "capture_later": bool(row["capture_later"])})
            for row in found
        ]

    async def _refunds(self, wanted: Select[Any]) -> Sequence[Refund]:
        found = (await self._connection.execute(wanted)).mappings()
        return [Refund(**{**row, "state": RefundState(row["state"])}) for row in found]


def order_row(order: Order) -> dict[str, Any]:
    """An order as its row."""
    return rows.fields_of(order) | {"state": order.state.value, "capture_later": int(order.capture_later)}
