"""Money on both databases: a ledger that cannot be half written, shares, discounts, refunds, payouts, corrections."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from parkube.parking.domain import ledger
from parkube.parking.domain.errors import Conflict, Invalid, NotFound, ParkingError
from parkube.parking.domain.ledger import Entry, Move, Terms, balances
from parkube.parking.domain.payouts import held, statement
from parkube.parking.domain.people import Organisation
from parkube.parking.domain.receipts import Receipt, vat_of_part
from parkube.parking.services import books, payouts, receipting, refunds
from tests.fakes.parking import START, FakeGarage, World, ok


async def stay(world: World, garage: FakeGarage, *, paid: bool = True, hours: float = 2) -> dict[str, Any]:
    """A booking that was driven in, out and paid."""
    booking = await world.book(garage.garage_id, hours=hours)
    for gate in ("entry", "exit"):
        assert await garage.scan(booking["grant"], gate) == ""
    if paid:
        ok(await world.call(booking, "POST", "/pay"))
    return booking


async def owner(world: World, *garage_ids: str, commission_bp: int = 1000, name: str = "org_a") -> None:
    """An owner of garages, of which the platform keeps a share."""
    made = Organisation(name, "owner", "Garages BV", "Dam 1, Amsterdam", "NL", "NL001", "NL00BANK", START)
    await payouts.put_organisation(world.platform, made)
    for garage_id in garage_ids:
        await payouts.put_terms(world.platform, garage_id, Terms(name, commission_bp))


async def sums(world: World) -> dict[str, int]:
    """Every account that is not empty, in euros."""
    return {account: amount for (account, _), amount in balances(await world.entries()).items() if amount}


async def receipts(world: World, booking_id: str) -> list[Receipt]:
    async with world.platform.database.reading() as transaction:
        return list(await transaction.receipts(booking_id))


@pytest.mark.parametrize("fault", ["too little", "too much", "no moves", "no entry", "added later"])
async def test_the_database_refuses_an_entry_that_does_not_come_to_what_it_says(world: World, fault: str) -> None:
    # Written past the services, as a mistake in them would be.
    entry = "INSERT INTO ledger_entries (id, kind, reference, at, currency, text, total_minor) VALUES "
    move = "INSERT INTO ledger_moves (entry_id, line, debit, credit, amount_minor) VALUES (71, {}, 'a', 'b', {})"
    head = entry + "(71, 'test', 'x', '2026-05-04 08:00:00', 'EUR', '', {})"
    written = {
        "too little": [move.format(0, 5), head.format(6)],
        "too much": [move.format(0, 5), move.format(1, 2), head.format(6)],
        "no moves": [head.format(6)],
        "no entry": [move.format(0, 5)],
        "added later": [move.format(1, 1)],
    }[fault]

    async def write(*statements: str) -> None:
        async with world.platform.database.writing() as transaction:
            for one in statements:
                await transaction.connection.execute(text(one))  # type: ignore[attr-defined]

    if fault == "added later":
        await write(move.format(0, 5), head.format(5))
    before = await world.entries()
    with pytest.raises(ParkingError):
        await write(*written)
    assert await world.entries() == before


async def test_a_share_of_each_charge_is_the_platforms_and_follows_what_is_given_back(
    world: World, garage: FakeGarage
) -> None:
    await owner(world, "nl-test")
    booking = await stay(world, garage)
    # 6.00 with 21 % VAT: 4.96 net; 10 % of it is 0.50, and 0.11 VAT on that.
    assert await sums(world) == {
        "garage:nl-test": -(496 - 50 - 11), "vat:NL": -104, "commission:EUR": -50, "commission-vat:NL": -11,
        "provider:builtin": 600,
    }  # fmt: skip
    await refunds.give_back(world.platform, booking["id"], 250, "the lift was broken", "r1")
    # 3.50 is left: 2.89 net, 0.29 of it and 0.06 VAT on that.
    assert await sums(world) == {
        "garage:nl-test": -(289 - 29 - 6), "vat:NL": -61, "commission:EUR": -29, "commission-vat:NL": -6,
        "provider:builtin": 350,
    }  # fmt: skip
    await refunds.give_back(world.platform, booking["id"], None, "and the rest", "r2")
    assert await sums(world) == {}
    known = await receipts(world, booking["id"])
    assert [(r.number, r.kind, r.refers_to, r.total_minor, r.vat_minor) for r in known] == [
        (1, "receipt", None, 600, 104), (2, "credit_note", 1, -250, -43), (3, "credit_note", 1, -350, -61),
    ]  # fmt: skip
    charge = next(entry.id for entry in await world.entries() if entry.kind == "charge")
    assert {entry.corrects for entry in await world.entries() if entry.kind == "credit"} == {charge}


async def test_a_refund_is_made_once_however_often_it_is_asked_for(world: World, garage: FakeGarage) -> None:
    booking = await stay(world, garage)
    asked = [refunds.give_back(world.platform, booking["id"], 200, "kind", "key") for _ in range(5)]
    assert len({one.id for answer in await asyncio.gather(*asked) for one in answer}) == 1
    assert (await sums(world))["provider:builtin"] == 400
    with pytest.raises(Conflict, match="another refund"):
        await refunds.give_back(world.platform, booking["id"], 300, "kind", "key")
    for amount in (0, -1, 401):
        with pytest.raises(Invalid):
            await refunds.give_back(world.platform, booking["id"], amount, "kind", None)
    with pytest.raises(NotFound):
        await refunds.give_back(world.platform, "bk_none", 1, "kind", None)
    unpaid = await stay(world, garage, paid=False)
    with pytest.raises(Conflict, match="nothing was paid"):
        await refunds.give_back(world.platform, unpaid["id"], 1, "kind", None)


async def test_what_was_given_back_is_not_charged_again_by_a_late_exit(world: World, garage: FakeGarage) -> None:
    booking = await stay(world, garage)
    await refunds.give_back(world.platform, booking["id"], 300, "sorry", None)
    world.clock.forward(hours=3)
    await garage.report("opened", "exit", booking=booking["id"])
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["due_cents"]) == ("exited", 300)  # the hour over, not the 3.00 given back
    receipt = ok(await world.call(booking, "POST", "/pay"))
    assert receipt["total_cents"] == 300
    assert [line["amount_cents"] for line in receipt["lines"]] == [600, 300, -300, -300]


async def test_a_discount_lessens_what_is_due_and_the_garage_or_the_platform_bears_it(
    world: World, garage: FakeGarage
) -> None:
    await owner(world, "nl-test")
    booking = await stay(world, garage, paid=False)
    with pytest.raises(Invalid):
        await books.discount(world.platform, booking["id"], 601, "too much", "d0")
    for _ in range(2):
        await books.discount(world.platform, booking["id"], 100, "Voucher CINEMA", "d1")
    await books.discount(world.platform, booking["id"], 100, "Welcome", "d2", by_platform=True)
    receipt = ok(await world.call(booking, "POST", "/pay"))
    assert (receipt["total_cents"], receipt["vat_cents"]) == (400, 69)
    assert [line["text"] for line in receipt["lines"]][-2:] == ["Voucher CINEMA", "Welcome"]
    found = await sums(world)
    assert (found["provider:builtin"], found["vat:NL"], found["discounts:EUR"]) == (400, -69, 82)
    with pytest.raises(Conflict, match="refund"):
        await books.discount(world.platform, booking["id"], 1, "too late", "d3")
    free = await stay(world, garage, paid=False)
    await books.discount(world.platform, free["id"], 600, "All of it", "d4")
    assert ok(await world.call(free, "GET"))["state"] == "paid"


async def test_a_correction_points_at_what_it_corrects_and_is_made_once(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    booking = await stay(world, garage, paid=False)
    charge = next(entry for entry in await world.entries() if entry.kind == "charge")
    assert charge.id is not None
    first = await books.correct(world.platform, charge.id, "charged to the wrong car")
    assert await books.correct(world.platform, charge.id, "again") == first
    assert await sums(world) == {}
    made = next(entry for entry in await world.entries() if entry.id == first)
    assert (made.kind, made.corrects, made.text) == ("reversal", charge.id, "charged to the wrong car")
    assert ok(await world.call(booking, "GET"))["due_cents"] == 0
    paid = await stay(world, garage)
    other = next(e for e in await world.entries() if e.kind == "charge" and e.booking_id == paid["id"])
    assert other.id is not None
    with pytest.raises(Conflict, match="give the money back"):
        await books.correct(world.platform, other.id, "too late")
    with pytest.raises(NotFound):
        await books.correct(world.platform, 4711, "none")


async def test_a_payout_empties_the_accounts_and_its_statement_adds_up(world: World, garage: FakeGarage) -> None:
    await world.garage("nl-far", name="Far")
    far = await FakeGarage(world, "nl-far").connect()
    await owner(world, "nl-test", "nl-far")
    booking = await stay(world, garage)
    await stay(world, far, hours=4)
    both = await asyncio.gather(*(payouts.pay_out(world.platform, "org_a") for _ in range(4)))
    made = [payout for some in both for payout in some]
    assert [(p.number, p.currency) for p in made] == [(1, "EUR")]
    assert sum(line.amount_minor for line in made[0].lines) == made[0].amount_minor == (496 - 61) + (992 - 120)
    assert {(line.garage_id, line.kind) for line in made[0].lines} == {
        (garage_id, kind) for garage_id in ("nl-test", "nl-far") for kind in ("charge", "commission")
    }
    found = await sums(world)
    assert found["payable:org_a"] == -made[0].amount_minor
    assert "garage:nl-test" not in found
    # What is given back after the payout is the next one's, and an owner in debt is paid nothing.
    await refunds.give_back(world.platform, booking["id"], None, "flooded", None)
    assert await payouts.pay_out(world.platform, "org_a") == []
    await stay(world, far, hours=4)
    (second,) = await payouts.pay_out(world.platform, "org_a")
    assert (second.number, second.amount_minor) == (2, (992 - 120) - (496 - 61))
    assert sum(line.amount_minor for line in second.lines) == second.amount_minor
    for _ in range(2):
        await payouts.transferred(world.platform, second.id, "SEPA-7")
    assert (await sums(world))["bank:EUR"] == -second.amount_minor
    with pytest.raises(Conflict):
        await payouts.transferred(world.platform, second.id, "SEPA-8")


async def test_a_garage_changes_hands_when_its_owner_is_paid_out(world: World, garage: FakeGarage) -> None:
    await owner(world, "nl-test")
    await stay(world, garage)
    with pytest.raises(Conflict, match="pay the garage's owner out"):
        await owner(world, "nl-test", name="org_b")
    await payouts.pay_out(world.platform, "org_a")
    await owner(world, "nl-test", name="org_b")
    await stay(world, garage)
    (made,) = await payouts.pay_out(world.platform, "org_b")
    assert made.amount_minor == 496 - 61
    with pytest.raises(Invalid):
        await payouts.put_terms(world.platform, "nl-test", Terms("org_b", 10_001))
    with pytest.raises(NotFound):
        await payouts.put_terms(world.platform, "nl-none", Terms("org_b", 0))


async def test_documents_are_numbered_without_a_gap_under_load(world: World) -> None:
    await world.garage(capacity=60)
    garage = await FakeGarage(world).connect()
    stays = [await stay(world, garage, paid=False) for _ in range(40)]

    async def pay_and_return(number: int, booking: dict[str, Any]) -> None:
        ok(await world.call(booking, "POST", "/pay"))
        if number % 3 == 0:
            await refunds.give_back(world.platform, booking["id"], 100, "sorry", None)

    async def fails(booking: dict[str, Any]) -> None:
        # A number that was given out in a transaction that is then lost must be given again.
        async with world.platform.database.writing() as transaction:
            known = await transaction.lock_booking(booking["id"])  # first, as whoever pays does
            assert known is not None
            await receipting.receipt_for(world.platform, transaction, known, "lost")
            raise ParkingError("lost")

    work = [pay_and_return(number, booking) for number, booking in enumerate(stays)]
    done = await asyncio.gather(*work, *(fails(b) for b in stays[::4]), return_exceptions=True)
    assert [str(one) for one in done if one is not None] == ["lost"] * 10
    async with world.platform.database.reading() as transaction:
        numbers = [receipt.number for receipt in await transaction.receipts()]
    assert numbers == list(range(1, 40 + 14 + 1))


async def test_a_receipt_becomes_an_invoice_to_one_buyer(world: World, garage: FakeGarage) -> None:
    unpaid = await stay(world, garage, paid=False)
    buyer = ("Bakker BV", "Dam 1, Amsterdam", "NL", "NL001")
    with pytest.raises(NotFound):
        await receipting.name_buyer(world.platform, unpaid["id"], *buyer)
    booking = await stay(world, garage)
    for _ in range(2):
        assert (await receipting.name_buyer(world.platform, booking["id"], *buyer)).receipt_number == 1
    with pytest.raises(Conflict):
        await receipting.name_buyer(world.platform, booking["id"], "Another", *buyer[1:])
    with pytest.raises(Invalid) as refused:
        await receipting.name_buyer(world.platform, booking["id"], " ", "", "NL", "")
    assert [field for field, _ in refused.value.faults] == ["name", "address"]


async def test_a_swiss_stay_bears_swiss_vat_and_currencies_never_meet(world: World, garage: FakeGarage) -> None:
    tariff = replace((await world.garage()).tariff, currency="CHF", vat_percent=Decimal("8.1"))
    await world.garage("ch-bern", country="CH", tariff=tariff)
    await owner(world, "nl-test", "ch-bern")
    await stay(world, garage)
    await stay(world, await FakeGarage(world, "ch-bern").connect())
    found = balances(await world.entries())
    assert (found["vat:NL", "EUR"], found["vat:CH", "CHF"]) == (-104, -45)
    assert [(p.number, p.currency) for p in await payouts.pay_out(world.platform, "org_a")] == [(1, "CHF"), (2, "EUR")]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5000)), max_size=12), st.integers(0, 10_000))
def test_the_commission_is_the_share_of_the_sum_however_it_came_about(parts: list[tuple[bool, int]], bp: int) -> None:
    terms, entries, net = Terms("org", bp), list[Entry](), 0
    for number, (more, amount) in enumerate(parts):
        amount = amount if more else min(amount, net)
        if not amount:
            continue
        moves = (Move("driver:b", "garage:g", amount) if more else Move("garage:g", "refunds:b", amount),)
        entries.append(Entry("charge" if more else "credit", str(number), "b", START, "EUR", moves))
        entries.append(ledger.commissioned("b", "g", entries, terms, "EUR", START, str(number)))
        net += amount if more else -amount
    share = (2 * net * bp + 10_000) // 20_000
    assert -ledger.balance(entries, "commission:EUR") == share
    assert -ledger.balance(entries, "commission-vat:NL") == (2 * share * 21 + 100) // 200
    assert sum(balances(entries).values()) == 0


@given(st.integers(1, 100_000), st.integers(0, 2100), st.lists(st.integers(1, 50_000), max_size=8))
def test_vat_given_back_in_parts_is_the_vat_that_was_charged(total: int, vat: int, parts: list[int]) -> None:
    vat, given, back = min(vat, total), 0, 0
    for part in [*parts, total]:
        given = min(total, given + part)
        piece = vat_of_part(given, total, vat, back)
        assert piece >= 0
        back += piece
    assert back == vat


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["charge", "credit"]), st.integers(-500, 900))))
def test_statements_one_after_another_add_up_to_what_was_paid_out(events: list[tuple[str, str, int]]) -> None:
    now: dict[tuple[str, str], int] = {}
    marks: dict[tuple[str, str], int] = {}
    for garage_id, kind, amount in events:
        now[garage_id, kind] = now.get((garage_id, kind), 0) + amount
        total = sum(held(now).values())
        if total > 0:
            assert sum(line.amount_minor for line in statement(now, marks)) == total
            marks = dict(now)
            for each, amount in held(now).items():
                now[each, "payout"] = now.get((each, "payout"), 0) - amount
            assert held(now) == {}
