"""The written form with bands, fees and limits: read back, all faults named, and said alike by schema and resource."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from parkube.controlplane.registry.crd.definitions import DefinitionStrategy
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs import Step, read_tariff, tariff_words, write_tariff, written
from parkube.parking.operator.desired import written_tariff

from .tariff_reference import random_tariff

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((Path(written.__file__).parent / "tariff.schema.json").read_text())
HOUR = [{"every_minutes": 60, "price_cents": 300}]
RESOURCE = {
    "name": "Theatre", "steps": [{"everyMinutes": 30, "priceCents": 150}], "dayCapCents": 2500, "crossing": "split",
    "bands": [
        {"name": "evening", "from": "18:00", "to": "07:00", "days": ["thu", "fri"], "priceCents": 500},
        {"name": "sunday", "from": "00:00", "to": "24:00", "days": ["sun", "holiday"], "capCents": 800,
         "steps": [{"fromMinutes": 0, "everyMinutes": 60, "priceCents": 100}]},
        {"name": "premiere", "from": "17:00", "to": "02:00", "dates": ["2026-05-04"], "priceCents": 1500},
    ],
    "entryFeeCents": 100, "stayCapCents": 9000, "minimumMinutes": 30, "maximumMinutes": 10080, "rounding": "half_even",
    "holidays": ["2026-12-25", "2026-12-26"], "validFrom": "2026-01-01", "validTo": "2027-01-01",
}  # fmt: skip


def faults(**fields: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        read_tariff(fields)
    return dict(refused.value.faults)


def band(name: str, start: str, end: str, *days: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "from": start, "to": end, "days": list(days), "price_cents": 100, **more}


def tariff_crd() -> dict[str, Any]:
    crds = yaml.safe_load_all((ROOT / "deploy/base/crds.yaml").read_text())
    return next(crd for crd in crds if crd["metadata"]["name"] == "tariffs.parkube.io")


def test_the_resource_reads_as_the_written_form_and_back() -> None:
    tariff = read_tariff(written_tariff(RESOURCE))
    assert [b.name for b in tariff.bands] == ["evening", "sunday", "premiere"]
    assert read_tariff(write_tariff(tariff)) == tariff
    jsonschema.validate(write_tariff(tariff), SCHEMA)
    assert tariff_words(tariff) == [
        "EUR 1.00 for the entry", "EUR 1.50 per 30 min", "evening thu, fri 18:00-07:00: EUR 5.00 once",
        "sunday sun, holiday 00:00-24:00: EUR 1.00 per 60 min, at most EUR 8.00",
        "premiere 2026-05-04 17:00-02:00: EUR 15.00 once", "at most EUR 25.00 in a calendar day",
        "at most EUR 90.00 for a stay", "billed as at least 30 min", "stays of at most 10080 min",
    ]  # fmt: skip


def test_the_schema_takes_what_is_written_and_is_the_resources_own() -> None:
    for seed in range(100):
        jsonschema.validate(write_tariff(random_tariff(random.Random(seed))), SCHEMA)
    wrong: list[Any] = [{}, {"steps": []}, {"steps": HOUR, "free": 1}, {"bands": [{"name": "x", "from": "24:00"}]}]
    for bad in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA)
    assert set(SCHEMA["properties"]) == written.FIELDS
    assert set(SCHEMA["properties"]["bands"]["items"]["properties"]) == written.BAND_FIELDS
    crd = tariff_crd()
    DefinitionStrategy().default(crd)
    assert DefinitionStrategy().validate(crd, None, "") == []
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert _in_snake_case(spec) == _resolved({key: SCHEMA[key] for key in _in_snake_case(spec)})


def _resolved(schema: Any) -> Any:
    """A schema without references to its own properties: a resource's has none."""
    if isinstance(schema, list):
        return [_resolved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _resolved(SCHEMA["properties"][schema["$ref"].removeprefix("#/properties/")])
    return {key: _resolved(value) for key, value in schema.items()}


def _in_snake_case(schema: Any) -> Any:
    """A resource's schema as the written form's: names in snake case, and nothing that it does not know."""
    if isinstance(schema, list):
        return [_in_snake_case(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _in_snake_case(value) for key, value in schema.items() if key not in ("properties", "required")}
    if "properties" in schema:
        made["properties"] = {_snake(name): _in_snake_case(value) for name, value in schema["properties"].items()}
        made["additionalProperties"] = False
    if "required" in schema:
        made["required"] = [_snake(name) for name in schema["required"]]
    return made


def _snake(name: str) -> str:
    return re.sub("([A-Z])", lambda found: "_" + found[1].lower(), name)


def test_totals_become_steps_and_a_price_that_falls_is_named() -> None:
    prices = [{"minutes": 60, "price_cents": 300}, {"minutes": 180, "price_cents": 500}]
    assert read_tariff({"prices_up_to": prices}).steps == (Step(0, 0, 300), Step(60, 0, 200))
    prices += [{"minutes": 240, "price_cents": 450}, {"minutes": 240, "price_cents": 400}]
    named = faults(prices_up_to=prices, steps=HOUR)
    assert named["prices_up_to[2].price_cents"] == "the price falls as the stay gets longer: 500, then 450"
    assert set(named) == {
        "prices_up_to[2].price_cents", "prices_up_to[3].price_cents", "prices_up_to[3].minutes", "prices_up_to",
    }  # fmt: skip


def test_overlaps_are_named_and_what_goes_before_is_none() -> None:
    named = faults(steps=HOUR, bands=[
        band("evening", "18:00", "07:00"), band("early", "06:00", "08:00", "mon"), band("night", "20:00", "22:00"),
        band("fair", "10:00", "02:00", dates=["2026-05-04"], days=[]),
        band("after", "01:00", "03:00", dates=["2026-05-05"], days=[]),
    ])  # fmt: skip
    assert named == {
        "bands[1]": "overlaps bands[0] (evening) on mon",
        "bands[2]": "overlaps bands[0] (evening) on mon",
        "bands[4]": "overlaps bands[3] (fair) on 2026-05-05",
    }
    sunday_night = band("sunday night", "22:00", "06:00", "sun")
    assert "bands[1]" in faults(steps=HOUR, bands=[sunday_night, band("monday", "05:00", "09:00", "mon")])
    read_tariff({"steps": HOUR, "bands": [sunday_night, band("monday", "06:00", "09:00", "mon")]})
    read_tariff({"steps": HOUR, "holidays": ["2026-12-25"], "bands": [
        band("week", "18:00", "07:00", "mon", "tue", "wed", "thu", "fri"), band("holiday", "00:00", "24:00", "holiday"),
    ]})  # fmt: skip


def test_hours_without_a_price_are_named() -> None:
    day, night = (
        band("day", "07:00", "18:00"),
        band("night", "18:00", "07:00", "mon", "tue", "wed", "thu", "fri", "sat"),
    )
    with pytest.raises(Invalid) as refused:
        read_tariff({"bands": [day, night], "entry_fee_cents": -1})
    assert refused.value.faults == (
        ("entry_fee_cents", "a whole number from 0 on"),
        ("steps", "no price on mon from 00:00 to 07:00"),
        ("steps", "no price on sun from 18:00 to 24:00"),
    )
    assert read_tariff({"bands": [day, band("night", "18:00", "07:00")], "holidays": ["2026-05-05"]}).steps == ()
    weekly = [day, band("night", "18:00", "07:00", "mon", "tue", "wed", "thu", "fri", "sat", "sun")]
    read_tariff({"bands": weekly})
    assert faults(bands=weekly, holidays=["2026-05-05"])["steps"].startswith("no price on")


def test_every_fault_of_every_part_is_named_at_once() -> None:
    named = faults(
        steps=HOUR, crossing="jump", rounding="nearest", minimum_minutes=99_999, maximum_minutes=10, stay_cap_cents=1,
        entry_fee_cents=2, valid_from="2026-05-01", valid_to="2026-05-01", holidays=["2026-02-30", 5], free_minutes=20,
        bands=[
            {"name": "", "from": "24:00", "to": "7", "days": ["day"], "dates": "x", "price_cents": 1, "steps": HOUR},
            {"name": "a", "from": "01:00", "to": "02:00", "cap_cents": -1, "color": 1}, 7,
            band("a", "03:00", "04:00", "mon", dates=["2026-05-04"]),
        ],
    )  # fmt: skip
    assert set(named) == {
        "crossing", "rounding", "minimum_minutes", "maximum_minutes", "stay_cap_cents", "valid_to", "holidays[0]",
        "holidays[1]", "free_minutes", "bands[0].name", "bands[0].from", "bands[0].to", "bands[0].days",
        "bands[0].dates", "bands[0].price_cents", "bands[1].cap_cents", "bands[1].color", "bands[1].price_cents",
        "bands[2]", "bands[3].name", "bands[3]",
    }  # fmt: skip
