"""What an owner shares: quotas by the hour, days without, blackouts, opening hours, limits; faults named at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.parking.domain.errors import Conflict, Invalid
from parkube.parking.domain.sharing import Hold, Terms, Vehicle, check_room, check_vehicle, is_open, room, supply
from parkube.parking.domain.sharing_written import read_terms, write_terms
from parkube.parking.domain.tariffs import Step
from parkube.parking.domain.tariffs.model import Variant
from parkube.parking.domain.times import Window
from tests.fakes.parking import OPERATOR, TARIFF, World, ok, problem

ZONE = "Europe/Amsterdam"
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri"]
OFFICE = {
    "shared": [
        {"bays": 10, "days": WEEKDAYS, "from": "18:00", "to": "07:00"},
        {"bays": "all", "days": ["sat", "sun"]},
    ],
    "none_on": [5],
}


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def bays(terms: Terms, at: str, capacity: int = 25) -> int:
    start = local(at)
    return room(terms, capacity, ZONE, "standard", Window(start, start + timedelta(minutes=1)), ())


def test_ten_bays_on_weekdays_18_to_7_all_at_weekends_none_on_the_5th() -> None:
    terms = read_terms(OFFICE, 25, ZONE)
    for at, expected in {
        "2026-05-04T17:59+02:00": 0,
        "2026-05-04T18:00+02:00": 10,
        "2026-05-04T23:59+02:00": 10,
        "2026-05-05T00:00+02:00": 0,
        "2026-05-05T20:00+02:00": 0,
        "2026-05-06T06:59+02:00": 10,
        "2026-05-06T07:00+02:00": 0,
        "2026-05-09T03:00+02:00": 25,
        "2026-05-10T23:59+02:00": 25,
        "2026-05-11T00:00+02:00": 0,
        # Both nights on which the clocks change.
        "2026-03-28T23:00+01:00": 25,
        "2026-10-26T06:30+01:00": 0,
        "2026-10-26T18:00+01:00": 10,
    }.items():
        assert bays(terms, at) == expected, at
    night = Window(local("2026-05-06T19:00+02:00"), local("2026-05-07T06:00+02:00"))
    taken = [Hold(night.start.timestamp(), night.end.timestamp())] * 10
    check_room(terms, 25, ZONE, "standard", night, taken[:9], "The office")
    with pytest.raises(Conflict) as full:
        check_room(terms, 25, ZONE, "standard", night, taken, "The office")
    assert full.value.code == "no_free_bay"
    with pytest.raises(Conflict) as day:
        check_room(terms, 25, ZONE, "standard", Window(night.start, night.end + timedelta(hours=2)), (), "The office")
    assert day.value.code == "not_shared"


def test_opening_hours_are_for_coming_and_going() -> None:
    terms = read_terms({"opening": [{"from": "06:00", "to": "23:00"}]}, 5, ZONE)

    def check(start: str, end: str) -> None:
        window = Window(local(f"2026-05-{start}+02:00"), local(f"2026-05-{end}+02:00"))
        check_room(terms, 5, ZONE, "standard", window, (), "It")

    assert not is_open(terms, ZONE, local("2026-05-04T05:59+02:00"))
    check("04T22:00", "05T06:30")
    check("04T20:00", "04T23:00")
    with pytest.raises(Conflict, match="is closed at 23:29"):
        check("04T22:00", "04T23:30")


def test_a_vehicle_that_does_not_fit_is_told_all_of_why() -> None:
    terms = read_terms({"limits": {"height_m": 2.1, "weight_kg": 2500, "vehicles": ["car"]}}, 5, ZONE)
    with pytest.raises(Invalid) as refused:
        check_vehicle(terms, 1.9, Vehicle("camper", 2.0, 9.0, 3500), "It")
    assert [field for field, _ in refused.value.faults] == ["vehicle.height_m", "vehicle.weight_kg", "vehicle.kind"]
    check_vehicle(terms, None, Vehicle("car", 2.0), "It")
    check_vehicle(terms, 1.9, Vehicle(), "It")


def test_every_fault_of_written_terms_is_named_at_once() -> None:
    wrong: dict[str, Any] = {
        "bays": {"standard": 20, "bicycle": 3},
        "shared": [{"bays": -1, "days": ["monday"], "from": "25:00", "to": "07:00"}, 7, {"kind": "ev"}],
        "none_on": ["2026-02-30", 32],
        "blackouts": [{"from": "2026-03-29T02:30", "to": "x"}],
        "limits": {"height_m": "high", "vehicles": ["tank"]},
        "cancelling": {"fee_percent": 101},
        "in_out": "yes",
        "drive_up_minutes": 100_000,
        "weather": "fine",
    }
    with pytest.raises(Invalid) as refused:
        read_terms(wrong, 10, ZONE)
    assert {field for field, _ in refused.value.faults} == {
        "weather", "bays.bicycle", "bays", "none_on[0]", "none_on[1]", "shared[0].days", "shared[0].from",
        "shared[0].bays", "shared[1]", "shared[2].kind", "blackouts[0].from", "blackouts[0].to", "limits.height_m",
        "limits.vehicles", "cancelling.fee_percent", "in_out", "drive_up_minutes",
    }  # fmt: skip


async def test_terms_with_faults_change_nothing(world: World) -> None:
    await world.garage(capacity=5)
    path = "/api/v1/owner/garages/nl-test/terms"
    kept = ok(await world.http.put(path, json={"shared": [{"bays": 2}]}, headers=OPERATOR))
    refused = problem(
        await world.http.put(path, json={"shared": [{"bays": 3, "from": "x"}], "in_out": 3}, headers=OPERATOR),
        422, "invalid_terms",
    )  # fmt: skip
    assert len(refused["errors"]) == 3
    assert ok(await world.http.get(path, headers=OPERATOR)) == kept
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 2


async def test_who_comes_out_of_hours_or_does_not_fit_is_refused_before_anything_is_promised(world: World) -> None:
    await world.garage(capacity=5)
    terms = {"opening": [{"from": "06:00", "to": "23:00"}], "limits": {"height_m": 2.1, "vehicles": ["car"]}}
    ok(await world.http.put("/api/v1/owner/garages/nl-test/terms", json=terms, headers=OPERATOR))

    async def quoted(hours_from_now: int, **vehicle: Any) -> Any:
        begin = world.clock.now + timedelta(hours=hours_from_now)
        body = {"garage_id": "nl-test", "from": begin.isoformat(), "to": (begin + timedelta(hours=1)).isoformat()}
        return await world.http.post("/api/v1/driver/quotes", json=body | {"vehicle": vehicle})

    ok(await quoted(1, kind="car", height_m=2.0), 201)
    problem(await quoted(15), 409, "closed")  # at one in the night
    refused = problem(await quoted(1, kind="camper", height_m=2.5), 422, "vehicle_does_not_fit")
    assert [fault["field"] for fault in refused["errors"]] == ["vehicle.height_m", "vehicle.kind"]
    stay = {"garage_id": "nl-test", "gate": "entry", "vehicle": {"height_m": 2.5}}
    problem(await world.http.post("/api/v1/driver/stays", json=stay), 422, "vehicle_does_not_fit")
    world.clock.forward(hours=15)
    problem(await world.http.post("/api/v1/driver/stays", json=stay | {"vehicle": {}}), 409, "closed")


async def test_a_blackout_keeps_the_bookings_that_were_made(world: World) -> None:
    await world.garage(capacity=5)
    booking = await world.book(start=world.clock.now + timedelta(hours=1))
    dark = {"from": world.clock.now.isoformat(), "to": (world.clock.now + timedelta(days=1)).isoformat()}
    ok(await world.http.put("/api/v1/owner/garages/nl-test/terms", json={"blackouts": [dark]}, headers=OPERATOR))
    assert ok(await world.call(booking, "GET"))["state"] == "booked"
    begin = world.clock.now + timedelta(hours=1)
    body = {"garage_id": "nl-test", "from": begin.isoformat(), "to": (begin + timedelta(hours=1)).isoformat()}
    problem(await world.http.post("/api/v1/driver/quotes", json=body), 409, "not_shared")
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 0


async def test_bays_by_kind_are_sold_apart(world: World) -> None:
    await world.garage(capacity=3)
    ok(await world.http.put("/api/v1/owner/garages/nl-test/terms", json={"bays": {"standard": 2, "ev": 1}},
                            headers=OPERATOR))  # fmt: skip
    begin, end = world.clock.now, world.clock.now + timedelta(hours=1)
    outcomes = []
    for kind in ("ev", "ev", "standard", "standard", "standard", "accessible"):
        body = {"garage_id": "nl-test", "from": begin.isoformat(), "to": end.isoformat(), "bay_kind": kind}
        answer = await world.http.post("/api/v1/driver/quotes", json=body)
        if answer.status_code == 201:
            answer = await world.http.post("/api/v1/driver/bookings", json={"quote_id": answer.json()["id"]})
        outcomes.append(answer.json().get("code") or answer.json()["bay_kind"])
    assert outcomes == ["ev", "no_free_bay", "standard", "standard", "no_free_bay", "no_such_bay"]


HOURS = st.builds(
    lambda bays, days, start, end: {"bays": bays, "days": days, "from": f"{start:02d}:30", "to": f"{end:02d}:00"},
    st.integers(0, 9), st.lists(st.sampled_from([*WEEKDAYS, "sat", "sun"]), unique=True), st.integers(0, 23),
    st.integers(0, 23),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(HOURS, max_size=4), st.integers(0, 48 * 10), st.integers(1, 100),
       st.lists(st.tuples(st.integers(-20, 100), st.integers(1, 30)), max_size=8))  # fmt: skip
def test_room_is_what_a_look_at_every_half_hour_finds(
    shared: list[dict[str, Any]], start: int, length: int, held: list[tuple[int, int]]
) -> None:
    terms = read_terms({"shared": shared, "none_on": ["2026-10-26"]}, 9, ZONE)
    begin = local("2026-10-20T00:00+02:00") + timedelta(minutes=30 * start)
    window = Window(begin, begin + timedelta(minutes=30 * length))
    base = begin.timestamp()
    holds = [Hold(base + 1800 * a, base + 1800 * (a + n)) for a, n in held]
    least = 99
    for half_hour in range(length):
        at = base + 1800 * half_hour
        when = datetime.fromtimestamp(at, UTC)
        one = supply(terms, 9, ZONE, None, Window(when, when + timedelta(seconds=1)))[0][2]
        least = min(least, one - sum(hold.start_s <= at < hold.end_s for hold in holds))
    assert room(terms, 9, ZONE, None, window, holds) == least
    assert read_terms(write_terms(terms), 9, ZONE) == terms


async def test_a_search_by_kind_finds_what_has_such_bays_with_what_is_free_of_them(world: World) -> None:
    await world.garage("nl-plain", capacity=40)
    dear = replace(TARIFF, steps=(Step(0, 30, 400),))
    tariff = replace(TARIFF, variants=(Variant(dear, bay_kinds=frozenset({"ev"})),))
    await world.garage("nl-ev", capacity=40, latitude=52.1, tariff=tariff)
    bays = {"bays": {"standard": 36, "ev": 4}}
    ok(await world.http.put("/api/v1/owner/garages/nl-ev/terms", json=bays, headers=OPERATOR))

    async def found(**query: str) -> dict[str, tuple[int, bool, int]]:
        place = {} if "q" in query else {"lat": "52.09", "lon": "5.12"}
        listed = ok(await world.http.get("/api/v1/driver/garages", params=place | query))["items"]
        return {row["id"]: (row["free_bays"], row["almost_full"], row["price_cents"]) for row in listed}

    assert await found() == {"nl-plain": (40, False, 600), "nl-ev": (40, False, 600)}
    assert await found(bay_kind="ev") == {"nl-ev": (4, False, 1600)}
    assert await found(bay_kind="ev", limit="1", q="test") == {"nl-ev": (4, False, 1600)}
    assert await found(bay_kind="accessible") == {}
    window = {"from": world.clock.now.isoformat(), "to": (world.clock.now + timedelta(hours=3)).isoformat()}
    made = []
    for left in (3, 2, 1):
        asked = {"garage_id": "nl-ev", "bay_kind": "ev", **window}
        quote = ok(await world.http.post("/api/v1/driver/quotes", json=asked), 201)
        made.append(ok(await world.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}), 201))
        assert await found(bay_kind="ev", **window) == {"nl-ev": (left, left <= 2, 2400)}
    assert (await found(**window))["nl-ev"] == (37, False, 900)
    ok(await world.call(made[0], "DELETE"))
    assert await found(bay_kind="ev", **window) == {"nl-ev": (2, True, 2400)}
    problem(await world.http.get("/api/v1/driver/garages", params={"bay_kind": "boat"}), 422, "invalid")
