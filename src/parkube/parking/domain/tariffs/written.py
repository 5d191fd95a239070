"""The written form of a tariff, as JSON, YAML and the Tariff resource carry it; all faults are named at once.

{"name": "Centre", "currency": "EUR", "vat_percent": "21", "free_minutes": 0,
 "steps": [{"from_minutes": 0, "every_minutes": 30, "price_cents": 150}],
 "bands": [{"name": "evening", "from": "18:00", "to": "07:00", "days": ["fri", "sat"], "price_cents": 500}],
 "day_cap_cents": 2500, "cap_window": "calendar_day", "entry_grace_minutes": 15, "exit_grace_minutes": 10}

Instead of steps: "prices_up_to": [{"minutes": 60, "price_cents": 300}, …], what a stay costs in all.
tariff.schema.json says the same for editors. A tariff without bands, fees and limits is written without their fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.money import ROUNDINGS
from parkube.parking.domain.tariffs import fields, variants
from parkube.parking.domain.tariffs.checks import whole_faults
from parkube.parking.domain.tariffs.fields import Faults
from parkube.parking.domain.tariffs.model import CAP_WINDOWS, CROSSINGS, DAYS, Band, Dynamic, Step, Tariff
from parkube.parking.domain.times import zone

FIELDS: Final = {
    "name", "currency", "time_zone", "vat_percent", "free_minutes", "steps", "day_cap_cents", "cap_window",
    "entry_grace_minutes", "exit_grace_minutes", "bands", "crossing", "prices_up_to", "entry_fee_cents",
    "stay_cap_cents", "minimum_minutes", "maximum_minutes", "holidays", "valid_from", "valid_to", "rounding",
    "rolling_cap_cents", "booking_grace_minutes", "holiday_calendar", "energy_cents_per_kwh", "energy_vat_percent",
    "dynamic", "variants",
}  # fmt: skip
BAND_FIELDS: Final = {"name", "from", "to", "days", "dates", "price_cents", "steps", "cap_cents"}
_MOST_BANDS: Final = 50


def read_tariff(written: Mapping[str, Any], time_zone: str = "Europe/Amsterdam") -> Tariff:
    """The tariff of a written form. Raises Invalid with every fault."""
    faults: Faults = []
    read = _read(written, time_zone, faults)
    found = variants.read(written, lambda item, own: _read(item, time_zone, own), faults)
    if found:
        read = replace(read, variants=found)
        if not any(field.startswith(("variants", "valid_")) for field, _ in faults):
            faults.extend(variants.between(read))
    if faults:
        named = "; ".join(f"{field}: {text}" for field, text in faults)
        raise Invalid(f"the tariff has {len(faults)} fault{'s' if len(faults) > 1 else ''}: {named}", faults)
    return read


def _read(written: Mapping[str, Any], time_zone: str, faults: Faults) -> Tariff:
    """One tariff without its variants; its faults are added."""
    faults.extend((field, "unknown field") for field in written if field not in FIELDS)
    currency = written.get("currency", "EUR")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        faults.append(("currency", "three capital letters, as ISO 4217 has them"))
    zone_name = str(written.get("time_zone") or time_zone)
    try:
        zone(zone_name)
    except Invalid as error:
        faults.append(("time_zone", error.message))
    bands = _bands(written.get("bands"), faults)
    energy_vat = written.get("energy_vat_percent")
    read = Tariff(
        steps=_steps(written, faults),
        currency=str(currency),
        time_zone=zone_name,
        vat_percent=fields.percent(written.get("vat_percent", "21"), "vat_percent", faults),
        free_minutes=fields.whole(written, "free_minutes", faults, default=0),
        cap_minor=fields.maybe_whole(written, "day_cap_cents", faults),
        cap_window=fields.one_of(written, "cap_window", CAP_WINDOWS, faults),
        entry_grace_minutes=fields.whole(written, "entry_grace_minutes", faults, default=15),
        exit_grace_minutes=fields.whole(written, "exit_grace_minutes", faults, default=10),
        name=str(written.get("name", "")),
        bands=bands,
        crossing=fields.one_of(written, "crossing", CROSSINGS, faults),
        entry_fee_minor=fields.whole(written, "entry_fee_cents", faults, default=0),
        stay_cap_minor=fields.maybe_whole(written, "stay_cap_cents", faults),
        minimum_minutes=fields.whole(written, "minimum_minutes", faults, default=0),
        maximum_minutes=fields.whole(written, "maximum_minutes", faults, default=0),
        holidays=fields.dates(written, "holidays", faults),
        valid_from=fields.day(written, "valid_from", faults),
        valid_to=fields.day(written, "valid_to", faults),
        rounding=fields.one_of(written, "rounding", tuple(ROUNDINGS), faults),
        rolling_cap_minor=fields.maybe_whole(written, "rolling_cap_cents", faults),
        booking_grace_minutes=fields.whole(written, "booking_grace_minutes", faults, default=0),
        holiday_calendar=fields.calendar(written, "holiday_calendar", faults),
        energy_minor_per_kwh=fields.per_kwh(written.get("energy_cents_per_kwh", "0"), "energy_cents_per_kwh", faults),
        energy_vat_percent=None if energy_vat is None else fields.percent(energy_vat, "energy_vat_percent", faults),
        dynamic=fields.dynamic(written.get("dynamic"), faults),
    )
    broken = {index for index in range(len(bands)) if any(field.startswith(f"bands[{index}]") for field, _ in faults)}
    # Where a band is broken, hours would be named that only the broken field leaves without a price.
    unsure = any(field.startswith(("bands", "steps", "prices_up_to", "holiday")) for field, _ in faults)
    faults.extend(fault for fault in whole_faults(read, broken) if not unsure or fault[0] != "steps")
    return read


def write_tariff(tariff: Tariff) -> dict[str, Any]:
    """The written form; read_tariff of it is the same tariff."""
    written: dict[str, Any] = {
        "name": tariff.name,
        "currency": tariff.currency,
        "time_zone": tariff.time_zone,
        "vat_percent": str(tariff.vat_percent),
        "free_minutes": tariff.free_minutes,
        "cap_window": tariff.cap_window,
        "entry_grace_minutes": tariff.entry_grace_minutes,
        "exit_grace_minutes": tariff.exit_grace_minutes,
    }
    said: dict[str, Any] = {
        "steps": _write_steps(tariff.steps),
        "bands": [_write_band(band) for band in tariff.bands],
        "entry_fee_cents": tariff.entry_fee_minor,
        "minimum_minutes": tariff.minimum_minutes,
        "maximum_minutes": tariff.maximum_minutes,
        "holidays": [str(day) for day in sorted(tariff.holidays)],
        "valid_from": tariff.valid_from and str(tariff.valid_from),
        "valid_to": tariff.valid_to and str(tariff.valid_to),
        "crossing": tariff.crossing if tariff.crossing != CROSSINGS[0] else None,
        "rounding": tariff.rounding if tariff.rounding != next(iter(ROUNDINGS)) else None,
        "booking_grace_minutes": tariff.booking_grace_minutes,
        "holiday_calendar": tariff.holiday_calendar,
        "energy_cents_per_kwh": str(tariff.energy_minor_per_kwh) if tariff.energy_minor_per_kwh else None,
        "energy_vat_percent": None if tariff.energy_vat_percent is None else str(tariff.energy_vat_percent),
        "dynamic": None if tariff.dynamic is None else _write_dynamic(tariff.dynamic),
        "variants": [variants.write(each, write_tariff(each.tariff), tariff) for each in tariff.variants],
    }
    written.update((field, value) for field, value in said.items() if value)
    if tariff.cap_minor is not None:
        written["day_cap_cents"] = tariff.cap_minor
    if tariff.rolling_cap_minor is not None:
        written["rolling_cap_cents"] = tariff.rolling_cap_minor
    if tariff.stay_cap_minor is not None:
        written["stay_cap_cents"] = tariff.stay_cap_minor
    return written


def _steps(written: Mapping[str, Any], faults: Faults) -> tuple[Step, ...]:
    if "prices_up_to" in written:
        if "steps" in written:
            faults.append(("prices_up_to", "steps or prices_up_to, not both"))
        return fields.totals(written["prices_up_to"], faults)
    if written.get("bands") and "steps" not in written:
        return ()
    return fields.steps(written.get("steps"), faults)


def _bands(written: Any, faults: Faults) -> tuple[Band, ...]:
    if written is None:
        return ()
    if not isinstance(written, list) or len(written) > _MOST_BANDS:
        faults.append(("bands", f"a list of at most {_MOST_BANDS} bands"))
        return ()
    found: list[Band] = []
    for index, item in enumerate(written):
        if not isinstance(item, Mapping):
            faults.append((f"bands[{index}]", "an object"))
        # What is no object is kept as an empty band, so that every other band is named by its own place.
        found.append(_band(item, f"bands[{index}].", faults) if isinstance(item, Mapping) else Band("", 0, 0, ()))
    return tuple(found)


def _band(item: Mapping[str, Any], at: str, faults: Faults) -> Band:
    faults.extend((at + str(field), "unknown field") for field in item if field not in BAND_FIELDS)
    name = item.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        faults.append((at + "name", "1 to 100 characters" if "name" in item else "required"))
    days = item.get("days", [])
    if not isinstance(days, list) or any(day not in DAYS for day in days):
        faults.append((at + "days", "a list out of " + ", ".join(DAYS)))
        days = []
    starts, ends = fields.clock(item, "from", faults, at), fields.clock(item, "to", faults, at)
    if starts == 1440:
        faults.append((at + "from", "24:00 is only an end"))
    if ("price_cents" in item) == ("steps" in item):
        faults.append((at + "price_cents", "either price_cents, once for the band, or steps"))
    if "price_cents" in item:
        steps: tuple[Step, ...] = (Step(0, 0, fields.whole(item, "price_cents", faults, at)),)
    else:
        steps = fields.steps(item.get("steps"), faults, at) if "steps" in item else ()
    on, cap = fields.dates(item, "dates", faults, at), fields.maybe_whole(item, "cap_cents", faults, at)
    return Band(str(name), starts % 1440, ends, steps, frozenset(days), on, cap)


def _write_steps(steps: tuple[Step, ...]) -> list[dict[str, int]]:
    return [
        {"from_minutes": step.from_minutes, "every_minutes": step.every_minutes, "price_cents": step.price_minor}
        for step in steps
    ]


def _write_band(band: Band) -> dict[str, Any]:
    written: dict[str, Any] = {
        "name": band.name,
        "from": clock_text(band.starts_minute),
        "to": clock_text(band.ends_minute),
    }
    if band.days:
        written["days"] = [day for day in DAYS if day in band.days]
    if band.dates:
        written["dates"] = [str(day) for day in sorted(band.dates)]
    written.update({"price_cents": band.steps[0].price_minor} if band.is_flat else {"steps": _write_steps(band.steps)})
    if band.cap_minor is not None:
        written["cap_cents"] = band.cap_minor
    return written


def _write_dynamic(moving: Dynamic) -> dict[str, Any]:
    return {
        "lowest_percent": moving.lowest_percent,
        "highest_percent": moving.highest_percent,
        "by_occupancy": [{"from_percent": start, "price_percent": price} for start, price in moving.by_occupancy],
        "by_date": [
            {"from": str(season.start), "to": str(season.end), "price_percent": season.price_percent}
            for season in moving.by_date
        ],
    }


def clock_text(minute: int) -> str:
    """Minutes after midnight as 18:30."""
    return f"{minute // 60:02d}:{minute % 60:02d}"
