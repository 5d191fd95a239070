"""Counts that drift, recounts that show it, and a forecast that is shown only where it beats the two simple ones."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.parking.domain.counting import PASSED, RECOUNT, Count, almost_full, occupancy
from parkube.parking.domain.forecast import AHEAD, SLOT, Forecast, learn, read_forecast, write_forecast
from parkube.parking.services import forecasting, keeping
from tests.fakes.parking import OPERATOR, START, FakeGarage, World, ok, problem

FILE = Path(__file__).resolve().parents[4] / "shared" / "data" / "uk_birmingham_parking.csv"
MONDAY = datetime.fromisoformat("2026-03-02")


def count(key: int, minute: int, bays: int, kind: str = PASSED) -> Count:
    return Count("g", str(key), START + timedelta(minutes=minute), kind, bays, "gate")


def test_drift_is_seen_and_dated_and_only_what_is_published_is_clamped() -> None:
    counts = [count(1, 0, 3, RECOUNT), *(count(10 + n, n + 1, -1) for n in range(5)), count(99, 60, 4, RECOUNT)]
    low = occupancy(counts, START + timedelta(minutes=30))
    assert (low.raw, low.published(10), low.free(10)) == (-2, 0, 10)
    after = occupancy(counts, START + timedelta(hours=2))
    assert (after.raw, [(d.thought, d.found, d.bays) for d in after.drifts]) == (4, [(-2, 4, 6)])
    high = occupancy([count(1, 0, 4327, RECOUNT)], START)
    assert (high.raw, high.published(3103), high.free(3103)) == (4327, 3103, 0)


def test_unknown_is_never_a_number() -> None:
    nothing = occupancy([count(1, 0, 1)], START)
    assert (nothing.raw, nothing.published(10), nothing.free(10)) == (None, None, None)
    assert occupancy([count(1, 0, 1, RECOUNT)], START).free(None) is None
    assert not almost_full(None, 10)


@pytest.mark.parametrize(
    ("free", "capacity", "expected"), [(2, 10, True), (3, 10, False), (10, 200, True), (11, 200, False)]
)
def test_almost_full_is_5_in_a_hundred_and_at_least_2(free: int, capacity: int, expected: bool) -> None:
    assert almost_full(free, capacity) is expected


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9), st.booleans()), max_size=15),
    st.randoms(use_true_random=False),
)
def test_counts_are_the_same_in_any_order_and_twice(story: list[tuple[int, int, bool]], chance: Any) -> None:
    counts = [count(n, minute, abs(b) if r else b, RECOUNT if r else PASSED) for n, (minute, b, r) in enumerate(story)]
    mixed = counts + counts[::2]
    chance.shuffle(mixed)
    assert occupancy(mixed, START + timedelta(hours=1)) == occupancy(counts, START + timedelta(hours=1))


async def test_gates_counters_cameras_and_people_count_one_garage(world: World, garage: FakeGarage) -> None:
    path = "/api/v1/owner/garages/nl-test"

    async def known() -> Any:
        return ok(await world.http.get(f"{path}/occupancy", headers=OPERATOR))

    booking = await world.book()
    await garage.scan(booking["grant"], "entry")
    assert (await known())["taken"] is None
    recount = {"occupied": 1, "source": "camera"}
    for _ in range(2):
        ok(await world.http.post(f"{path}/recounts", json=recount, headers={**OPERATOR, "Idempotency-Key": "r"}), 201)
    world.clock.forward(minutes=5)
    await garage.scan(booking["grant"], "exit")
    assert (await known())["free"] == 2
    await garage.report("counted", "loop", detail={"in": 3, "out": 1})
    found = await known()
    assert (found["raw"], found["taken"], found["free"], found["almost_full"]) == (2, 2, 0, True)
    await garage.report("counted", "loop", detail={"in": "many"})
    world.clock.forward(minutes=5)
    await garage.report("counted", "cam", detail={"occupied": 0})
    found = await known()
    assert (found["raw"], [d["bays"] for d in found["drifts"]]) == (0, [-2])
    refused = await world.http.post(f"{path}/recounts", json={"occupied": -1}, headers=OPERATOR)
    problem(refused, 422, "invalid")


def week_of(week: int, twist: int = 0) -> list[tuple[datetime, int]]:
    """A week with full working days; `twist` more on each day of it, as if it rained."""
    start = MONDAY + timedelta(weeks=week)
    made = []
    for slot in range(7 * 48):
        at = start + SLOT * slot
        busy = at.weekday() < 5 and 8 <= at.hour < 18
        made.append((at, (80 + twist if busy else 10 + twist // 2) + (week * 7 + slot * 13) % 5))
    return made


def test_a_forecast_beats_as_now_and_as_last_week_or_is_not_shown() -> None:
    twists = (0, 12, -9, 15, 3, -12)
    made = learn([sample for week, twist in enumerate(twists) for sample in week_of(week, twist)])
    assert made is not None
    for ahead in AHEAD:
        errors = made.errors[ahead]
        assert errors.worth_showing, (ahead, errors)
        assert errors.guess < min(errors.as_now, errors.as_last_week)
    now = MONDAY + timedelta(weeks=6, hours=7)
    guess = made.guess(now, 16, now + timedelta(hours=2))
    assert guess is not None
    assert 70 < guess[0] < 100
    assert made.guess(now, 16, now + timedelta(days=2)) is None
    assert read_forecast(write_forecast(made)) == made
    assert learn(week_of(0)) is None
    # Weeks that are all the same: as last week cannot be beaten, so nothing is shown.
    same = learn([(at + timedelta(weeks=n), inside) for n in range(6) for at, inside in week_of(0)])
    assert same is not None
    assert same.guess(now, 16, now + timedelta(hours=2)) is None


async def test_a_garages_samples_are_learned_from_and_shown_with_their_error(world: World) -> None:
    await world.garage(capacity=120, time_zone="UTC")
    twists = (0, 12, -9, 15, 3, -12)
    async with world.platform.database.writing() as transaction:
        for week, twist in enumerate(twists):
            for at, inside in week_of(week, twist):
                await transaction.add_sample("nl-test", at.replace(tzinfo=START.tzinfo), inside)
    world.clock.now = (MONDAY + timedelta(weeks=6, hours=7)).replace(tzinfo=START.tzinfo)
    path = "/api/v1/owner/garages/nl-test/recounts"
    ok(await world.http.post(path, json={"occupied": 16}, headers=OPERATOR), 201)
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["expected"] is None
    async with world.platform.database.writing() as transaction:
        assert await forecasting.teach(transaction, "nl-test", world.clock.now)
    arrival = world.clock.now + timedelta(hours=2)
    window = {"from": arrival.isoformat(), "to": (arrival + timedelta(hours=1)).isoformat()}
    shown = ok(await world.http.get("/api/v1/driver/garages/nl-test", params=window))["expected"]
    assert 20 < shown["free_bays"] < 50
    assert 0 < shown["error_bays"] < 10
    await keeping.tick(world.platform)
    assert await forecasting.sample(world.platform) == 0


@pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not on this machine")
def test_birminghams_counts_are_kept_raw_and_its_forecasts_shown_only_where_they_are_better() -> None:
    counts: dict[str, list[Count]] = defaultdict(list)
    capacity: dict[str, int] = {}
    with FILE.open() as lines:
        for number, (code, bays, inside, at) in enumerate(csv.reader(lines)):
            capacity[code] = int(bays)
            moment = datetime.fromisoformat(at.strip()).replace(tzinfo=START.tzinfo)
            counts[code].append(Count(code, str(number), moment, RECOUNT, int(inside), "file"))
    raw = [one.bays for of in counts.values() for one in of]
    assert (min(raw), max(raw)) == (-8, 4327)
    for code, of in counts.items():
        for one in of:
            free = occupancy([one], one.at).free(capacity[code])
            assert free is not None
            assert 0 <= free <= capacity[code]
    shown: list[tuple[Forecast, int]] = []
    for of in counts.values():
        made = learn([(one.at.replace(tzinfo=None), one.bays) for one in of])
        if made is not None:
            shown += [(made, ahead) for ahead in AHEAD if made.errors[ahead].worth_showing]
            for ahead in AHEAD:
                errors = made.errors[ahead]
                assert errors.worth_showing == (
                    errors.judged >= 50 and errors.guess < errors.as_now and errors.guess < errors.as_last_week
                )
    # The most of these car parks are better forecast than guessed, and not all: the rule does something.
    assert 0 < len(shown) < len(counts) * len(AHEAD)
