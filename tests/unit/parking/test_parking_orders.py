"""Paying ahead and afterwards on both databases, with providers that answer late, twice, or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest

from parkube.parking.adapters import settlements
from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.domain.errors import Invalid, Unavailable
from parkube.parking.domain.ledger import balances
from parkube.parking.domain.payments import Held, Order, OrderState, PaymentRefused, heard
from parkube.parking.domain.refunds import RefundState
from parkube.parking.services import keeping, orders, reconciling, refunds
from tests.fakes.parking import OPERATOR, START, FakeGarage, World, ok, problem
from tests.unit.parking.test_parking_money import receipts, stay, sums


@dataclass
class Losing:
    """The built-in provider over a bad line: it does what it was asked, and its answer is lost."""

    bank: BuiltinPayments
    lost: list[str] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    name: str = "builtin"

    def __getattr__(self, called: str) -> Any:
        real = getattr(self.bank, called)

        async def call(*given: Any) -> Any:
            # Asked again is asked alike: real providers refuse a key that comes with other words.
            if called == "start":
                assert self.asked.setdefault(given[0].id, given[1:]) == given[1:]
            done = await real(*given)
            if called in self.lost:
                self.lost.remove(called)
                raise Unavailable("no answer")
            return done

        return call if called in ("start", "capture", "cancel", "refund", "find") else real


def losing(world: World, *lost: str) -> Losing:
    bank = world.platform.payments
    assert isinstance(bank, BuiltinPayments)
    made = Losing(bank, list(lost))
    world.platform.payments = made
    return made


async def prepaid(world: World, garage: FakeGarage, method: str, hours: float = 2) -> dict[str, Any]:
    booking = await world.book(hours=hours)
    ok(await world.call(booking, "POST", "/prepay", json={"method": method}))
    return booking


async def test_a_card_is_held_and_what_is_due_is_captured_after_the_stay(world: World, garage: FakeGarage) -> None:
    booking = await prepaid(world, garage, "card")
    held = ok(await world.call(booking, "POST", "/prepay"))
    assert (held["state"], held["amount_cents"], held["captured_cents"]) == ("authorised", 600, 0)
    assert await world.entries() == []
    for gate in ("entry", "exit"):
        await garage.scan(booking["grant"], gate)
    await keeping.tick(world.platform)
    assert ok(await world.call(booking, "GET"))["state"] == "paid"
    assert (await sums(world))["provider:builtin"] == 600
    assert len(await receipts(world, booking["id"])) == 1


async def test_an_overstay_is_more_than_was_held_and_the_rest_is_paid_afterwards(
    world: World, garage: FakeGarage
) -> None:
    booking = await prepaid(world, garage, "card")
    await garage.scan(booking["grant"], "entry")
    world.clock.forward(hours=3)
    await garage.scan(booking["grant"], "exit")
    await keeping.tick(world.platform)
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["due_cents"]) == ("exited", 300)
    receipt = ok(await world.call(booking, "POST", "/pay", json={"method": "ideal"}))
    assert receipt["total_cents"] == 900


async def test_a_cancelled_booking_releases_what_was_held_and_gives_back_what_was_paid(
    world: World, garage: FakeGarage
) -> None:
    held, paid = await prepaid(world, garage, "card"), await prepaid(world, garage, "ideal")
    assert await sums(world) == {"provider:builtin": 600, f"prepaid:{paid['id']}": -600}
    for booking in (held, paid):
        ok(await world.call(booking, "DELETE"))
    for _ in range(2):
        await keeping.tick(world.platform)
    assert await sums(world) == {}
    assert ok(await world.call(held, "POST", "/prepay", json={}), 409)["code"] == "wrong_state"


async def test_ideal_is_paid_first_and_what_a_discount_took_off_goes_back(world: World, garage: FakeGarage) -> None:
    from parkube.parking.services import books

    booking = await prepaid(world, garage, "ideal")
    for gate in ("entry", "exit"):
        await garage.scan(booking["grant"], gate)
    await books.discount(world.platform, booking["id"], 250, "Cinema", "d1")
    receipt = ok(await world.call(booking, "POST", "/pay"))
    assert receipt["total_cents"] == 350
    found = await sums(world)
    assert found["provider:builtin"] == 350
    assert not [account for account in found if account.startswith(("prepaid:", "refunds:"))]


async def test_a_payment_that_the_driver_confirms_later_comes_by_webhook(world: World, garage: FakeGarage) -> None:
    booking = await stay(world, garage, paid=False)
    answer = await world.call(booking, "POST", "/pay", json={"method": "later", "return_url": "https://x.example/"})
    order = ok(answer, 202)
    assert (order["state"], order["url"][:8]) == ("pending", "https://")
    assert ok(await world.call(booking, "POST", "/pay", json={"method": "later"}), 202)["id"] == order["id"]
    bank = world.platform.payments
    assert isinstance(bank, BuiltinPayments)
    reference = order["url"].rsplit("/", 1)[1]
    await bank.confirm(reference)
    body = orjson.dumps({"event": "ev_1", "payment": reference})
    path = "/api/v1/provider/builtin/webhook"
    problem(await world.http.post(path, content=body, headers={"X-Signature": "forged"}), 401, "denied")
    assert ok(await world.call(booking, "GET"))["due_cents"] == 600
    for _ in range(3):
        answer = await world.http.post(path, content=body, headers={"X-Signature": bank.sign(body)})
        assert answer.status_code == 204
    assert ok(await world.call(booking, "GET"))["state"] == "paid"
    assert (await sums(world))["provider:builtin"] == 600
    problem(await world.http.post("/api/v1/provider/none/webhook", content=b""), 404, "not_found")


async def test_a_webhook_that_comes_before_the_answer_waits_for_it(world: World, garage: FakeGarage) -> None:
    bank = world.platform.payments
    assert isinstance(bank, BuiltinPayments)
    losing(world, "start")
    booking = await stay(world, garage, paid=False)
    problem(await world.call(booking, "POST", "/pay"), 503, "unavailable")
    async with world.platform.database.reading() as transaction:
        (order,) = await transaction.orders(booking["id"])
    assert (order.state, order.reference) == (OrderState.ASKED, None)
    reference = (await bank.start(order, "again", "")).reference
    body = orjson.dumps({"event": "ev_1", "payment": reference})
    await orders.message(world.platform, "builtin", {"x-signature": bank.sign(body)}, body)
    assert ok(await world.call(booking, "GET"))["due_cents"] == 600
    world.clock.forward(minutes=2)
    for _ in range(2):
        await keeping.tick(world.platform)
    assert ok(await world.call(booking, "GET"))["state"] == "paid"
    assert (await sums(world))["provider:builtin"] == 600
    async with world.platform.database.reading() as transaction:
        assert await transaction.webhooks_waiting("builtin") == []


@pytest.mark.parametrize("lost", ["start", "capture", "cancel", "refund"])
async def test_a_provider_that_times_out_after_doing_it_does_it_once(
    world: World, garage: FakeGarage, lost: str
) -> None:
    provider = losing(world, lost, lost)
    booking = await world.book()
    method = "ideal" if lost == "refund" else "card"
    await world.call(booking, "POST", "/prepay", json={"method": method, "return_url": "https://x.example/back"})
    if lost in ("cancel", "refund"):
        ok(await world.call(booking, "DELETE"))
    else:
        for gate in ("entry", "exit"):
            await garage.scan(booking["grant"], gate)
    for _ in range(4):
        world.clock.forward(minutes=2)
        await keeping.tick(world.platform)
    assert provider.lost == []
    kept = 0 if lost in ("cancel", "refund") else 600
    assert (await sums(world)).get("provider:builtin", 0) == kept
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["due_cents"]) == ("cancelled" if not kept else "paid", 0)


async def test_a_refund_that_cannot_be_sent_now_is_sent_later_and_once(world: World, garage: FakeGarage) -> None:
    booking = await stay(world, garage)
    provider = losing(world, "refund")
    (asked,) = await refunds.give_back(world.platform, booking["id"], 200, "sorry", "k")
    assert asked.state == "asked"
    await world.assert_balanced()
    await keeping.tick(world.platform)
    assert provider.lost == []
    assert (await sums(world))["provider:builtin"] == 400


async def test_a_refund_that_the_provider_refuses_is_open_until_the_bank_has_sent_it(
    world: World, garage: FakeGarage, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await stay(world, garage)

    async def no(*_: Any) -> str:
        raise PaymentRefused("the card is gone")

    monkeypatch.setattr(type(world.platform.payments), "refund", no)
    (back,) = await refunds.give_back(world.platform, booking["id"], 200, "sorry", "k")
    assert back.state is RefundState.REFUSED
    await world.assert_balanced()
    await keeping.tick(world.platform)
    path = "/api/v1/operator/refunds"
    (row,) = ok(await world.http.get(path, headers=OPERATOR))["items"]
    assert (row["booking_id"], row["amount_cents"], row["state"]) == (booking["id"], 200, "refused")
    sent, there = {"bank_reference": "RF-1"}, f"{path}/{back.id}/transferred"
    for _ in range(2):
        assert ok(await world.http.post(there, json=sent, headers=OPERATOR))["state"] == "done"
    problem(await world.http.post(there, json={"bank_reference": "RF-2"}, headers=OPERATOR), 409, "wrong_state")
    problem(await world.http.post(f"{path}/rf_none/transferred", json=sent, headers=OPERATOR), 404, "not_found")
    assert ok(await world.http.get(path, headers=OPERATOR))["items"] == []
    entries = [entry for entry in await world.entries() if entry.kind == "refund"]
    assert [(e.moves[0].debit, e.moves[0].credit, e.total_minor) for e in entries] == [
        (f"refunds:{booking['id']}", "bank:EUR", 200)
    ]
    papers = ok(await world.call(booking, "GET", "/documents"))["items"]
    assert [(paper["kind"], paper["total_cents"]) for paper in papers] == [("receipt", 600), ("credit_note", -200)]


async def test_a_refused_card_leaves_what_is_due_to_be_paid_another_way(world: World, garage: FakeGarage) -> None:
    booking = await stay(world, garage, paid=False)
    problem(await world.call(booking, "POST", "/pay", json={"method": "broke"}), 402, "payment_refused")
    problem(await world.call(booking, "POST", "/pay", json={"method": "shells"}), 422, "invalid")
    assert ok(await world.call(booking, "POST", "/pay"))["total_cents"] == 600


def test_news_of_an_order_may_come_in_any_order_and_twice() -> None:
    order = Order("po_1", "bk_1", "builtin", "card", 600, "EUR", True, START, START)
    told = [
        Held("builtin", "pay_1", OrderState.PENDING, 600, "EUR", url="https://x.example/"),
        Held("builtin", "pay_1", OrderState.AUTHORISED, 600, "EUR"),
        Held("builtin", "pay_1", OrderState.CAPTURED, 600, "EUR", 450),
    ]
    for news in (told, told[::-1], [*told, *told], [told[2], told[0]]):
        after = order
        for one in news:
            after = heard(after, one, START + timedelta(minutes=1))
        assert (after.state, after.captured_minor, after.url) == (OrderState.CAPTURED, 450, None)
        assert heard(after, told[0], START) is after


SETTLED = "kind,reference,amount,fee,currency\n"


async def test_a_settlement_is_compared_with_the_books_and_what_does_not_match_is_named(
    world: World, garage: FakeGarage
) -> None:
    kept = [await stay(world, garage) for _ in range(4)]
    (back,) = await refunds.give_back(world.platform, kept[0]["id"], 200, "sorry", None)
    async with world.platform.database.reading() as transaction:
        references = [(await transaction.orders(booking["id"]))[0].reference for booking in kept]
    window = (START - timedelta(days=1), START + timedelta(days=1))
    whole = SETTLED + "".join(f"payment,{one},6.00,0.25,EUR\n" for one in references)
    whole += f"refund,{back.reference},2.00,0,EUR\n"
    rows = settlements.parse(whole.encode(), "builtin")
    found = await reconciling.reconcile(world.platform, "builtin", rows, *window)
    assert (found.matched, found.mismatches, found.totals) == (5, (), {"EUR": (2200, 100)})
    first, second, third, fourth = references
    faulty = SETTLED + (
        f"payment,{first},6.00,0.25,EUR\npayment,{second},5.00,0.25,EUR\npayment,{third},6.00,0.25,CHF\n"
        f"payment,{first},6.00,0.25,EUR\npayment,pay_stranger,6.00,0.25,EUR\nchargeback,cb_1,-6.00,15.00,EUR\n"
    )
    found = await reconciling.reconcile(
        world.platform, "builtin", settlements.parse(faulty.encode(), "builtin"), *window
    )
    said = {mismatch.reference: mismatch.text for mismatch in found.mismatches}
    assert "2 times" in said[str(first)]
    assert said[str(second)] == "we have 600, the provider 500"
    assert "in EUR, the provider in CHF" in said[str(third)]
    assert "the provider's file has not" in said[str(fourth)]
    assert "our books have not" in said["pay_stranger"]
    assert "took or gave -600" in said["cb_1"]
    for _ in range(2):
        await reconciling.book_settlement(world.platform, "builtin", "st_1", await matched(world, rows))
    sums_after = balances(await world.entries())
    assert (sums_after["bank:EUR", "EUR"], sums_after["fees:builtin", "EUR"]) == (2100, 100)
    assert sums_after["provider:builtin", "EUR"] == 0


async def matched(world: World, rows: Any) -> Any:
    window = (START - timedelta(days=1), START + timedelta(days=1))
    return await reconciling.reconcile(world.platform, "builtin", rows, *window)


@pytest.mark.parametrize("provider", ["stripe", "mollie"])
def test_settlements_of_real_providers_are_read_by_their_own_columns(provider: str) -> None:
    files = {
        "stripe": "balance_transaction_id,reporting_category,gross,fee,currency,payment_metadata[order],"
        "refund_metadata[refund]\ntxn_1,charge,6.00,0.25,eur,po_1,\ntxn_2,refund,-2.00,0,eur,po_1,rf_1\n"
        "txn_3,dispute,-6.00,15.00,eur,,\n",
        "mollie": "Type,ID,Amount,Currency,Fee\npayment,po_1,6.00,EUR,0.25\nrefund,rf_1,-2.00,EUR,\n"
        "chargeback,txn_3,-6.00,EUR,15.00\n",
    }
    rows = settlements.parse(files[provider].encode(), provider)
    assert [(r.kind, r.reference, r.amount_minor, r.fee_minor, r.currency) for r in rows] == [
        ("payment", "po_1", 600, 25, "EUR"), ("refund", "rf_1", 200, 0, "EUR"), ("other", "txn_3", -600, 1500, "EUR"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\n1,2\n", "has no column"),
        (b"\xff\xfe", "UTF-8"),
        (SETTLED.encode() + b"payment,a,x,0,EUR\npayment,b,1.005,0,EUR\n", "line 2 .*; line 3"),
        (SETTLED.encode() + b'payment,"a', "cut"),
    ],
)
def test_a_settlement_that_cannot_be_read_is_refused_whole(data: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        settlements.parse(data, "builtin")
