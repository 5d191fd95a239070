"""The built-in payment provider: a table that plays a bank which always pays. For real ones, behind the same port.

It is outside the platform's transactions, as a real provider is: money may be taken though the answer was lost, and
the same key again then answers the same.
"""

from __future__ import annotations

from sqlalchemy import insert, select

from parkube.parking.adapters.database.engine import SqlDatabase
from parkube.parking.adapters.database.schema import payments
from parkube.parking.domain.errors import Conflict, Invalid
from parkube.parking.services.ports import Clock, NewId, Payment

NAME = "builtin"


class BuiltinPayments:
    """services.ports.Payments on a table of its own."""

    def __init__(self, database: SqlDatabase, clock: Clock, new_id: NewId) -> None:
        self._database, self._clock, self._new_id = database, clock, new_id

    async def pay(self, key: str, amount_minor: int, currency: str, description: str) -> Payment:
        if amount_minor <= 0:
            raise Invalid(f"a payment of {amount_minor} is none", [("amount_minor", "more than nothing")])
        try:
            return await self._pay(key, amount_minor, currency, description)
        except Conflict as error:
            if error.code != "conflict":
                raise
            return await self._pay(key, amount_minor, currency, description)  # another was first with this key

    async def _pay(self, key: str, amount_minor: int, currency: str, description: str) -> Payment:
        async with self._database.writing() as transaction:
            connection = transaction.connection
            found = (await connection.execute(select(payments).where(payments.c.key == key))).mappings().one_or_none()
            if found is not None:
                if (found["amount_minor"], found["currency"]) != (amount_minor, currency):
                    raise Conflict("this payment key was used for another amount", code="payment_key_reused")
                return Payment(NAME, found["reference"], amount_minor, currency)
            reference = self._new_id("pay")
            row = {
                "key": key,
                "reference": reference,
                "amount_minor": amount_minor,
                "currency": currency,
                "description": description,
                "at": self._clock(),
            }
            await connection.execute(insert(payments).values(row))
        return Payment(NAME, reference, amount_minor, currency)
