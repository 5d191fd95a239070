"""Whose prices hold: bay kinds, groups, vouchers, succession, moving prices, holidays by calendar, energy, both
caps.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.garages import Garage, Gate
from parkube.parking.domain.tariffs import (
    Asking,
    Band,
    Dynamic,
    Season,
    Step,
    Tariff,
    check_stay,
    pin,
    price,
    read_tariff,
    tariff_words,
    total,
    write_tariff,
)
from parkube.parking.domain.tariffs.calendars import days_off
from parkube.parking.domain.times import Window
from parkube.parking.services.index import Asked, GarageIndex

from .tariff_reference import random_stay, random_tariff

HOUR = [{"every_minutes": 60, "price_cents": 300}]
TOWN: dict[str, Any] = {
    "name": "Town", "steps": HOUR, "booking_grace_minutes": 30, "valid_to": "2027-01-01", "vat_percent": "21",
    "variants": [
        {"vouchers": ["theatre"], "name": "Theatre voucher", "steps": [{"every_minutes": 0, "price_cents": 500}]},
        {"bay_kinds": ["ev"], "steps": HOUR, "energy_cents_per_kwh": "39.5", "energy_vat_percent": "9"},
        {"bay_kinds": ["motorcycle"], "user_groups": ["resident"], "steps": [{"every_minutes": 60, "price_cents": 0}]},
        {"bay_kinds": ["motorcycle"], "steps": [{"every_minutes": 60, "price_cents": 100}]},
        {"user_groups": ["resident", "staff"], "steps": [{"every_minutes": 60, "price_cents": 150}],
         "booking_grace_minutes": 0},
        {"valid_from": "2027-01-01", "steps": [{"every_minutes": 60, "price_cents": 320}]},
    ],
}  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Amsterdam")).astimezone(UTC)


def stay(start: str, hours: float) -> Window:
    return Window(at(start), at(start) + timedelta(hours=hours))


def faults(written: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        read_tariff(written)
    return dict(refused.value.faults)


@pytest.mark.parametrize(
    ("asking", "expected"),
    [
        (Asking(), 600),
        (Asking("accessible"), 600),
        (Asking("ev"), 600),
        (Asking("motorcycle"), 200),
        (Asking("motorcycle", frozenset({"resident"})), 0),
        (Asking(user_groups=frozenset({"staff"})), 300),
        (Asking(user_groups=frozenset({"stranger"})), 600),
        (Asking("motorcycle", voucher="theatre"), 500),
        (Asking(voucher="another"), 600),
    ],
)
def test_the_first_variant_whose_conditions_hold_has_the_price(asking: Asking, expected: int) -> None:
    window = stay("2026-05-04T10:00", 2)
    assert total(pin(read_tariff(TOWN), window.start, asking).tariff, window) == expected


def test_a_tariff_is_succeeded_on_the_local_day() -> None:
    tariff = read_tariff(TOWN)
    for start, expected in (("2026-12-31T23:59", 600), ("2027-01-01T00:00", 640)):
        window = stay(start, 2)
        held = pin(tariff, window.start).tariff
        check_stay(held, window)
        assert total(held, window) == expected


def test_variants_are_written_and_read_back_and_inherit_what_is_not_a_price() -> None:
    tariff = read_tariff(TOWN)
    assert read_tariff(write_tariff(tariff)) == tariff
    assert [v.tariff.booking_grace_minutes for v in tariff.variants] == [30, 30, 30, 30, 0, 30]
    assert tariff_words(tariff)[1:] == [
        "ev bays: EUR 3.00 per 60 min; energy EUR 0.395 per kWh",
        "motorcycle bays for resident: EUR 0.00 per 60 min",
        "motorcycle bays: EUR 1.00 per 60 min",
        "for resident, staff: EUR 1.50 per 60 min",
        "from 2027-01-01: EUR 3.20 per 60 min",
    ]
    pinned = pin(tariff, at("2026-05-04T10:00"), Asking("ev")).tariff
    assert read_tariff(write_tariff(pinned)) == pinned


def test_every_fault_between_variants_is_named_at_once() -> None:
    named = faults({
        "steps": HOUR, "valid_from": "2026-01-01", "valid_to": "2026-07-01", "variants": [
            {"bay_kinds": ["ev", "standard"], "steps": HOUR},
            {"bay_kinds": ["ev"], "user_groups": ["staff"], "steps": HOUR},
            {"vouchers": ["a"], "valid_from": "2026-01-01", "valid_to": "2026-03-01", "steps": HOUR},
            {"vouchers": ["a"], "valid_from": "2026-02-01", "steps": HOUR},
            {"valid_from": "2026-08-01", "steps": HOUR},
        ],
    })  # fmt: skip
    assert named == {
        "variants[1]": "never holds: variants[0] comes first",
        "variants[3]": "overlaps variants[2] from 2026-02-01 on",
        "variants": "no price from 2026-07-01 until 2026-08-01",
    }
    named = faults({
        "steps": HOUR, "vat_percent": "x", "variants": [
            {"steps": HOUR}, {"bay_kinds": ["boat"], "currency": "CHF", "steps": []}, 7,
            {"vouchers": "v", "free": 1, "steps": HOUR},
        ],
    })  # fmt: skip
    assert set(named) == {
        "vat_percent", "variants[0]", "variants[1].bay_kinds", "variants[1].currency", "variants[1].steps",
        "variants[2]", "variants[3].vouchers", "variants[3].free",
    }  # fmt: skip
    assert faults({"steps": HOUR, "day_cap_cents": 1, "cap_window": "rolling_24h", "rolling_cap_cents": 2})


MOVING = Dynamic(80, 150, ((50, 120), (90, 150)), (Season(date(2026, 12, 1), date(2027, 1, 1), 110),))


def test_prices_move_with_occupancy_and_date_within_the_owners_bounds() -> None:
    tariff = Tariff((Step(0, 60, 333),), entry_fee_minor=50, cap_minor=1000, dynamic=MOVING)
    window = stay("2026-05-04T10:00", 1)
    for taken, expected in ((None, 383), (0, 383), (49, 383), (50, 400 + 60), (89, 460), (90, 500 + 75), (100, 575)):
        terms = pin(tariff, window.start, taken_percent=taken)
        assert total(terms.tariff, window) == expected
        assert terms.tariff.dynamic is None
    december = pin(tariff, at("2026-12-31T23:59"), taken_percent=95)
    assert [line.text for line in december.lines] == ["prices at 150 % of the usual for this time"]
    assert pin(tariff, at("2027-01-01T00:00"), taken_percent=0).lines == ()
    # The cap is what the owner promises at most: it does not move.
    assert total(december.tariff, stay("2026-12-31T00:00", 20)) == 1000 + 75


@given(
    st.integers(0, 400),
    st.integers(0, 400),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.none() | st.integers(0, 100),
)
def test_no_price_is_beyond_the_bounds(a: int, b: int, occupied: int, season: int, taken: int | None) -> None:
    low, high = sorted((a, b))
    year = Season(date(2026, 1, 1), date(2027, 1, 1), season)
    tariff = Tariff((Step(0, 0, 1000),), dynamic=Dynamic(low, high, ((30, occupied),), (year,)))
    window = stay("2026-05-04T10:00", 1)
    assert 10 * low <= total(pin(tariff, window.start, taken_percent=taken).tariff, window) <= 10 * high


def test_faults_of_moving_prices_are_named() -> None:
    named = faults({"steps": HOUR, "dynamic": {
        "lowest_percent": 80, "highest_percent": 120, "speed": 1,
        "by_occupancy": [{"from_percent": 50, "price_percent": 130}, {"from_percent": 50, "price_percent": 100}, 3],
        "by_date": [
            {"from": "2026-12-01", "to": "2027-01-01", "price_percent": 70},
            {"from": "2026-12-31", "to": "2026-12-30", "price_percent": 100},
            {"from": "2026-12-31", "to": "2027-02-01", "price_percent": 100},
        ],
    }})  # fmt: skip
    assert set(named) == {
        "dynamic.speed", "dynamic.by_occupancy[0].price_percent", "dynamic.by_occupancy[1].from_percent",
        "dynamic.by_occupancy[2]", "dynamic.by_date[0].price_percent", "dynamic.by_date[1].to", "dynamic.by_date[2]",
    }  # fmt: skip
    assert set(faults({"steps": HOUR, "dynamic": {"lowest_percent": 2, "highest_percent": 1}})) == {
        "dynamic.lowest_percent"
    }


def test_holidays_by_calendar_are_pinned_as_dates() -> None:
    free = Band("holiday", 0, 1440, (Step(0, 60, 0),), days=frozenset({"holiday"}))
    dutch = Tariff((Step(0, 60, 300),), bands=(free,), holiday_calendar="NL", holidays=frozenset({date(2026, 5, 6)}))
    for day, expected in (("2026-04-27", 0), ("2026-05-06", 0), ("2026-05-07", 600), ("2026-08-01", 600)):
        assert total(dutch, stay(f"{day}T10:00", 2)) == expected
    assert total(replace(dutch, holiday_calendar="CH-ZH"), stay("2026-08-01T10:00", 2)) == 0
    pinned = pin(dutch, at("2026-12-31T10:00")).tariff
    assert pinned.holiday_calendar == ""
    assert pinned.holidays >= days_off("NL", 2026) | days_off("NL", 2027) | {date(2026, 5, 6)}
    assert set(faults({"steps": HOUR, "holiday_calendar": "XX"})) == {"holiday_calendar"}
    assert set(faults({"steps": HOUR, "holiday_calendar": "CH-QQ"})) == {"holiday_calendar"}


def test_pinning_changes_no_price_where_nothing_moves() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        tariff, window = random_tariff(chance), random_stay(chance)
        assert total(pin(tariff, window.start).tariff, window) == total(tariff, window)


def test_both_day_caps_hold_at_once_and_each_is_explained() -> None:
    tariff = Tariff((Step(0, 60, 300),), cap_minor=1500, rolling_cap_minor=2000)
    window = stay("2026-05-04T20:00", 30)
    # 12.00 before midnight, then the day's cap of 15.00: together over 20.00 in the first 24 hours.
    assert [(line.text, line.amount_minor) for line in price(tariff, window).lines] == [
        ("2 h at 3.00 per h", 600), ("24-hour cap of 20.00 reached at 02:00 on 5 May", 2000),
        ("day cap of 15.00 reached at 04:00 on 5 May", 0),
    ]  # fmt: skip
    assert total(tariff, stay("2026-05-04T06:00", 18)) == 1500
    assert total(replace(tariff, rolling_cap_minor=None), stay("2026-05-04T20:00", 24)) == 1200 + 1500
    assert total(tariff, stay("2026-05-04T20:00", 24)) == 2000


def test_energy_is_a_line_of_its_own_with_its_own_vat_outside_the_caps() -> None:
    tariff = Tariff((Step(0, 60, 300),), cap_minor=500, stay_cap_minor=500, energy_minor_per_kwh=Decimal("39.5"),
                    energy_vat_percent=Decimal(9))  # fmt: skip
    window = stay("2026-05-04T10:00", 4)
    priced = price(tariff, window, energy_wh=12_345)
    assert priced.total_minor == total(tariff, window, 12_345) == 500 + 488
    assert [(x.text, x.amount_minor, x.vat_minor, x.vat_percent) for x in priced.lines] == [
        ("day cap of 5.00 reached at 11:00 on 4 May", 500, 87, Decimal(21)),
        ("12.345 kWh at 0.395 per kWh", 488, 40, Decimal(9)),
    ]
    free = replace(tariff, free_minutes=300)
    assert total(free, window, 1000) == 40
    assert total(replace(free, rounding="down"), window, 1000) == 39


def test_search_prices_only_stays_that_limits_allow_and_at_what_is_taken() -> None:
    index = GarageIndex()
    gates = (Gate("in", "both"),)
    limited = Tariff((Step(0, 60, 100),), maximum_minutes=120, valid_from=date(2026, 5, 1))
    moving = Tariff((Step(0, 60, 100),), dynamic=Dynamic(100, 200, ((50, 200),)))
    for name, tariff in (("limited", limited), ("moving", moving)):
        index.put(
            Garage(name, name, latitude=52.0, longitude=5.0, capacity=2, managed=True, gates=gates, tariff=tariff)
        )
    known = {garage.garage.id: garage for garage in index.all()}

    def prices(window: Window) -> list[int | None]:
        asked = Asked(window)
        return [asked.price(known[name]) for name in ("limited", "moving")]

    assert prices(stay("2026-05-04T10:00", 2)) == [200, 200]
    assert prices(stay("2026-05-04T10:00", 2.5)) == [None, 300]
    assert prices(stay("2026-04-30T10:00", 2)) == [None, 200]
    start, end = at("2026-05-04T10:00").timestamp(), at("2026-05-04T11:00").timestamp()
    known["moving"].taken.add(start, end)
    assert prices(stay("2026-05-04T10:30", 2)) == [200, 400]
    assert prices(stay("2026-05-04T11:00", 2)) == [200, 200]
