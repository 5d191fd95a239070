"""Payment providers in a test's hand: what a driver does at the bank, and what a provider would send by itself."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import orjson
import uvicorn
from starlette.types import ASGIApp

from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.domain.payments import Order
from parkube.parking.services.ports_payments import Payments
from tests.fakes.mollie_server import MollieServer
from tests.fakes.stripe_server import StripeServer


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


class ServerBank:
    """A provider that is a server: the driver confirms at its checkout."""

    def __init__(self, payments: Payments, server: StripeServer | MollieServer, unknown: str) -> None:
        self.payments, self.server, self.unknown = payments, server, unknown
        self.signs = isinstance(server, StripeServer)

    async def driver_confirms(self, order: Order) -> None:
        self.server.confirm(order.reference or "")

    async def driver_gives_up(self, order: Order) -> None:
        self.server.give_up(order.reference or "")

    def refused(self, order: Order) -> Order:
        return order

    def message(self, reference: str) -> tuple[dict[str, str], bytes]:
        return self.server.message(reference)


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """An application on a port of its own, over real HTTP; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
