"""What every payment provider behind the port must do. Today the built-in one; a new one adds itself to `provider`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from parkube.parking.adapters.database import open_database
from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.domain.errors import ParkingError
from parkube.parking.main.wiring import new_id, now
from parkube.parking.services.ports import Payments


@pytest.fixture(params=["builtin"])
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Payments]:
    database = open_database(f"sqlite:///{tmp_path}/payments.sqlite")
    await database.upgrade()
    yield BuiltinPayments(database, now, new_id)
    await database.close()


async def test_the_same_key_takes_the_money_once(provider: Payments) -> None:
    answers = await asyncio.gather(*(provider.pay("bk_1:600", 600, "EUR", "Parking") for _ in range(10)))
    assert len({answer.reference for answer in answers}) == 1
    assert (answers[0].amount_minor, answers[0].currency) == (600, "EUR")
    other = await provider.pay("bk_2:600", 600, "EUR", "Parking")
    assert other.reference != answers[0].reference


async def test_a_key_is_for_one_amount(provider: Payments) -> None:
    await provider.pay("bk_1:600", 600, "EUR", "Parking")
    for amount, currency in ((601, "EUR"), (600, "CHF")):
        with pytest.raises(ParkingError):
            await provider.pay("bk_1:600", amount, currency, "Parking")


@pytest.mark.parametrize("amount", [0, -5])
async def test_nothing_is_no_payment(provider: Payments, amount: int) -> None:
    with pytest.raises(ParkingError):
        await provider.pay("bk_1:0", amount, "EUR", "Parking")
