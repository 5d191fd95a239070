"""Payment providers in a test's hand: what a driver does at the bank, and what a provider would send by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import orjson

from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.domain.payments import Order
from parkube.parking.services.ports_payments import Payments


class Bank(Protocol):
    """The other side of a provider."""

    payments: Payments
    signs: bool
    unknown: str

    async def driver_confirms(self, order: Order) -> None: ...
    async def driver_gives_up(self, order: Order) -> None: ...
    def refused(self, order: Order) -> Order:
        """The same order by a way that the bank will refuse."""

    def message(self, reference: str) -> tuple[dict[str, str], bytes]:
        """A webhook as the provider would send it: headers, body."""


class BuiltinBank:
    """The built-in provider confirms by itself."""

    signs = True
    unknown = "pay_unknown"

    def __init__(self, payments: BuiltinPayments) -> None:
        self._builtin = payments
        self.payments: Payments = payments

    async def driver_confirms(self, order: Order) -> None:
        return None

    async def driver_gives_up(self, order: Order) -> None:
        return None

    def refused(self, order: Order) -> Order:
        return replace(order, method="broke")

    def message(self, reference: str) -> tuple[dict[str, str], bytes]:
        body = orjson.dumps({"event": f"ev_{reference}", "payment": reference})
        return {"x-signature": self._builtin.sign(body)}, body
