"""Bands, fees, limits and caps: against the minute-by-minute reference, by their properties, and by stories."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs import (
    DAYS,
    Band,
    Step,
    Tariff,
    check_stay,
    cuts_freely_every,
    price,
    read_tariff,
    total,
    write_tariff,
)
from parkube.parking.domain.times import Window

from .tariff_reference import MINUTE, random_stay, random_tariff, reference

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
HOURLY = Tariff((Step(0, 60, 300),))
EVENING = Band("evening", 18 * 60, 7 * 60, (Step(0, 0, 500),))


def local(text: str, zone: str = "Europe/Amsterdam") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def stay(start: str, end: str) -> Window:
    return Window(local(start), local(end))


def lines(tariff: Tariff, window: Window) -> list[tuple[str, int]]:
    return [(line.text, line.amount_minor) for line in price(tariff, window).lines]


@pytest.mark.parametrize("part", range(5))
def test_it_agrees_with_the_slow_reference(part: int) -> None:
    for seed in range(part * 1000, part * 1000 + 1000):
        chance = random.Random(seed)
        tariff, window = random_tariff(chance), random_stay(chance)
        assert total(tariff, window) == reference(tariff, window), (seed, tariff, window)


def test_never_negative_never_cheaper_for_longer_and_the_lines_add_up() -> None:
    for seed in range(1500):
        chance = random.Random(-seed - 1)
        tariff, window = random_tariff(chance), random_stay(chance)
        longer = Window(window.start, window.end + timedelta(seconds=chance.choice((1, 60, 3600))))
        priced = price(tariff, window)
        assert 0 <= priced.total_minor <= total(tariff, longer), (tariff, window)
        assert sum(line.amount_minor for line in priced.lines) == priced.total_minor
        assert all(0 <= line.vat_minor <= line.amount_minor for line in priced.lines)
        assert read_tariff(write_tariff(tariff)) == tariff


def test_cutting_a_stay_changes_nothing_where_the_tariff_says_so() -> None:
    said = 0
    for seed in range(600):
        chance = random.Random(seed)
        tariff, window = random_tariff(chance), random_stay(chance)
        if seed % 2:
            tariff = Tariff(tariff.steps[:1], time_zone=tariff.time_zone)
        every = cuts_freely_every(tariff)
        if every is None or window.duration <= every * MINUTE:
            continue
        said += 1
        cut = window.start + chance.randrange(1, window.duration // (every * MINUTE) + 1) * every * MINUTE
        parts = total(tariff, Window(window.start, cut)) + total(tariff, Window(cut, window.end))
        assert parts == total(tariff, window), (tariff, window, cut)
    assert said > 100
    assert cuts_freely_every(replace(HOURLY, free_minutes=1)) is None


def test_the_same_local_times_cost_the_same_in_every_zone() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        tariff = random_tariff(chance)
        wall = datetime(2026, 6, 8) + chance.randrange(6000) * MINUTE  # noqa: DTZ001
        minutes, prices = chance.randrange(1, 4000), set()
        for name in ("Europe/Amsterdam", "UTC", "Asia/Shanghai", "Asia/Kathmandu", "America/New_York", "Pacific/Apia"):
            start = wall.replace(tzinfo=ZoneInfo(name))
            there = replace(tariff, time_zone=name)
            prices.add(total(there, Window(start, start + minutes * MINUTE)))
            utc = start.astimezone(UTC)
            prices.add(total(there, Window(utc, utc + minutes * MINUTE)))
        assert len(prices) == 1, tariff


def test_crossing_into_the_evening_by_each_policy() -> None:
    tariff = replace(HOURLY, bands=(EVENING,))
    window = stay("2026-05-04T16:30", "2026-05-04T20:00")
    assert lines(tariff, window) == [("2 h at 3.00 per h", 600), ("evening: 5.00 once", 500)]
    # The hour that starts at 17:30 runs on to 18:30; a stay to 18:20 has not met the evening yet.
    runs_on = replace(tariff, crossing="increment_start")
    assert total(runs_on, window) == 1100
    assert total(runs_on, stay("2026-05-04T16:30", "2026-05-04T18:20")) == 600
    assert total(tariff, stay("2026-05-04T16:30", "2026-05-04T18:20")) == 1100
    assert total(replace(tariff, crossing="entry"), window) == 1200
    # Two evenings are two flat prices; the night before belongs to the evening that began then.
    assert lines(tariff, stay("2026-05-04T06:00", "2026-05-05T06:00")) == [
        ("evening: 2 times 5.00", 1000), ("11 h at 3.00 per h", 3300),
    ]  # fmt: skip


def test_an_event_goes_before_a_holiday_and_a_holiday_before_a_weekday() -> None:
    kings_day = date(2026, 4, 27)
    tariff = replace(
        HOURLY,
        holidays=frozenset({kings_day}),
        bands=(
            Band("weekday", 0, 1440, (Step(0, 60, 100),), days=frozenset(DAYS[:5])),
            Band("holiday", 0, 1440, (Step(0, 60, 10),), days=frozenset({"holiday"})),
            Band("concert", 19 * 60, 60, (Step(0, 0, 2000),), dates=frozenset({kings_day})),
        ),
    )
    assert total(tariff, stay("2026-04-27T10:00", "2026-04-27T12:00")) == 20
    assert total(tariff, stay("2026-04-28T10:00", "2026-04-28T12:00")) == 200
    assert total(tariff, stay("2026-04-26T10:00", "2026-04-26T12:00")) == 600
    assert total(tariff, stay("2026-04-27T18:00", "2026-04-28T02:00")) == 10 + 2000 + 100


def test_caps_of_band_day_and_stay_each_in_its_window() -> None:
    night = Band("night", 20 * 60, 8 * 60, (Step(0, 60, 200),), cap_minor=500)
    tariff = replace(HOURLY, bands=(night,), cap_minor=1500)
    assert lines(tariff, stay("2026-05-04T19:00", "2026-05-05T09:00")) == [
        ("2 h at 3.00 per h", 600), ("night: cap of 5.00 reached at 22:00 on 4 May", 500),
    ]  # fmt: skip
    long = stay("2026-05-04T10:00", "2026-05-06T10:00")
    assert lines(tariff, long) == [
        ("2 h at 3.00 per h", 600),
        ("day cap of 15.00 reached at 14:00 on 4 May", 1500),
        ("day cap of 15.00 reached at 12:00 on 5 May", 1500),
    ]
    assert lines(replace(tariff, stay_cap_minor=2500, entry_fee_minor=100), long) == [
        ("cap of 25.00 for a stay reached", 2500)
    ]
    rolling = replace(HOURLY, cap_minor=1000, cap_window="rolling_24h")
    assert total(rolling, stay("2026-05-04T20:00", "2026-05-05T20:00")) == 1000
    assert total(rolling, stay("2026-05-04T20:00", "2026-05-05T20:01")) == 1300
    assert total(replace(rolling, cap_window="calendar_day"), stay("2026-05-04T20:00", "2026-05-05T20:00")) == 2000


def test_fees_free_minutes_and_the_shortest_stay() -> None:
    tariff = replace(HOURLY, entry_fee_minor=250, free_minutes=15, minimum_minutes=135)
    assert lines(tariff, stay("2026-05-04T10:00", "2026-05-04T10:15")) == [("First 15 min free", 0)]
    assert lines(tariff, stay("2026-05-04T10:00", "2026-05-04T10:16")) == [
        ("First 15 min free", 0), ("billed as 2 h 15 min, the shortest stay", 0), ("2.50 for the entry", 250),
        ("2 h at 3.00 per h", 600),
    ]  # fmt: skip
    limits = replace(tariff, maximum_minutes=240, valid_from=date(2026, 5, 1), valid_to=date(2026, 6, 1))
    check_stay(limits, stay("2026-05-31T23:00", "2026-06-01T02:00"))
    for window, fields in (
        (stay("2026-05-04T10:00", "2026-05-04T14:01"), ["to"]),
        (stay("2026-04-30T10:00", "2026-04-30T14:01"), ["to", "from"]),
        (stay("2026-06-01T00:00", "2026-06-01T01:00"), ["from"]),
    ):
        with pytest.raises(Invalid) as refused:
            check_stay(limits, window)
        assert [field for field, _ in refused.value.faults] == fields


def test_a_band_over_both_changes_of_the_clocks() -> None:
    night = Band("night", 0, 6 * 60, (Step(0, 60, 100),))
    tariff = Tariff((Step(0, 60, 1000),), bands=(night,))
    for day, hours in (("2026-03-29", 5), ("2026-10-25", 7)):
        assert total(tariff, stay(f"{day}T00:00", f"{day}T06:00")) == hours * 100
    # An edge that the clocks skip is where they jump, one that they show twice is the first.
    edge = Tariff((Step(0, 1, 1),), bands=(Band("early", 150, 360, (Step(0, 1, 0),)),))
    assert total(edge, stay("2026-03-29T01:00", "2026-03-29T06:00")) == 60
    assert total(edge, stay("2026-10-25T01:00", "2026-10-25T06:00")) == 90


def test_vat_is_rounded_per_line_by_the_named_rule() -> None:
    window = stay("2026-05-04T10:00", "2026-05-04T11:00")
    half = replace(Tariff((Step(0, 60, 5),)), vat_percent=HOURLY.vat_percent.from_float(100))
    assert price(half, window).vat_minor == 3
    assert price(replace(half, rounding="half_even"), window).vat_minor == 2
