"""Rate tables of APDS / ISO 5206-1 (RateTable, RateLineCollection, RateLine), to and from our tariffs.

How the standard's words are read here: a collection with a usage period is a band of hours, the one without is the rest
of the day. A line's durations count from the entry; without them a line follows the one before, which lasts one
increment. incrementingRate is for each started incrementPeriod, flatRate once, flatRateTier what the stay costs in all.
maxValueCollection caps a stay, or with a resetTime of 00:00 a day: the calendar's, or with relativeTimes each 24 hours
from the entry. Values are in the currency's major unit and include tax. Days of the week, people and places are a
right's (RightSpecification), graces nobody's. id and version are the publisher's. Source: APDS data model, release 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.money import amount_text
from parkube.parking.domain.tariffs import Band, Step, Tariff, read_tariff
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, ROLLING_24H, SPLIT
from parkube.parking.domain.tariffs.written import clock_text

_DURATION: Final = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:0S)?)?")
_CLOCK: Final = re.compile(r"(\d\d:\d\d)(:00|:59)?(\.0+)?")
_INCREMENTING, _FLAT, _TIER = "incrementingRate", "flatRate", "flatRateTier"
_RESET: Final = "00:00:00"

Faults = list[tuple[str, str]]


class ApdsRates:
    """Implements TariffShape. `time_zone`: the place's; a rate table has none."""

    name = "apds"

    def __init__(self, time_zone: str = "Europe/Amsterdam") -> None:
        self._zone = time_zone

    def read(self, shape: Mapping[str, Any], title: str = "") -> Tariff:
        """The tariff of a RateTable. Raises Invalid with every fault, in the table's own words."""
        faults: Faults = []
        written: dict[str, Any] = {"name": title or _text(shape.get("rateTableName")), "time_zone": self._zone}
        for field, ours in (("validityStart", "valid_from"), ("validityEnd", "valid_to")):
            if shape.get(field) is not None:
                written[ours] = _local_date(shape[field], field, self._zone, faults)
        collections = shape.get("rateLineCollections")
        if not isinstance(collections, list) or not all(isinstance(each, Mapping) for each in collections):
            raise Invalid("rateLineCollections: a list of objects", [("rateLineCollections", "a list of objects")])
        bands: list[dict[str, Any]] = []
        places: list[str] = []
        base = "rateLineCollections"
        for index, collection in enumerate(collections):
            at = f"rateLineCollections[{index}]"
            _shared(collection, at, written, faults)
            if collection.get("startValidUsagePeriod") or collection.get("endValidUsagePeriod"):
                bands.append(_band(collection, at, faults))
                places.append(at)
            elif "steps" in written or "prices_up_to" in written:
                faults.append((at, "a second collection for the same hours"))
            else:
                base = at
                _base(collection, at, written, faults)
        if bands:
            written["bands"] = bands
        if faults:
            raise _refused(faults)
        try:
            return read_tariff(written, self._zone)
        except Invalid as error:
            raise _refused([(_theirs(field, base, places), text) for field, text in error.faults]) from error

    def write(self, tariff: Tariff) -> dict[str, Any]:
        """The RateTable of a tariff. Raises Invalid naming all that it has no words for."""
        cannot = {
            "bands": any(band.days or band.dates for band in tariff.bands),
            "crossing": tariff.bands and tariff.crossing != SPLIT,
            "entry_fee_cents": tariff.entry_fee_minor,
            "energy_cents_per_kwh": tariff.energy_minor_per_kwh,
            "dynamic": tariff.dynamic,
            "variants": tariff.variants,
            "free_minutes": tariff.free_minutes and (tariff.bands or tariff.minimum_minutes),
            "stay_cap_cents": len(_caps(tariff)) > 1,
        }
        faults = [(field, f"{self.name} cannot say this") for field, there in cannot.items() if there]
        if faults:
            raise Invalid(f"{self.name} cannot say: " + ", ".join(field for field, _ in faults), faults)
        table: dict[str, Any] = {"rateTableName": [{"language": "en", "string": tariff.name}]}
        for field, day in (("validityStart", tariff.valid_from), ("validityEnd", tariff.valid_to)):
            if day is not None:
                table[field] = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(tariff.time_zone)).isoformat()
        collections = []
        if tariff.steps:
            collections.append(self._collection(tariff, _with_free(tariff), None))
        collections.extend(self._collection(tariff, band.steps, band) for band in tariff.bands)
        table["rateLineCollections"] = [{"collectionSequence": i} | each for i, each in enumerate(collections, 1)]
        return table

    def _collection(self, tariff: Tariff, steps: Sequence[Step], band: Band | None) -> dict[str, Any]:
        made: dict[str, Any] = {
            "applicableCurrency": tariff.currency, "taxIncluded": True, "taxRate": float(tariff.vat_percent),
        }  # fmt: skip
        if tariff.minimum_minutes:
            made["minTime"] = _duration(tariff.minimum_minutes)
        if tariff.maximum_minutes:
            made["maxTime"] = _duration(tariff.maximum_minutes)
        if band is not None:
            made |= {
                "additionalInformation": [{"language": "en", "string": band.name}],
                "startValidUsagePeriod": clock_text(band.starts_minute) + ":00",
                "endValidUsagePeriod": clock_text(band.ends_minute % 1440) + ":00",
            }
            if band.cap_minor is not None:
                made["maxValueCollection"] = _major(band.cap_minor)
        else:
            for cap, resets in _caps(tariff):
                made |= {"maxValueCollection": _major(cap)} | resets
        made["rateLines"] = [_line(steps, index) for index in range(len(steps))]
        return made


def _caps(tariff: Tariff) -> list[tuple[int, dict[str, Any]]]:
    """Every cap of a tariff but its bands', with what the standard says besides."""
    window = tariff.cap_window
    caps = ((tariff.cap_minor, window), (tariff.rolling_cap_minor, ROLLING_24H), (tariff.stay_cap_minor, ""))
    resets = {CALENDAR_DAY: {"resetTime": _RESET, "relativeTimes": False},
              ROLLING_24H: {"resetTime": _RESET, "relativeTimes": True}, "": {}}  # fmt: skip
    return [(cap, resets[window]) for cap, window in caps if cap is not None]


def _with_free(tariff: Tariff) -> list[Step]:
    """Free minutes are a line at no price that the others follow."""
    free = tariff.free_minutes
    shifted = [Step(step.from_minutes + free, step.every_minutes, step.price_minor) for step in tariff.steps]
    return [Step(0, 0, 0), *shifted] if free else shifted


def _line(steps: Sequence[Step], index: int) -> dict[str, Any]:
    step = steps[index]
    made = {"sequence": index + 1, "rateLineType": _INCREMENTING if step.every_minutes else _FLAT,
            "value": _major(step.price_minor), "durationStart": _duration(step.from_minutes)}  # fmt: skip
    if step.every_minutes:
        made["incrementPeriod"] = _duration(step.every_minutes)
    if index + 1 < len(steps):
        made["durationEnd"] = _duration(steps[index + 1].from_minutes)
    return made


def _shared(collection: Mapping[str, Any], at: str, written: dict[str, Any], faults: Faults) -> None:
    """What all collections of a table must agree about, since a tariff says it once."""
    if collection.get("taxIncluded", True) is not True:
        faults.append((f"{at}.taxIncluded", "prices without tax are not shown to drivers"))
    said = {
        "currency": collection.get("applicableCurrency"),
        "vat_percent": None if collection.get("taxRate") is None else str(collection["taxRate"]),
    }
    for field, name in (("minimum_minutes", "minTime"), ("maximum_minutes", "maxTime")):
        if collection.get(name) is not None:
            said[field] = _minutes(collection[name], f"{at}.{name}", faults)
    if collection.get("minValueCollection"):
        faults.append((f"{at}.minValueCollection", "a tariff here has no least price"))
    names = {"currency": "applicableCurrency", "vat_percent": "taxRate", "minimum_minutes": "minTime",
             "maximum_minutes": "maxTime"}  # fmt: skip
    for field, value in said.items():
        if value is not None and written.setdefault(field, value) != value:
            faults.append((f"{at}.{names[field]}", f"not that of the collection before: {written[field]}"))


def _base(collection: Mapping[str, Any], at: str, written: dict[str, Any], faults: Faults) -> None:
    lines = _lines(collection, at, faults)
    if lines and all(line.get("rateLineType") == _TIER for line in lines):
        written["prices_up_to"] = [
            {
                "minutes": _minutes(line.get("durationEnd"), f"{at}.rateLines[{index}].durationEnd", faults),
                "price_cents": _minor(line.get("value"), f"{at}.rateLines[{index}].value", faults),
            }
            for index, line in enumerate(lines)
        ]
    else:
        written["steps"] = _steps(lines, at, faults)
        steps = written["steps"]
        if len(steps) > 1 and steps[0]["every_minutes"] == 0 and steps[0]["price_cents"] == 0:
            free = written["free_minutes"] = steps[1]["from_minutes"]
            written["steps"] = [step | {"from_minutes": step["from_minutes"] - free} for step in steps[1:]]
    if collection.get("maxValueCollection") is None:
        return
    cap = _minor(collection["maxValueCollection"], f"{at}.maxValueCollection", faults)
    reset = collection.get("resetTime")
    if reset is None:
        written["stay_cap_cents"] = cap
    elif str(reset).strip("0:") == "":
        written["day_cap_cents"] = cap
        written["cap_window"] = ROLLING_24H if collection.get("relativeTimes") else CALENDAR_DAY
    else:
        faults.append((f"{at}.resetTime", "a day begins at 00:00 here"))


def _band(collection: Mapping[str, Any], at: str, faults: Faults) -> dict[str, Any]:
    made: dict[str, Any] = {"name": _text(collection.get("additionalInformation")) or at}
    for field, ours in (("startValidUsagePeriod", "from"), ("endValidUsagePeriod", "to")):
        found = _CLOCK.fullmatch(str(collection.get(field) or ""))
        if found is None:
            faults.append((f"{at}.{field}", "a time like 18:00:00"))
            continue
        last = ours == "to" and (found[1] == "00:00" or (found[1] == "23:59" and found[2] == ":59"))
        made[ours] = "24:00" if last else found[1]
    if collection.get("maxValueCollection") is not None:
        made["cap_cents"] = _minor(collection["maxValueCollection"], f"{at}.maxValueCollection", faults)
    made["steps"] = _steps(_lines(collection, at, faults), at, faults)
    return made


def _lines(collection: Mapping[str, Any], at: str, faults: Faults) -> list[Mapping[str, Any]]:
    lines = collection.get("rateLines")
    if not isinstance(lines, list) or not lines or not all(isinstance(line, Mapping) for line in lines):
        faults.append((f"{at}.rateLines", "a list of at least one object"))
        return []
    return lines


def _steps(lines: Sequence[Mapping[str, Any]], at: str, faults: Faults) -> list[dict[str, int]]:
    steps: list[dict[str, int]] = []
    reached: int | None = 0
    for index, line in enumerate(lines):
        place = f"{at}.rateLines[{index}]"
        kind, every = line.get("rateLineType"), 0
        if kind == _INCREMENTING:
            every = _minutes(line.get("incrementPeriod"), f"{place}.incrementPeriod", faults)
        elif kind != _FLAT:
            faults.append((f"{place}.rateLineType", f"{_INCREMENTING} or {_FLAT}, or all lines {_TIER}"))
        start = reached
        if line.get("durationStart") is not None:
            start = _minutes(line["durationStart"], f"{place}.durationStart", faults)
            if reached is not None and start != reached:
                what = "a gap" if start > reached else "an overlap"
                faults.append((f"{place}.durationStart", f"{what}: the line before ends at {reached} minutes"))
        if start is None:
            faults.append((f"{place}.durationStart", "required: the line before has no end"))
        if line.get("durationEnd") is not None:
            reached = _minutes(line["durationEnd"], f"{place}.durationEnd", faults)
        else:
            reached = start + every if start is not None and every else None
        amount = _minor(line.get("value"), f"{place}.value", faults)
        steps.append({"from_minutes": start or 0, "every_minutes": every, "price_cents": amount})
    return steps


def _minutes(text: Any, field: str, faults: Faults) -> int:
    found = _DURATION.fullmatch(text) if isinstance(text, str) and text[-1:] not in ("P", "T") else None
    if found is None:
        faults.append((field, "a duration of whole minutes like PT1H30M"))
        return 0
    days, hours, minutes = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def _duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if not minutes:
        return "PT0S"
    return "PT" + (f"{hours}H" if hours else "") + (f"{rest}M" if rest else "")


def _minor(value: Any, field: str, faults: Faults) -> int:
    try:
        minor = Decimal(str(value)) * 100 if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        minor = Decimal("NaN")
    if not minor.is_finite() or minor != int(minor) or minor < 0:
        faults.append((field, "an amount from 0 on with two places"))
        return 0
    return int(minor)


def _major(minor: int) -> float:
    return float(amount_text(minor))


def _text(told: Any) -> str:
    """A multilingual text: the English one, or any; the standard's JSON has it as a list or as an object."""
    if isinstance(told, Mapping):
        return str(told.get("en") or next(iter(told.values()), ""))
    if isinstance(told, list):
        texts = {str(each.get("language")): str(each.get("string", "")) for each in told if isinstance(each, Mapping)}
        return texts.get("en") or next(iter(texts.values()), "")
    return str(told or "")


def _local_date(told: Any, field: str, zone: str, faults: Faults) -> str | None:
    try:
        moment = datetime.fromisoformat(str(told))
        local = moment.astimezone(ZoneInfo(zone)) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        faults.append((field, "a time like 2026-01-01T00:00:00+01:00"))
        return None
    if (local.hour, local.minute, local.second) != (0, 0, 0):
        faults.append((field, f"a tariff changes at midnight in {zone}"))
    return str(local.date())


def _theirs(field: str, base: str, places: Sequence[str]) -> str:
    """A field of ours as the rate table's. Free minutes shift the steps, so a line is named by its collection alone."""
    band = re.match(r"bands\[(\d+)\]", field)
    if band:
        return places[int(band[1])]
    return {"currency": f"{base}.applicableCurrency", "vat_percent": f"{base}.taxRate"}.get(field, base)


def _refused(faults: Faults) -> Invalid:
    return Invalid("; ".join(f"{field}: {text}" for field, text in faults), faults)
