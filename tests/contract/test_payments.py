"""What every payment provider behind the port must do; a new one adds itself to `provider`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from parkube.parking.adapters.database import open_database
from parkube.parking.adapters.mollie_payments import MolliePayments
from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.adapters.stripe_payments import StripePayments
from parkube.parking.domain.errors import Conflict, Denied, Invalid, NotFound, ParkingError, Unavailable
from parkube.parking.domain.payments import Order, OrderState, PaymentRefused
from parkube.parking.main.wiring import new_id, now
from parkube.parking.services.ports_payments import Payments
from tests.fakes import mollie_server, stripe_server
from tests.fakes.mollie_server import MollieServer
from tests.fakes.providers import Bank, BuiltinBank, ServerBank, serving
from tests.fakes.stripe_server import StripeServer


@asynccontextmanager
async def opened(name: str, tmp_path: Path) -> AsyncIterator[Bank]:
    if name == "stripe":
        stripe = StripeServer()
        with serving(stripe.app) as url:
            yield ServerBank(StripePayments(stripe_server.KEY, stripe_server.WEBHOOK_SECRET, url), stripe, "cs_none")
    elif name == "mollie":
        mollie = MollieServer()
        with serving(mollie.app) as url:
            payments = MolliePayments(mollie_server.KEY, "https://park.example/hook", server_url=url)
            yield ServerBank(payments, mollie, "tr_none")
    else:
        database = open_database(f"sqlite:///{tmp_path}/payments.sqlite")
        await database.upgrade()
        yield BuiltinBank(BuiltinPayments(database, now, new_id))
        await database.close()


@pytest.fixture(params=["builtin", "stripe", "mollie"])
async def bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bank]:
    async with opened(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["stripe", "mollie"])
async def far_bank(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServerBank]:
    """One that is a server behind a network."""
    async with opened(request.param, tmp_path) as made:
        assert isinstance(made, ServerBank)
        yield made


def order(amount_minor: int = 600, method: str = "card", *, later: bool = False, currency: str = "EUR") -> Order:
    at = now()
    return Order(new_id("po"), "bk_1", "any", method, amount_minor, currency, later, at, at)


async def held(bank: Bank, amount_minor: int = 600) -> Order:
    """An order whose money is held."""
    made = order(amount_minor, later=True)
    begun = await bank.payments.start(made, "Parking", "https://park.example/back")
    made = replace(made, reference=begun.reference)
    await bank.driver_confirms(made)
    assert (await bank.payments.find(begun.reference)).state is OrderState.AUTHORISED
    return made


async def test_the_same_key_is_the_same_money(bank: Bank) -> None:
    made = order()
    answers = await asyncio.gather(*(bank.payments.start(made, "Parking", "https://x.example/") for _ in range(5)))
    assert len({answer.reference for answer in answers}) == 1
    assert (answers[0].amount_minor, answers[0].currency) == (600, "EUR")
    other = await bank.payments.start(order(), "Parking", "https://x.example/")
    assert other.reference != answers[0].reference
    for changed in (replace(made, amount_minor=601), replace(made, currency="CHF")):
        with pytest.raises(ParkingError):
            await bank.payments.start(changed, "Parking", "https://x.example/")


async def test_what_is_held_is_captured_in_part_once(bank: Bank) -> None:
    made = await held(bank, 2000)
    with pytest.raises(Conflict):
        await bank.payments.capture(made, 2001)
    for _ in range(2):
        taken = await bank.payments.capture(made, 1250)
        assert (taken.state, taken.captured_minor, taken.amount_minor) == (OrderState.CAPTURED, 1250, 2000)
    with pytest.raises(Conflict):
        await bank.payments.cancel(made)


async def test_what_is_held_is_released_once(bank: Bank) -> None:
    made = await held(bank)
    for _ in range(2):
        assert (await bank.payments.cancel(made)).state is OrderState.CANCELLED
    with pytest.raises(Conflict):
        await bank.payments.capture(made, 100)


async def test_what_was_taken_goes_back_in_parts_and_never_more(bank: Bank) -> None:
    made = await held(bank, 1000)
    await bank.payments.capture(made, 900)
    first = await bank.payments.refund("rf_1", made, 300)
    assert await bank.payments.refund("rf_1", made, 300) == first
    assert await bank.payments.refund("rf_2", made, 600) != first
    with pytest.raises(Conflict):
        await bank.payments.refund("rf_3", made, 1)
    assert (await bank.payments.find(made.reference or "")).refunded_minor == 900


async def test_ideal_cannot_be_held_it_is_paid_first(bank: Bank) -> None:
    assert bank.payments.can_hold("card")
    assert not bank.payments.can_hold("ideal")
    with pytest.raises(Invalid):
        bank.payments.can_hold("shells")
    made = order(method="ideal")
    begun = await bank.payments.start(made, "Parking", "https://park.example/back")
    made = replace(made, reference=begun.reference)
    await bank.driver_confirms(made)
    paid = await bank.payments.find(begun.reference)
    assert (paid.state, paid.captured_minor) == (OrderState.CAPTURED, 600)
    await bank.payments.refund("rf_1", made, 250)


async def test_a_no_is_a_no(bank: Bank) -> None:
    made = bank.refused(order())
    try:
        begun = await bank.payments.start(made, "Parking", "https://park.example/back")
    except PaymentRefused:
        return
    await bank.driver_gives_up(replace(made, reference=begun.reference))
    assert (await bank.payments.find(begun.reference)).state is OrderState.FAILED


async def test_a_message_is_read_only_as_its_sender_signed_it(bank: Bank) -> None:
    begun = await bank.payments.start(order(), "Parking", "https://park.example/back")
    headers, body = bank.message(begun.reference)
    read = bank.payments.message(headers, body)
    assert read is not None
    assert read.reference == begun.reference
    again = bank.payments.message(headers, body)
    assert again is not None
    assert again.event_id == read.event_id
    if bank.signs:
        for forged in (body + b" ", b""):
            with pytest.raises(Denied):
                bank.payments.message(headers, forged)
        with pytest.raises(Denied):
            bank.payments.message({}, body)


async def test_what_is_not_there_is_not_found(bank: Bank) -> None:
    with pytest.raises(NotFound):
        await bank.payments.find(bank.unknown)


@pytest.mark.parametrize("amount", [0, -5])
async def test_nothing_is_no_payment(bank: Bank, amount: int) -> None:
    with pytest.raises(Invalid):
        await bank.payments.start(order(amount), "Parking", "https://x.example/")


async def test_an_answer_that_was_lost_is_asked_for_again_and_the_money_moves_once(far_bank: ServerBank) -> None:
    far_bank.server.silent_after = 1
    made = await held(far_bank, 1000)
    await far_bank.payments.capture(made, 700)
    far_bank.server.silent_after = 1
    await far_bank.payments.refund("rf_1", made, 300)
    found = await far_bank.payments.find(made.reference or "")
    assert (found.captured_minor, found.refunded_minor) == (700, 300)


async def test_a_provider_that_refuses_our_secret_or_is_away_is_unavailable(far_bank: ServerBank) -> None:
    def wrong(url: str) -> Payments:
        if far_bank.payments.name == "stripe":
            return StripePayments("sk_wrong", "x", url, 0)
        return MolliePayments("wrong", "", server_url=url, retry_ms=100)

    with serving(far_bank.server.app) as url, pytest.raises(Unavailable):
        await wrong(url).find(far_bank.unknown)
    with pytest.raises(Unavailable):
        await wrong(url).find(far_bank.unknown)
