"""Tariffs against a slow, obvious reference, and the rules that are easy to get wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.money import CurrencyMismatch, Money, vat_included
from parkube.parking.domain.tariffs import Step, Tariff, price, read_tariff, tariff_words, total, write_tariff
from parkube.parking.domain.times import Window, parse_moment

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def reference(tariff: Tariff, window: Window) -> int:
    """Minute by minute: an increment is paid for in the minute in which it starts, into that day's sum."""
    zone = ZoneInfo(tariff.time_zone)
    days: dict[object, int] = {}
    minute, ends = 0, window.duration / timedelta(minutes=1)
    while minute < ends:
        charged = minute - tariff.free_minutes
        step = next((s for s in reversed(tariff.steps) if s.from_minutes <= charged), None)
        if step is not None:
            into = charged - step.from_minutes
            starts = into == 0 if step.every_minutes == 0 else into % step.every_minutes == 0
            if starts:
                local = (window.start + timedelta(minutes=minute)).astimezone(zone)
                day: object = local.date() if tariff.cap_window == "calendar_day" else minute // 1440
                days[day] = days.get(day, 0) + step.price_minor
        minute += 1
    cap = tariff.cap_minor
    return sum(amount if cap is None else min(amount, cap) for amount in days.values())


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    starts = sorted(draw(st.sets(st.integers(1, 600), max_size=3)))
    steps = tuple(
        Step(start, draw(st.sampled_from((0, 1, 7, 15, 20, 30, 60, 120))), draw(st.integers(0, 500)))
        for start in (0, *starts)
    )
    return Tariff(
        steps=steps,
        time_zone=draw(st.sampled_from(("Europe/Amsterdam", "UTC", "Asia/Shanghai", "America/New_York"))),
        free_minutes=draw(st.sampled_from((0, 5, 15, 60))),
        cap_minor=draw(st.none() | st.integers(0, 4000)),
        cap_window=draw(st.sampled_from(("calendar_day", "rolling_24h"))),
    )


# Around a change of the clocks as often as not.
moments = st.sampled_from(("2026-03-28", "2026-10-24", "2026-06-10")).flatmap(
    lambda day: st.integers(0, 2880).map(lambda m: datetime.fromisoformat(f"{day}T00:00:00Z") + timedelta(minutes=m))
)


@settings(max_examples=150, deadline=None)
@given(tariffs(), moments, st.integers(1, 4000))
def test_it_agrees_with_the_reference_and_its_lines_add_up(tariff: Tariff, start: datetime, minutes: int) -> None:
    window = Window(start, start + timedelta(minutes=minutes))
    priced = price(tariff, window)
    assert priced.total_minor == total(tariff, window) == reference(tariff, window)
    assert sum(line.amount_minor for line in priced.lines) == priced.total_minor
    assert 0 <= priced.vat_minor <= priced.total_minor
    assert total(tariff, Window(start, start + timedelta(minutes=minutes + 1))) >= priced.total_minor


def test_a_started_increment_is_charged_from_its_first_second() -> None:
    tariff = Tariff((Step(0, 60, 300),))
    start = datetime(2026, 5, 4, 8, tzinfo=UTC)
    for seconds, expected in ((1, 300), (3600, 300), (3601, 600), (7200, 600)):
        assert total(tariff, Window(start, start + timedelta(seconds=seconds))) == expected


def test_a_price_is_explained() -> None:
    tariff = Tariff((Step(0, 30, 150), Step(120, 60, 200)), cap_minor=1000, free_minutes=15)
    start = datetime(2026, 5, 4, 10, tzinfo=AMSTERDAM).astimezone(UTC)
    priced = price(tariff, Window(start, start + timedelta(hours=6)))
    assert [(line.text, line.amount_minor) for line in priced.lines] == [
        ("First 15 min free", 0),
        ("day cap of 10.00 reached at 13:15 on 4 May", 1000),
    ]
    short = price(tariff, Window(start, start + timedelta(hours=3)))
    assert [(line.text, line.amount_minor, line.vat_minor) for line in short.lines][1:] == [
        ("2 h at 1.50 per 30 min", 600, 104),
        ("1 h at 2.00 per h", 200, 35),
    ]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 2), ("2026-10-25", 4)])
def test_elapsed_time_is_billed_over_a_change_of_the_clocks(day: str, hours: int) -> None:
    start = datetime.fromisoformat(f"{day}T01:00:00").replace(tzinfo=AMSTERDAM).astimezone(UTC)
    end = datetime.fromisoformat(f"{day}T04:00:00").replace(tzinfo=AMSTERDAM).astimezone(UTC)
    assert total(Tariff((Step(0, 60, 100),)), Window(start, end)) == hours * 100
    # A local day of 23 or 25 hours is one day of a cap.
    midnight = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=AMSTERDAM)
    next_midnight = (midnight + timedelta(days=1)).astimezone(UTC)
    capped = Tariff((Step(0, 60, 100),), cap_minor=500)
    assert total(capped, Window(midnight.astimezone(UTC), next_midnight)) == 500


def test_local_times_that_are_not_or_are_twice_are_refused() -> None:
    assert parse_moment("2026-05-04T10:00", "Europe/Amsterdam", "from") == datetime(2026, 5, 4, 8, tzinfo=UTC)
    assert parse_moment("2026-05-04T10:00:00 02:00", "UTC", "from") == datetime(2026, 5, 4, 8, tzinfo=UTC)
    with pytest.raises(Invalid, match="does not exist in Europe/Amsterdam"):
        parse_moment("2026-03-29T02:30", "Europe/Amsterdam", "from")
    with pytest.raises(Invalid, match="happens twice"):
        parse_moment("2026-10-25T02:30", "Europe/Amsterdam", "to")
    for text in ("", "soon", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00", "9999-12-31T23:59:59-23:00", "٣"):
        with pytest.raises(Invalid):
            parse_moment(text, "Europe/Amsterdam", "from")


def test_a_written_tariff_is_read_back_and_all_its_faults_are_named() -> None:
    tariff = Tariff((Step(0, 20, 100), Step(240, 0, 500)), cap_minor=2400, vat_percent=Decimal("8.1"), name="x")
    assert read_tariff(write_tariff(tariff)) == tariff
    assert tariff_words(tariff)[1] == "after 240 min: EUR 5.00 once"
    with pytest.raises(Invalid) as refused:
        read_tariff({
            "steps": [{"from_minutes": 5, "every_minutes": -1, "price_cents": 1.5}, {"every_minutes": 5, "cost": 3}, 7],
            "currency": "euro", "vat_percent": "NaN", "cap_window": "week", "free": 3, "time_zone": "Mars/Base",
        })  # fmt: skip
    faults = {field for field, _ in refused.value.faults}
    assert faults >= {
        "steps[0].from_minutes", "steps[0].every_minutes", "steps[0].price_cents", "steps[1].cost",
        "steps[1].from_minutes", "steps[1].price_cents", "steps[2]", "currency", "vat_percent", "cap_window", "free",
        "time_zone",
    }  # fmt: skip


def test_money_is_never_mixed_and_vat_and_net_add_up() -> None:
    assert str(Money(305) + Money(-5)) == "EUR 3.00"
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") + Money(1, "CHF")
    assert [vat_included(gross, Decimal(21)) for gross in (0, 1, 121, 600, -400)] == [0, 0, 21, 104, -69]
