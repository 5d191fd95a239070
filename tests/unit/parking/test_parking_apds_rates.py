"""Rate tables of APDS: what is written is read back with the same prices, and what cannot be is named."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from parkube.parking.adapters.apds_rates import ApdsRates
from parkube.parking.adapters.swiss_rail import SwissRail, priced_car_parks
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs import Band, Step, Tariff, total

from .tariff_reference import random_stay, random_tariff
from .test_parking_swiss_rail import FILE, of

SHAPE = ApdsRates()


def lines(*said: dict[str, Any], **more: Any) -> dict[str, Any]:
    rate_lines = [{"sequence": index, **line} for index, line in enumerate(said, 1)]
    return {"rateLineCollections": [{"applicableCurrency": "EUR", "rateLines": rate_lines, **more}]}


def incrementing(value: float, every: str, **more: str) -> dict[str, Any]:
    return {"rateLineType": "incrementingRate", "value": value, "incrementPeriod": every, **more}


def faults(table: dict[str, Any]) -> set[str]:
    with pytest.raises(Invalid) as refused:
        SHAPE.read(table)
    return {field for field, _ in refused.value.faults}


def test_what_can_be_said_is_read_back_the_same() -> None:
    said = 0
    for seed in range(2000):
        tariff = random_tariff(random.Random(seed))
        tariff = replace(tariff, time_zone="Europe/Amsterdam", holidays=frozenset(), holiday_calendar="")
        try:
            written = SHAPE.write(tariff)
        except Invalid:
            continue
        said += 1
        read = SHAPE.read(json.loads(json.dumps(written)))
        for stay in range(5):
            window = random_stay(random.Random(seed * 5 + stay))
            assert total(read, window) == total(tariff, window), (tariff, written)
    assert said > 100


@pytest.mark.skipif(not FILE.exists(), reason="the Swiss railway's file is not on this machine")
def test_every_swiss_tariff_goes_through_it_unchanged() -> None:
    zurich = ApdsRates("Europe/Zurich")
    for _, name, model in priced_car_parks(FILE):
        tariff = SwissRail().read(model, name)
        assert zurich.read(zurich.write(tariff)) == tariff


def test_lines_without_durations_follow_each_other() -> None:
    tariff = SHAPE.read(lines(incrementing(3.7, "PT1H"), incrementing(3.0, "PT1H"), incrementing(5.3, "PT22H")))
    assert tariff.steps == (Step(0, 60, 370), Step(60, 60, 300), Step(120, 1320, 530))
    assert [total(tariff, of(minutes)) for minutes in (60, 61, 120, 1440)] == [370, 670, 670, 1200]


def test_tiers_are_what_a_stay_costs_in_all_and_usage_periods_are_bands() -> None:
    tier = {"rateLineType": "flatRateTier"}
    table = lines(
        tier | {"value": 3.2, "durationEnd": "PT1H"}, tier | {"value": 6.7, "durationEnd": "PT2H"}, taxRate=20.0
    )
    table["rateLineCollections"].append({
        "startValidUsagePeriod": "18:00:00", "endValidUsagePeriod": "23:59:59", "maxValueCollection": 8,
        "rateLines": [incrementing(2, "PT30M")], "additionalInformation": {"en": "evening"},
    })  # fmt: skip
    table |= {"rateTableName": {"en": "Centre"}, "validityStart": "2025-12-31T23:00:00Z"}
    tariff = SHAPE.read(table)
    assert (tariff.name, tariff.valid_from) == ("Centre", date(2026, 1, 1))
    assert tariff.steps == (Step(0, 0, 320), Step(60, 0, 350))
    assert tariff.bands == (Band("evening", 1080, 1440, (Step(0, 30, 200),), cap_minor=800),)
    assert SHAPE.read(SHAPE.write(tariff)) == tariff


def test_every_fault_is_named_in_the_words_of_the_standard() -> None:
    at = "rateLineCollections[0]"
    table = lines(
        incrementing(1.005, "PT1H", durationEnd="PT2H"),
        incrementing(1, "PT0.5H", durationStart="PT3H", durationEnd="x"),
        {"rateLineType": "perUnit", "value": -1}, taxIncluded=False, minValueCollection=2, resetTime="06:00",
        maxValueCollection="NaN", maxTime="P1W",
    )  # fmt: skip
    assert faults(table | {"validityEnd": "2026-06-01T12:00:00Z", "validityStart": "soon"}) == {
        "validityEnd", "validityStart", f"{at}.rateLines[0].value", f"{at}.rateLines[1].incrementPeriod",
        f"{at}.rateLines[1].durationStart", f"{at}.rateLines[1].durationEnd", f"{at}.rateLines[2].rateLineType",
        f"{at}.rateLines[2].value", f"{at}.taxIncluded", f"{at}.minValueCollection", f"{at}.resetTime",
        f"{at}.maxValueCollection", f"{at}.maxTime",
    }  # fmt: skip
    two = lines(incrementing(1, "PT1H"))["rateLineCollections"] * 2
    assert faults({"rateLineCollections": [two[0], two[1] | {"applicableCurrency": "CHF"}]}) == {
        "rateLineCollections[1]", "rateLineCollections[1].applicableCurrency",
    }  # fmt: skip
    assert faults({"rateLineCollections": [two[0] | {"applicableCurrency": "euro"}]}) == {f"{at}.applicableCurrency"}
    assert faults({}) == {"rateLineCollections"}
    assert faults(lines()) == {f"{at}.rateLines"}
    with pytest.raises(Invalid, match="bands, crossing, entry_fee_cents, stay_cap_cents"):
        SHAPE.write(Tariff(
            (Step(0, 60, 1),), entry_fee_minor=1, cap_minor=1, stay_cap_minor=2, crossing="entry",
            bands=(Band("x", 0, 60, (Step(0, 0, 1),), days=frozenset({"mon"})),),
        ))  # fmt: skip
