"""The driver's story on both databases: search, quote, book, open, stay, exit, charge, receipt."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from parkube.parking.domain.ledger import balances
from tests.fakes.parking import OPERATOR, FakeGarage, World, ok, problem


async def test_the_whole_story_with_the_link_up(world: World, garage: FakeGarage) -> None:
    found = ok(await world.http.get("/api/v1/driver/garages", params={"lat": 52.09, "lon": 5.121}))["items"][0]
    assert (found["id"], found["free_bays"], found["price_cents"], found["online"]) == ("nl-test", 2, 600, True)
    booking = await world.book()
    assert (booking["state"], booking["price_cents"], booking["due_cents"]) == ("booked", 600, 0)
    assert booking["qr_svg"].startswith("<svg")
    assert ok(await world.call(booking, "POST", "/open", json={"gate": "entry"}))["state"] == "opened"
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["session"]["state"]) == ("entered", "running")
    world.clock.forward(hours=1, minutes=50)
    problem(await world.call(booking, "POST", "/pay"), 409, "wrong_state")
    assert ok(await world.call(booking, "POST", "/open", json={"gate": "exit"}))["state"] == "opened"
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["due_cents"]) == ("exited", 600)
    paid = await asyncio.gather(*(world.call(booking, "POST", "/pay") for _ in range(5)))
    receipt = ok(paid[0])
    assert (receipt["number"], receipt["total_cents"], receipt["vat_cents"], receipt["net_cents"]) == (1, 600, 104, 496)
    assert all(ok(answer) == receipt for answer in paid)
    assert ok(await world.call(booking, "GET", "/receipt")) == receipt
    assert ok(await world.call(booking, "GET"))["state"] == "paid"
    sums = balances(await world.entries())
    assert sums[("garage:nl-test", "EUR")] == -496
    assert sums[("provider:builtin", "EUR")] == 600
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 2


async def test_a_search_has_the_price_and_the_bays_of_its_own_window(world: World, garage: FakeGarage) -> None:
    await world.garage("nl-far", latitude=52.1, longitude=5.13, name="Far")
    start = world.clock.now + timedelta(hours=3)
    await world.book(start=start, hours=2)

    async def found(after_h: float, hours: float) -> list[tuple[str, int, int]]:
        begin = start + timedelta(hours=after_h)
        window = {"from": begin.isoformat(), "to": (begin + timedelta(hours=hours)).isoformat()}
        asked = {"lat": 52.09, "lon": 5.12, **window}
        items = ok(await world.http.get("/api/v1/driver/garages", params=asked))["items"]
        return [(one["id"], one["price_cents"], one["free_bays"]) for one in items]

    assert await found(1.5, 1) == [("nl-test", 300, 1), ("nl-far", 300, 2)]  # the nearest first
    assert await found(2, 3) == [("nl-test", 900, 2), ("nl-far", 900, 2)]
    assert (await found(-2, 2))[0] == ("nl-test", 600, 2)


async def test_offline_from_booking_to_exit_every_event_is_there_once(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    garage.disconnect()
    refused = ok(await world.call(booking, "POST", "/open", json={"gate": "entry"}))
    assert (refused["state"], refused["code"]) == ("refused", "offline")
    assert "QR code" in refused["reason"]
    assert await garage.scan(booking["grant"], "entry") == ""
    assert await garage.scan(booking["grant"], "entry") == "used"
    world.clock.forward(hours=2, minutes=45)
    assert await garage.scan(booking["grant"], "exit") == ""
    assert ok(await world.call(booking, "GET"))["state"] == "booked"
    world.clock.forward(minutes=5)
    await garage.connect()
    await garage.send(since=0)
    await garage.send(since=1)
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["due_cents"]) == ("exited", 900)
    assert shown["session"]["exited_at"] == "2026-05-04T10:45:00Z"
    async with world.platform.database.reading() as transaction:
        assert [event.seq for event in await transaction.events("nl-test")] == [1, 2, 3]
    receipt = ok(await world.call(booking, "POST", "/pay"))
    assert [line["amount_cents"] for line in receipt["lines"]] == [600, 300]
    assert "Overstay of 0 h 45 min" in receipt["lines"][1]["text"]


async def test_two_hundred_ask_for_the_last_bay_at_once(world: World) -> None:
    await world.garage(capacity=3)
    await world.book()
    await world.book()
    quotes = [await world.quote() for _ in range(200)]
    answers = await asyncio.gather(
        *(world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}) for quote in quotes)
    )
    assert sorted({answer.status_code for answer in answers}) == [201, 409]
    assert sum(answer.status_code == 201 for answer in answers) == 1
    assert all(answer.json()["code"] == "no_free_bay" for answer in answers if answer.status_code == 409)
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 0


async def test_a_booking_is_made_once_however_often_it_is_asked_for(world: World, garage: FakeGarage) -> None:
    quote, other = await world.quote(), await world.quote()
    key = {"Idempotency-Key": "k1"}
    first, *rest = await asyncio.gather(
        *(world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}, headers=key) for _ in range(5))
    )
    assert all(ok(answer, 201)["id"] == ok(first, 201)["id"] for answer in rest)
    again = await world.http.post("/api/v1/driver/bookings", json={"quote_id": other["id"]}, headers=key)
    problem(again, 409, "idempotency_key_reused")
    unkeyed = await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}, headers={})
    problem(unkeyed, 409, "quote_used")


async def test_a_cancelled_booking_gives_its_bay_back_and_its_grant_is_revoked(
    world: World, garage: FakeGarage
) -> None:
    booking = await world.book()
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 1
    assert ok(await world.call(booking, "DELETE"))["state"] == "cancelled"
    assert ok(await world.call(booking, "DELETE"))["state"] == "cancelled"
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 2
    assert garage.commands[0]["kind"] == "revoke"
    problem(await world.call(booking, "POST", "/open", json={"gate": "entry"}), 409, "wrong_state")
    # The QR code may have opened an offline gate before the garage heard of it: then it is a stay, and charged.
    await garage.report("opened", "entry", booking=booking["id"])
    assert ok(await world.call(booking, "GET"))["state"] == "entered"


async def test_bookings_side_by_side_share_a_bay_and_overstays_do_not(world: World) -> None:
    await world.garage(capacity=1)
    garage = await FakeGarage(world).connect()
    morning = await world.book(hours=2)
    later = world.clock.now + timedelta(hours=2)
    await world.book(start=later, hours=1)
    assert await garage.scan(morning["grant"], "entry") == ""
    quote = await world.quote(start=later + timedelta(hours=1), hours=1)
    world.clock.forward(minutes=14)
    ok(await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}), 201)
    world.clock.forward(hours=5)
    taken = await world.quote(hours=1)
    refused = await world.http.post("/api/v1/driver/bookings", json={"quote_id": taken["id"]})
    problem(refused, 409, "no_free_bay")


async def test_what_the_gate_may_not_do_is_said(world: World, garage: FakeGarage) -> None:
    tomorrow = await world.book(start=world.clock.now + timedelta(days=1))
    problem(await world.call(tomorrow, "POST", "/open", json={"gate": "entry"}), 409, "too_early")
    problem(await world.call(tomorrow, "POST", "/open", json={"gate": "exit"}), 409, "wrong_state")
    problem(await world.call(tomorrow, "POST", "/open", json={"gate": "roof"}), 422, "invalid")
    booking = await world.book()
    garage.fails_at = "relay"
    refused = ok(await world.call(booking, "POST", "/open", json={"gate": "entry"}))
    assert (refused["state"], refused["code"]) == ("refused", "relay")
    assert ok(await world.call(booking, "GET"))["state"] == "booked"
    stranger = {"id": booking["id"], "secret": tomorrow["secret"]}
    problem(await world.call(stranger, "GET"), 401, "denied")
    problem(await world.http.get(f"/api/v1/driver/bookings/{booking['id']}"), 401, "no_token")


async def test_a_lost_exit_is_soft_closed_and_a_later_exit_reopens_it(world: World, garage: FakeGarage) -> None:
    from parkube.parking.services import keeping

    booking = await world.book()
    await garage.scan(booking["grant"], "entry")
    garage.disconnect()
    world.clock.forward(hours=3)
    await garage.scan(booking["grant"], "exit")
    world.clock.forward(hours=24)
    await keeping.tick(world.platform)
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["session"]["state"], shown["due_cents"]) == ("exited", "soft_closed", 600)
    ok(await world.call(booking, "POST", "/pay"))
    await garage.connect()
    shown = ok(await world.call(booking, "GET"))
    assert (shown["state"], shown["session"]["state"], shown["due_cents"]) == ("exited", "closed", 300)
    receipt = ok(await world.call(booking, "POST", "/pay"))
    assert (receipt["number"], receipt["total_cents"], receipt["lines"][-1]["amount_cents"]) == (2, 300, -600)


async def test_a_booking_nobody_came_for_expires(world: World, garage: FakeGarage) -> None:
    from parkube.parking.services import keeping

    booking = await world.book()
    world.clock.forward(hours=3)
    await keeping.tick(world.platform)
    assert ok(await world.call(booking, "GET"))["state"] == "expired"
    assert ok(await world.http.get("/api/v1/operator/fleet", headers=OPERATOR))["garages"][0]["free_bays"] == 2
