"""The built-in payment provider: a table that plays a bank. For trials and tests; real ones are behind the same port.

It is outside the platform's transactions, as a real provider is: money may be taken though the answer was lost, and
the same key again answers the same. A method says how it behaves: `card` is held and captured, `ideal` is paid first,
`later` waits for the driver (confirm), `broke` is refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from sqlalchemy import RowMapping, insert, select, update

from parkube.parking.adapters.database import schema
from parkube.parking.adapters.database.engine import SqlDatabase
from parkube.parking.domain.errors import Conflict, Denied, Invalid, NotFound
from parkube.parking.domain.payments import Held, Order, OrderState, PaymentRefused
from parkube.parking.services.ports import Clock, NewId
from parkube.parking.services.ports_payments import Message

NAME = "builtin"
_METHODS: Final = {"card": True, "ideal": False, "later": False, "broke": True}


class BuiltinPayments:
    """services.ports_payments.Payments on a table of its own."""

    name = NAME

    def __init__(self, database: SqlDatabase, clock: Clock, new_id: NewId, webhook_secret: str = "builtin") -> None:
        self._database, self._clock, self._new_id = database, clock, new_id
        self._secret = webhook_secret.encode()

    def can_hold(self, method: str) -> bool:
        if method not in _METHODS:
            raise Invalid(f"{method!r} is not a way to pay here", [("method", f"one of {', '.join(_METHODS)}")])
        return _METHODS[method]

    async def start(self, order: Order, description: str, return_url: str) -> Held:
        if order.amount_minor <= 0:
            raise Invalid(f"a payment of {order.amount_minor} is none", [("amount_minor", "more than nothing")])
        try:
            return await self._start(order, description)
        except Conflict as error:
            if error.code != "conflict":
                raise
            return await self._start(order, description)  # another was first with this key

    async def find(self, reference: str) -> Held:
        async with self._database.reading() as transaction:
            wanted = select(schema.payments).where(schema.payments.c.reference == reference)
            row = (await transaction.connection.execute(wanted)).mappings().one_or_none()
        if row is None:
            raise NotFound("the provider knows no such payment")
        return _held(row)

    async def confirm(self, reference: str) -> Held:
        """Plays the driver who confirms a payment at the bank."""
        held = await self.find(reference)
        return await self._change(held, state=OrderState.CAPTURED, captured_minor=held.amount_minor)

    async def capture(self, order: Order, amount_minor: int) -> Held:
        held = await self.find(order.reference or "")
        if held.state is OrderState.CAPTURED and held.captured_minor == amount_minor:
            return held
        if held.state is not OrderState.AUTHORISED or not 0 < amount_minor <= held.amount_minor:
            raise Conflict("this much is not held", code="not_held")
        return await self._change(held, state=OrderState.CAPTURED, captured_minor=amount_minor)

    async def cancel(self, order: Order) -> Held:
        held = await self.find(order.reference or "")
        if held.state is OrderState.CANCELLED:
            return held
        if held.state not in (OrderState.AUTHORISED, OrderState.PENDING):
            raise Conflict("the money has been taken: it can only be given back", code="not_held")
        return await self._change(held, state=OrderState.CANCELLED)

    async def refund(self, key: str, order: Order, amount_minor: int) -> str:
        async with self._database.writing() as transaction:
            p = schema.payments.c
            wanted = select(schema.payments).where(p.reference == order.reference).with_for_update()
            row = (await transaction.connection.execute(wanted)).mappings().one_or_none()
            if row is None:
                raise NotFound("the provider knows no such payment")
            done: dict[str, int] = dict(row["refunds"] or {})
            if key in done:
                if done[key] != amount_minor:
                    raise Conflict("this refund's key was used for another amount", code="payment_key_reused")
                return f"re_{key}"
            if amount_minor <= 0 or sum(done.values()) + amount_minor > row["captured_minor"]:
                raise Conflict("more cannot be given back than was taken", code="too_much")
            changed = update(schema.payments).where(p.reference == order.reference)
            await transaction.connection.execute(changed.values(refunds=done | {key: amount_minor}))
        return f"re_{key}"

    def message(self, headers: Mapping[str, str], body: bytes) -> Message | None:
        if not hmac.compare_digest(self.sign(body).encode(), headers.get("x-signature", "").encode()):
            raise Denied("the message's signature is wrong")
        try:
            told = orjson.loads(body)
            return Message(str(told["event"]), str(told["payment"]))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise Invalid("this is no message about a payment") from error

    def sign(self, body: bytes) -> str:
        """The signature that a message of this provider carries."""
        return hmac.digest(self._secret, body, "sha256").hex()

    async def _start(self, order: Order, description: str) -> Held:
        async with self._database.writing() as transaction:
            connection = transaction.connection
            wanted = select(schema.payments).where(schema.payments.c.key == order.id)
            found = (await connection.execute(wanted)).mappings().one_or_none()
            if found is not None:
                if (found["amount_minor"], found["currency"]) != (order.amount_minor, order.currency):
                    raise Conflict("this payment key was used for another amount", code="payment_key_reused")
                return _held(found)
            if order.method == "broke":
                raise PaymentRefused("the bank refuses this card")
            held = Held(NAME, self._new_id("pay"), OrderState.PENDING, order.amount_minor, order.currency)
            if order.method == "later":
                held = replace(held, url=f"https://bank.example/{held.reference}")
            elif order.capture_later:
                held = replace(held, state=OrderState.AUTHORISED)
            else:
                held = replace(held, state=OrderState.CAPTURED, captured_minor=order.amount_minor)
            row = {
                "key": order.id,
                "reference": held.reference,
                "amount_minor": held.amount_minor,
                "currency": held.currency,
                "description": description,
                "at": self._clock(),
                "state": held.state.value,
                "captured_minor": held.captured_minor,
                "refunds": {},
                "url": held.url,
            }
            await connection.execute(insert(schema.payments).values(row))
        return held

    async def _change(self, held: Held, **changes: Any) -> Held:
        after = replace(held, **changes)
        async with self._database.writing() as transaction:
            changed = update(schema.payments).where(schema.payments.c.reference == held.reference)
            await transaction.connection.execute(
                changed.values(state=after.state.value, captured_minor=after.captured_minor)
            )
        return after


def _held(row: RowMapping) -> Held:
    return Held(
        provider=NAME,
        reference=row["reference"],
        state=OrderState(row["state"]),
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        captured_minor=row["captured_minor"],
        refunded_minor=sum((row["refunds"] or {}).values()),
        url=row["url"],
    )
