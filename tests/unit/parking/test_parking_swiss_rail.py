"""The Swiss railway's tariffs: each known price point is reproduced, and what cannot be is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from parkube.parking.adapters import swiss_rail
from parkube.parking.adapters.swiss_rail import SwissRail, priced_car_parks
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs import Step, Tariff, check_stay, read_tariff, total, write_tariff
from parkube.parking.domain.tariffs.conversion import TariffShape
from parkube.parking.domain.times import Window
from parkube.parking.services.importing import Report, take_in
from tests.fakes.parking import World

FILE = Path(__file__).resolve().parents[4] / "shared" / "data" / "ch_opendata_swiss_parkrail.geojson"
START = datetime(2026, 5, 4, 9, 17, tzinfo=UTC)
SHAPE: TariffShape = SwissRail()


def of(minutes: int) -> Window:
    return Window(START, START + timedelta(minutes=minutes))


def known(model: Mapping[str, Any], minutes: int) -> int:
    """What the file says that so many minutes of the first day cost."""
    amount, at = 0, 0
    while at < max(minutes, model["minimumDuration"]):
        amount += [s["price"] for s in model["priceSegments"] if s["startingFrom"] <= at][-1]
        at += model["viableIncrement"]
    return int(min(amount, model["maximumDayPrice"]))


@pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not on this machine")
def test_all_622_priced_car_parks_convert_and_each_known_price_point_is_reproduced() -> None:
    converted = points = 0
    for _, name, model in priced_car_parks(FILE):
        tariff = SHAPE.read(model, name)
        converted += 1
        increment = model["viableIncrement"]
        minutes = {1, model["minimumDuration"], increment, 1440}
        for segment in model["priceSegments"]:
            start = segment["startingFrom"]
            minutes |= {start, start + 1, start + increment, start + increment + 1}
        for length in sorted(minutes - {0}):
            assert total(tariff, of(length)) == known(model, length), (name, length)
            points += 1
        days, rest = divmod(model["maximumDuration"], 1440)
        assert total(tariff, of(days * 1440)) <= days * model["maximumDayPrice"]
        assert rest or total(tariff, of(days * 1440)) == days * known(model, 1440)
        with pytest.raises(Invalid):
            check_stay(tariff, of(model["maximumDuration"] + 1))
        written = SHAPE.write(tariff)
        assert written == {field: model[field] for field in written}
        assert read_tariff(write_tariff(tariff)) == tariff
    assert converted == 622
    assert points > 622 * 4


def test_a_tariff_with_free_hours_between() -> None:
    starts = ((0, 100), (180, 0), (240, 100), (360, 0), (660, 100))
    tariff = SHAPE.read({
        "minimumDuration": 60, "maximumDuration": 10080, "maximumDayPrice": 800, "viableIncrement": 60,
        "priceSegments": [{"startingFrom": start, "price": amount} for start, amount in starts],
    })  # fmt: skip
    prices = {180: 300, 240: 300, 241: 400, 360: 500, 660: 500, 661: 600, 780: 700, 1440: 800, 1441: 900}
    assert {minutes: total(tariff, of(minutes)) for minutes in prices} == prices


def test_what_cannot_be_is_named_in_the_words_of_the_shape() -> None:
    with pytest.raises(Invalid) as refused:
        SHAPE.read({
            "minimumDuration": -1, "maximumDayPrice": 500, "viableIncrement": 60,
            "priceSegments": [{"startingFrom": 5, "price": "1"}, {"startingFrom": 5, "price": 1}, 3],
        })  # fmt: skip
    assert {field for field, _ in refused.value.faults} == {
        "minimumDuration", "priceSegments[0].startingFrom", "priceSegments[0].price", "priceSegments[1].startingFrom",
        "priceSegments[2]",
    }  # fmt: skip
    for model in ({"maximumDayPrice": None}, {"maximumDayPrice": 500}, {"maximumDayPrice": 500, "viableIncrement": 0}):
        with pytest.raises(Invalid):
            SHAPE.read(model)
    with pytest.raises(Invalid, match="steps, currency, day_cap_cents, free_minutes"):
        SHAPE.write(Tariff((Step(0, 0, 100),), free_minutes=5))


@pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not on this machine")
async def test_the_file_is_taken_in_once_however_often(world: World) -> None:
    for added, unchanged in ((649, 0), (0, 649)):
        report = Report()
        garages = swiss_rail.read(FILE, report)
        await take_in(world.platform, garages, report, source=swiss_rail.SOURCE, force=False)
        assert (report.read, report.added, report.unchanged) == (649, added, unchanged)
        assert not report.refused
        assert not report.duplicates
    assert sum(garage.capacity or 0 for garage in garages) == 34_613
    assert sum(garage.bookable for garage in garages) == 622
    async with world.platform.database.reading() as transaction:
        assert {garage.id: garage for garage in await transaction.garages()} == {g.id: g for g in garages}


def test_features_that_cannot_be_are_named_and_left_out(tmp_path: Path) -> None:
    good = {
        "id": "aaaaaaaa-1", "geometry": {"coordinates": [8.0, 47.0]},
        "properties": {"displayName": "Bern", "capacities": [{"total": 5}], "pricingModel": {}},
    }  # fmt: skip
    bad = {"id": "b", "properties": {"capacities": [{"total": -5}], "pricingModel": {"maximumDayPrice": 5}}}
    away = good | {"id": "c", "geometry": {"coordinates": [47.0, 8.0]}}
    path = tmp_path / "cars.geojson"
    path.write_text(json.dumps({"features": [good, bad, away, good]}))
    report = Report()
    assert [garage.id for garage in swiss_rail.read(path, report)] == ["ch-aaaaaaaa"]
    assert report.read == 4
    assert len(report.duplicates) == 1
    assert len(report.refused) == 2
    for what in ("displayName", "geometry", "capacities", "viableIncrement"):
        assert what in report.refused[0]
    assert "not in Switzerland" in report.refused[1]
    path.write_text(json.dumps({"features": [good]})[:-9])
    for there in (path, tmp_path / "none"):
        with pytest.raises(Invalid, match=r"cut|cannot be read"):
            swiss_rail.read(there, Report())
