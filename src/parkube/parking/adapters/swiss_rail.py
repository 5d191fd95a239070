"""The Swiss railway's car parks (SBB open data, GeoJSON), and their tariffs (`pricingModel`) to and from ours.

A segment's price is for each started viableIncrement of minutes; amounts are rappen. minimumDuration is what a stay is
billed at least, maximumDuration what it may be at most. The data does not say what a day is: maximumDayPrice is taken
for each 24 hours from the entry, and the segments run on after them. Season tickets are not tariffs of a stay, and the
VAT of 8.1 % is the country's, not the file's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.garages import STANDARD_TARIFF, Garage
from parkube.parking.domain.tariffs import Tariff, read_tariff
from parkube.parking.domain.tariffs.model import ROLLING_24H
from parkube.parking.services.importing import Report

SOURCE: Final = "sbb"
VAT_PERCENT: Final = "8.1"
_SWITZERLAND: Final = (45.6, 47.9, 5.7, 10.6)  # south, north, west, east, with the border towns that the railway serves
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
            "rolling_cap_cents": tariff.rolling_cap_minor is not None,
            "energy_cents_per_kwh": tariff.energy_minor_per_kwh,
            "dynamic": tariff.dynamic,
            "variants": tariff.variants,
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


def read(path: Path, report: Report) -> list[Garage]:
    """The car parks of the file with their tariffs; what was refused is in the report. One without a price is known but
    cannot be booked. Raises Invalid where the file is not whole."""
    garages: dict[str, Garage] = {}
    for index, feature in enumerate(_features(path)):
        report.read += 1
        where = f"feature {index}"
        try:
            garage = _garage(feature)
        except Invalid as error:
            report.refused.append(f"{where} ({feature.get('id')!r}): {error.message}")
            continue
        if garage.id in garages:
            report.duplicates.append(f"{where}: {garage.source_ref} is there before, as {garages[garage.id].name!r}")
            continue
        garages[garage.id] = garage
    return list(garages.values())


def priced_car_parks(path: Path) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Id, name and pricingModel of each priced car park in the railway's GeoJSON. Raises Invalid."""
    for feature in _features(path):
        told = feature["properties"]
        if told["pricingModel"].get("maximumDayPrice") is not None:
            yield feature["id"], told["displayName"], told["pricingModel"]


def _features(path: Path) -> list[dict[str, Any]]:
    try:
        features = json.loads(path.read_bytes())["features"]
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(f"{path} is not the railway's GeoJSON, or it has been cut: nothing was imported") from error
    if not isinstance(features, list) or not all(isinstance(each, dict) for each in features):
        raise Invalid(f"{path} is not the railway's GeoJSON: its features are no objects")
    return features


def _garage(feature: Mapping[str, Any]) -> Garage:
    """One car park. Raises Invalid with every fault."""
    told = feature.get("properties")
    told = told if isinstance(told, Mapping) else {}
    faults: list[tuple[str, str]] = []
    ref, name = str(feature.get("id") or ""), str(told.get("displayName") or "").strip()
    short = re.sub("[^0-9a-z]", "", ref.lower())[:8]
    if not short:
        faults.append(("id", "it has no id"))
    if not name:
        faults.append(("displayName", "it has no name"))
    position = _position(feature.get("geometry"), faults)
    capacity = _capacity(told.get("capacities"), faults)
    model = told.get("pricingModel")
    tariff = STANDARD_TARIFF
    priced = isinstance(model, Mapping) and model.get("maximumDayPrice") is not None
    if isinstance(model, Mapping) and priced:
        try:
            tariff = SwissRail().read(model, name)
        except Invalid as error:
            faults.extend(error.faults)
    if faults:
        raise Invalid("; ".join(f"{field}: {text}" for field, text in faults), faults)
    address = told.get("address")
    return Garage(
        id=f"ch-{short}",
        name=name,
        city=str(address.get("city") or "") if isinstance(address, Mapping) else "",
        latitude=position[0],
        longitude=position[1],
        time_zone="Europe/Zurich",
        country="CH",
        usage="parkAndRide",
        capacity=capacity or None,
        tariff=tariff,
        bookable=priced,
        source=SOURCE,
        source_ref=ref,
    )


def _position(geometry: Any, faults: list[tuple[str, str]]) -> tuple[float, float]:
    south, north, west, east = _SWITZERLAND
    try:
        longitude, latitude = (float(each) for each in geometry["coordinates"])
    except (TypeError, ValueError, KeyError):
        faults.append(("geometry", "a point of longitude and latitude"))
        return 0.0, 0.0
    if not (south <= latitude <= north and west <= longitude <= east):
        faults.append(("geometry", f"{latitude}, {longitude} is not in Switzerland or beside it"))
    return latitude, longitude


def _capacity(told: Any, faults: list[tuple[str, str]]) -> int:
    try:
        totals = [each["total"] or 0 for each in told]
    except (TypeError, KeyError):
        totals = [-1]
    if any(type(total) is not int or not 0 <= total < 100_000 for total in totals):
        faults.append(("capacities", "a list of objects with a total of bays"))
        return 0
    return sum(totals)


def _step(segment: Any, increment: int) -> Any:
    if not isinstance(segment, Mapping):
        return segment
    known = {"startingFrom": "from_minutes", "price": "price_cents"}
    return {known.get(field, field): value for field, value in segment.items()} | {"every_minutes": increment}


def _their_name(field: str) -> str:
    for ours, theirs in _NAMES:
        field = field.replace(ours, theirs)
    return field
