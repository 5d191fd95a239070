"""Stays as scripts: drive-up, changed, cancelled for a fee, in and out, too long, not come for, no bay, states."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from parkube.parking.domain.garages import Gate
from parkube.parking.domain.tariffs import Step
from parkube.parking.services import keeping
from tests.fakes.parking import OPERATOR, TARIFF, FakeGarage, World, ok, problem

GATES = (Gate("entry", "entry"), Gate("exit", "exit"), Gate("door", "pedestrian"))


async def terms(world: World, garage_id: str = "nl-test", **written: Any) -> Any:
    return ok(await world.http.put(f"/api/v1/owner/garages/{garage_id}/terms", json=written, headers=OPERATOR))


async def site(world: World, state: str, on: bool) -> str:
    body = {"state": state, "on": on}
    answer = ok(await world.http.post("/api/v1/owner/garages/nl-test/site", json=body, headers=OPERATOR))
    return str(answer["state"])


async def start(world: World, **more: Any) -> Any:
    return await world.http.post("/api/v1/driver/stays", json={"garage_id": "nl-test", **more})


def at(world: World, **later: float) -> str:
    return (world.clock.now + timedelta(**later)).isoformat()


async def test_a_drive_up_pays_from_start_to_exit(world: World, garage: FakeGarage) -> None:
    stay = ok(await start(world, plate="AB-12-CD"), 201)
    assert (stay["state"], stay["drive_up"], stay["price_cents"]) == ("entered", True, 0)
    world.clock.forward(minutes=95)
    assert ok(await world.call(stay, "POST", "/open", json={"gate": "exit"}))["state"] == "opened"
    after = ok(await world.call(stay, "GET"))
    assert (after["state"], after["due_cents"]) == ("exited", 600)
    assert ok(await world.call(stay, "POST", "/pay"))["total_cents"] == 600


async def test_a_drive_up_that_leaves_within_the_grace_at_the_entry_pays_nothing(
    world: World, garage: FakeGarage
) -> None:
    stay = ok(await start(world), 201)
    world.clock.forward(minutes=14)
    ok(await world.call(stay, "POST", "/open", json={"gate": "exit"}))
    assert ok(await world.call(stay, "GET"))["due_cents"] == 0


@pytest.mark.parametrize("how", ["silent", "broken", "away"])
async def test_a_gate_that_does_not_open_is_an_error_and_no_stay(
    world: World, garage: FakeGarage, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parkube.parking.services.gates.ANSWER_WITHIN_S", 0.05)
    if how == "silent":
        garage.silent = True
        problem(await start(world), 503, "gate_silent")
    elif how == "broken":
        garage.fails_at = "relay"
        problem(await start(world), 409, "relay")
    else:
        garage.disconnect()
        problem(await start(world), 503, "offline")
    async with world.platform.database.reading() as transaction:
        assert await transaction.holding() == []
    assert world.platform.index.get("nl-test").taken.most(0, 4e9) == 0  # type: ignore[union-attr]


async def test_a_start_needs_a_bay_and_no_other_running_stay(world: World, garage: FakeGarage) -> None:
    await world.garage("nl-other", capacity=5)
    first = ok(await start(world, plate="AB-12-CD"), 201)
    problem(await start(world, plate="ab12cd"), 409, "already_parked")
    two = {"plate": "ab-12-cd", "at_once": 2}
    ok(await world.http.put("/api/v1/operator/allowances", json=two, headers=OPERATOR))
    problem(await world.http.put("/api/v1/operator/allowances", json={"at_once": 2}, headers=OPERATOR), 422, "invalid")
    ok(await start(world, plate="AB-12-CD"), 201)
    problem(await start(world, plate="XY-99-ZZ"), 409, "no_free_bay")
    # Nor does a booked stay begin beside a running one.
    quote = await world.quote("nl-other")
    body = {"quote_id": quote["id"], "plate": "AB-12-CD"}
    booked = ok(await world.http.post("/api/v1/driver/bookings", json=body), 201)
    problem(await world.call(booked, "POST", "/open", json={"gate": "entry"}), 409, "already_parked")
    assert first["state"] == "entered"


async def test_the_same_start_again_is_the_same_stay(world: World, garage: FakeGarage) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"garage_id": "nl-test"}
    first = ok(await world.http.post("/api/v1/driver/stays", json=body, headers=key), 201)
    again = ok(await world.http.post("/api/v1/driver/stays", json=body, headers=key), 201)
    assert first["id"] == again["id"]
    assert len([c for c in garage.commands if c["kind"] == "open"]) == 1


async def test_a_booking_is_extended_shortened_and_gets_another_plate(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    assert "nothing is to change" in problem(await world.call(booking, "PATCH", json={}), 422, "invalid")["detail"]
    preview = ok(await world.call(booking, "PATCH", "?preview=true", json={"to": at(world, hours=3)}))
    assert (preview["difference_cents"], ok(await world.call(booking, "GET"))["to"]) == (300, booking["to"])
    longer = ok(await world.call(booking, "PATCH", json={"to": at(world, hours=3), "plate": "XY-1-Z"}))
    assert (longer["booking"]["price_cents"], longer["booking"]["plate"]) == (900, "XY-1-Z")
    assert await garage.scan(longer["booking"]["grant"], "entry") == ""
    world.clock.forward(minutes=30)
    shorter = ok(await world.call(booking, "PATCH", json={"to": at(world, minutes=30)}))
    assert shorter["booking"]["price_cents"] == 300
    assert [n["kind"] for n in shorter["booking"]["notices"]] == ["extended", "plate_changed", "shortened"]
    problem(await world.call(booking, "PATCH", json={"to": at(world, hours=-1)}), 422, "invalid_window")
    said = problem(await world.call(booking, "PATCH", json={"to": "soon", "plate": "?"}), 422, "invalid")
    assert [fault["field"] for fault in said["errors"]] == ["to", "plate"]
    world.clock.forward(minutes=25)
    await garage.scan(booking["grant"], "exit")
    assert ok(await world.call(booking, "GET"))["due_cents"] == 300
    problem(await world.call(booking, "PATCH", json={"to": at(world, hours=3)}), 409, "wrong_state")


async def test_a_booking_is_not_extended_into_anothers_bay(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    for _ in range(2):
        await world.book(start=world.clock.now + timedelta(hours=2))
    problem(await world.call(booking, "PATCH", json={"to": at(world, hours=3)}), 409, "no_free_bay")


async def test_giving_up_costs_what_the_terms_said_when_it_was_booked(world: World, garage: FakeGarage) -> None:
    await terms(world, cancelling={"free_until_minutes": 60, "fee_percent": 50, "no_show_percent": 100})
    early = await world.book(start=world.clock.now + timedelta(hours=2))
    late = await world.book(start=world.clock.now + timedelta(hours=2))
    await terms(world)
    assert ok(await world.call(early, "DELETE"))["due_cents"] == 0
    world.clock.forward(minutes=61)
    assert ok(await world.call(late, "DELETE"))["due_cents"] == 300
    assert ok(await world.call(late, "DELETE"))["due_cents"] == 300
    receipt = ok(await world.call(late, "POST", "/pay"))
    assert (receipt["total_cents"], receipt["lines"][0]["text"]) == (300, "Cancelled")
    assert ok(await world.call(late, "POST", "/pay"))["number"] == receipt["number"]
    problem(await world.call(early, "POST", "/pay"), 409, "nothing_due")


async def test_nobody_came_and_it_costs_what_was_agreed(world: World, garage: FakeGarage) -> None:
    await terms(world, cancelling={"no_show_percent": 100})
    booking = await world.book()
    world.clock.forward(hours=3)
    await keeping.tick(world.platform)
    after = ok(await world.call(booking, "GET"))
    assert (after["state"], after["due_cents"], after["notices"][0]["kind"]) == ("expired", 600, "no_show")
    # The entry was only late: what a garage reports is a fact, and the stay costs what it costs, once.
    garage.events.append({"seq": 1, "at": world.clock.now - timedelta(hours=2), "kind": "opened", "gate": "entry",
                          "booking": booking["id"]})  # fmt: skip
    await garage.send()
    await garage.scan(booking["grant"], "exit")
    assert ok(await world.call(booking, "GET"))["due_cents"] == 900


async def test_in_and_out_within_the_booked_time(world: World, garage: FakeGarage) -> None:
    await terms(world, in_out=True)
    booking = await world.book()
    for gate in ("entry", "exit", "entry", "exit"):
        world.clock.forward(minutes=10)
        assert ok(await world.call(booking, "POST", "/open", json={"gate": gate}))["state"] == "opened"
        assert ok(await world.call(booking, "GET"))["state"] == "entered"
    await world.book()
    problem(await world.http.post("/api/v1/driver/stays", json={"garage_id": "nl-test"}), 409, "no_free_bay")
    world.clock.forward(hours=2)
    await keeping.tick(world.platform)
    after = ok(await world.call(booking, "GET"))
    assert (after["state"], after["due_cents"]) == ("exited", 600)


async def test_early_within_the_grace_and_not_before(world: World, garage: FakeGarage) -> None:
    booking = await world.book(start=world.clock.now + timedelta(minutes=30))
    problem(await world.call(booking, "POST", "/open", json={"gate": "entry"}), 409, "too_early")
    assert await garage.scan(booking["grant"], "entry") == "not_yet"
    world.clock.forward(minutes=15)
    assert await garage.scan(booking["grant"], "entry") == ""


async def test_an_overstay_is_told_charged_and_meets_the_next_booking(world: World, garage: FakeGarage) -> None:
    first, second = await world.book(), await world.book()
    for booking in (first, second):
        await garage.scan(booking["grant"], "entry")
    early = await world.book(start=world.clock.now + timedelta(hours=2))
    world.clock.forward(seconds=1)
    late = await world.book(start=world.clock.now + timedelta(hours=2))
    world.clock.forward(minutes=115)
    await keeping.tick(world.platform)
    assert [n["kind"] for n in ok(await world.call(first, "GET"))["notices"]] == ["ends_soon"]
    await garage.scan(second["grant"], "exit")
    world.clock.forward(minutes=20)
    await keeping.tick(world.platform)
    await keeping.tick(world.platform)
    assert [n["kind"] for n in ok(await world.call(first, "GET"))["notices"]] == ["ends_soon", "overstayed"]
    assert [n["kind"] for n in ok(await world.call(late, "GET"))["notices"]] == ["at_risk"]
    assert ok(await world.call(early, "GET"))["notices"] == []
    # Who came first has the bay; the other gets the money back, and it costs nothing.
    problem(await world.call(late, "POST", "/guarantee", json={"wish": "money"}), 409, "bay_free")
    ok(await world.call(late, "POST", "/prepay", json={}))
    assert await garage.scan(early["grant"], "entry") == ""
    back = ok(await world.call(late, "POST", "/guarantee", json={"wish": "money"}))
    assert (back["state"], back["due_cents"]) == ("cancelled", 0)
    await keeping.tick(world.platform)
    await garage.scan(first["grant"], "exit")
    assert ok(await world.call(first, "GET"))["due_cents"] == 750


async def test_a_driver_without_a_bay_gets_another_garage_for_no_more(world: World, garage: FakeGarage) -> None:
    await world.garage("nl-near", capacity=1, latitude=52.091)
    booking = await world.book()
    problem(await world.call(booking, "POST", "/guarantee", json={"wish": "another"}), 409, "bay_free")
    await site(world, "maintenance", True)
    another = ok(await world.call(booking, "POST", "/guarantee", json={"wish": "another"}))
    assert another["garage"]["id"] == "nl-near"
    assert another["price_cents"] <= booking["price_cents"]
    again = ok(await world.call(booking, "POST", "/guarantee", json={"wish": "another"}))
    assert again["id"] == another["id"]
    first = ok(await world.call(booking, "GET"))
    assert (first["state"], first["due_cents"], first["replaced_by"]) == ("cancelled", 0, another["id"])


async def test_who_is_inside_and_finds_no_bay_pays_nothing(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    await garage.scan(booking["grant"], "entry")
    ok(await world.http.post("/api/v1/owner/garages/nl-test/recounts", json={"occupied": 2}, headers=OPERATOR), 201)
    ok(await world.call(booking, "POST", "/guarantee", json={"wish": "money"}))
    world.clock.forward(minutes=10)
    await garage.scan(booking["grant"], "exit")
    assert ok(await world.call(booking, "GET"))["due_cents"] == 0


async def test_who_paid_ahead_and_finds_no_bay_gets_the_money_back(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    ok(await world.call(booking, "POST", "/prepay", json={"method": "ideal"}))
    assert [(entry.kind, entry.total_minor) for entry in await world.entries()] == [("prepayment", 600)]
    await site(world, "maintenance", True)
    ok(await world.call(booking, "POST", "/guarantee", json={"wish": "money"}))
    await keeping.tick(world.platform)
    given_back = [entry for entry in await world.entries() if entry.kind == "refund"]
    assert [(entry.moves[0].credit, entry.total_minor) for entry in given_back] == [("provider:builtin", 600)]
    await world.assert_balanced()


async def test_the_states_of_a_garage(world: World, garage: FakeGarage) -> None:
    booking = await world.book()
    inside = ok(await start(world), 201)
    for state in ("full", "closed", "maintenance", "evacuated"):
        assert await site(world, state, True) == state
        problem(await start(world), 409, state)
        if state != "full":
            problem(await world.call(booking, "POST", "/open", json={"gate": "entry"}), 409, state)
    assert [c["state"] for c in garage.commands if c["kind"] == "site"][-1] == "evacuated"
    # Nobody is kept inside.
    assert ok(await world.call(inside, "POST", "/open", json={"gate": "exit"}))["state"] == "opened"
    assert await site(world, "evacuated", False) == "maintenance"
    for state in ("maintenance", "closed", "full"):
        await site(world, state, False)
    ok(await start(world), 201)
    garage.disconnect()
    await site(world, "closed", True)
    await garage.connect()
    assert [c["state"] for c in garage.commands if c["kind"] == "site"][-1] == "closed"


async def test_doors_for_people_are_no_visit(world: World) -> None:
    await world.garage(gates=GATES)
    garage = await FakeGarage(world).connect()
    booking = await world.book(start=world.clock.now + timedelta(minutes=10))
    assert booking["garage"]["doors"] == ["door"]
    for _ in range(2):
        assert ok(await world.call(booking, "POST", "/open", json={"gate": "door"}))["state"] == "opened"
    assert ok(await world.call(booking, "GET"))["state"] == "booked"
    await garage.scan(booking["grant"], "entry")
    assert ok(await world.call(booking, "POST", "/open", json={"gate": "door"}))["state"] == "opened"
    await garage.scan(booking["grant"], "exit")
    problem(await world.call(booking, "POST", "/open", json={"gate": "door"}), 409, "wrong_state")


async def test_credentials_reach_their_garage_now_or_when_it_is_back(world: World, garage: FakeGarage) -> None:
    quote = await world.quote()
    body = {"quote_id": quote["id"], "plate": "AB-12-CD"}
    booking = ok(await world.http.post("/api/v1/driver/bookings", json=body), 201)
    pin = ok(await world.call(booking, "POST", "/credentials", json={"kind": "pin"}), 201)["value"]
    assert len(pin) == 6
    assert ok(await world.call(booking, "POST", "/credentials", json={"kind": "pin"}), 201)["value"] == pin
    garage.disconnect()
    ok(await world.call(booking, "POST", "/credentials", json={"kind": "rfid", "value": "04:a2:24:b1"}), 201)
    await garage.connect()
    told = [c for c in garage.commands if c["kind"] == "access"][-1]
    assert {(c["kind"], c["value"]) for c in told["credentials"]} == {
        ("plate", "AB12CD"), ("pin", pin), ("rfid", "04A224B1"),
    }  # fmt: skip
    other = await world.book()
    card = {"kind": "rfid", "value": "04a224b1"}
    problem(await world.call(other, "POST", "/credentials", json=card), 409, "credential_in_use")
    problem(await world.call(other, "POST", "/credentials", json={"kind": "rfid", "value": "x"}), 422, "invalid")
    world.clock.forward(hours=27)
    await keeping.tick(world.platform)
    async with world.platform.database.reading() as transaction:
        assert await transaction.credentials("nl-test") == []


async def test_entry_exit_and_booking_grace_are_three_different_things(world: World) -> None:
    tariff = replace(TARIFF, entry_grace_minutes=20, exit_grace_minutes=5, booking_grace_minutes=10)
    await world.garage(tariff=tariff, capacity=5)
    garage = await FakeGarage(world).connect()
    await terms(world, cancelling={"free_until_minutes": 600, "fee_percent": 100})
    start_at = world.clock.now + timedelta(minutes=60)
    given_up, kept, parked = [await world.book(start=start_at) for _ in range(3)]
    world.clock.forward(minutes=9)
    assert ok(await world.call(given_up, "DELETE"))["due_cents"] == 0
    world.clock.forward(minutes=1)
    assert ok(await world.call(kept, "DELETE"))["due_cents"] == 600
    world.clock.forward(minutes=29)
    assert await garage.scan(parked["grant"], "entry") == "not_yet"
    world.clock.forward(minutes=1)
    assert await garage.scan(parked["grant"], "entry") == ""
    world.clock.now = start_at + timedelta(hours=2, minutes=5)
    await garage.scan(parked["grant"], "exit")
    assert ok(await world.call(parked, "GET"))["due_cents"] == 600


async def test_a_price_stays_as_it_was_quoted(world: World, garage: FakeGarage) -> None:
    quote = await world.quote()
    await world.garage(tariff=replace(TARIFF, steps=(Step(0, 30, 900),)))
    booking = ok(await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}), 201)
    assert booking["price_cents"] == 600
    longer = ok(await world.call(booking, "PATCH", json={"to": at(world, hours=3)}))
    assert longer["booking"]["price_cents"] == 900


async def test_a_plate_is_kept_raw_normalised_and_with_its_country(world: World, garage: FakeGarage) -> None:
    quote = await world.quote()
    body = {"quote_id": quote["id"], "plate": " k-äb 123", "plate_country": "DE"}
    booking = ok(await world.http.post("/api/v1/driver/bookings", json=body), 201)
    async with world.platform.database.reading() as transaction:
        known = await transaction.booking(booking["id"])
    assert known is not None
    assert (known.plate_raw, known.plate_normal, known.plate_country) == ("k-äb 123", "KAB123", "DE")
    problem(await world.call(booking, "PATCH", json={"plate": "<x>"}), 422, "invalid")
    wrong = {"quote_id": quote["id"], "plate_country": "Germany"}
    problem(await world.http.post("/api/v1/driver/bookings", json=wrong), 422, "invalid")


async def test_all_faults_of_a_start_are_named_and_nothing_is_written(world: World, garage: FakeGarage) -> None:
    answer = await start(world, bay_kind="boat", vehicle={"height_m": -1, "wheels": 3}, plate="x" * 20)
    assert len(problem(answer, 422, "invalid")["errors"]) == 4
    async with world.platform.database.reading() as transaction:
        assert await transaction.holding() == []
