"""The structured tariffs of the Swiss railway's car parks (SBB open data, `pricingModel`), to and from ours.

A segment's price is for each started viableIncrement of minutes; amounts are rappen. minimumDuration is what a stay is
billed at least, maximumDuration what it may be at most. The data does not say what a day is: maximumDayPrice is taken
for each 24 hours from the entry, and the segments run on after them. Season tickets are not tariffs of a stay, and the
VAT of 8.1 % is the country's, not the file's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs import Tariff, read_tariff
from parkube.parking.domain.tariffs.model import ROLLING_24H

VAT_PERCENT: Final = "8.1"
_NAMES: Final = (
    ("steps", "priceSegments"), ("from_minutes", "startingFrom"), ("price_cents", "price"),
    ("every_minutes", "viableIncrement"), ("day_cap_cents", "maximumDayPrice"), ("minimum_minutes", "minimumDuration"),
    ("maximum_minutes", "maximumDuration"),
)  # fmt: skip


class SwissRail:
    """Implements TariffShape."""

    name = "swiss-rail"

    def read(self, shape: Mapping[str, Any], title: str = "") -> Tariff:
        """The tariff of a pricingModel. Raises Invalid with every fault; a model without a day price is no price."""
        segments = shape.get("priceSegments")
        if shape.get("maximumDayPrice") is None:
            raise Invalid("no day price: this car park is not priced", [("maximumDayPrice", "required")])
        increment = shape.get("viableIncrement")
        if type(increment) is not int or increment < 1:
            raise Invalid("viableIncrement: minutes from 1 on", [("viableIncrement", "minutes from 1 on")])
        steps = segments if isinstance(segments, list) else []
        written = {
            "name": title,
            "currency": "CHF",
            "vat_percent": VAT_PERCENT,
            "cap_window": ROLLING_24H,
            "day_cap_cents": shape.get("maximumDayPrice"),
            "minimum_minutes": shape.get("minimumDuration", 0),
            "maximum_minutes": shape.get("maximumDuration", 0),
            "steps": [_step(step, increment) for step in steps],
        }
        try:
            return read_tariff(written, "Europe/Zurich")
        except Invalid as error:
            faults = [(_their_name(field), text) for field, text in error.faults]
            raise Invalid("; ".join(f"{field}: {text}" for field, text in faults), faults) from error

    def write(self, tariff: Tariff) -> dict[str, Any]:
        """The pricingModel of a tariff. Raises Invalid naming all that it has no words for."""
        increments = {step.every_minutes for step in tariff.steps}
        cannot = {
            "steps": len(increments) != 1 or 0 in increments,
            "currency": tariff.currency != "CHF",
            "day_cap_cents": tariff.cap_minor is None or tariff.cap_window != ROLLING_24H,
            "bands": tariff.bands,
            "free_minutes": tariff.free_minutes,
            "entry_fee_cents": tariff.entry_fee_minor,
            "stay_cap_cents": tariff.stay_cap_minor is not None,
            "valid_from": tariff.valid_from,
            "valid_to": tariff.valid_to,
        }
        faults = [(field, f"{self.name} cannot say this") for field, there in cannot.items() if there]
        if faults:
            raise Invalid(f"{self.name} cannot say: " + ", ".join(field for field, _ in faults), faults)
        return {
            "minimumDuration": tariff.minimum_minutes,
            "maximumDuration": tariff.maximum_minutes,
            "maximumDayPrice": tariff.cap_minor,
            "viableIncrement": increments.pop(),
            "priceSegments": [{"startingFrom": step.from_minutes, "price": step.price_minor} for step in tariff.steps],
        }


def priced_car_parks(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Id, name and pricingModel of each priced car park in the railway's GeoJSON. Raises Invalid."""
    try:
        features = json.loads(path.read_bytes())["features"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{path} is not the railway's GeoJSON: {error}") from error
    for feature in features:
        told = feature["properties"]
        if told["pricingModel"].get("maximumDayPrice") is not None:
            yield feature["id"], told["displayName"], told["pricingModel"]


def _step(segment: Any, increment: int) -> Any:
    if not isinstance(segment, Mapping):
        return segment
    known = {"startingFrom": "from_minutes", "price": "price_cents"}
    return {known.get(field, field): value for field, value in segment.items()} | {"every_minutes": increment}


def _their_name(field: str) -> str:
    for ours, theirs in _NAMES:
        field = field.replace(ours, theirs)
    return field
