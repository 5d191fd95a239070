"""The written form of a tariff, as JSON and as the Tariff resource carry it; all faults are named at once.

{"name": "Centre", "currency": "EUR", "vat_percent": "21", "free_minutes": 0,
 "steps": [{"from_minutes": 0, "every_minutes": 30, "price_cents": 150}],
 "day_cap_cents": 2500, "cap_window": "calendar_day", "entry_grace_minutes": 15, "exit_grace_minutes": 10}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.money import amount_text
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, CAP_WINDOWS, Step, Tariff
from parkube.parking.domain.times import zone

_FIELDS: Final = {
    "name", "currency", "time_zone", "vat_percent", "free_minutes", "steps", "day_cap_cents", "cap_window",
    "entry_grace_minutes", "exit_grace_minutes",
}  # fmt: skip
_STEP_FIELDS: Final = {"from_minutes", "every_minutes", "price_cents"}
_MOST: Final = 100_000_000

Faults = list[tuple[str, str]]


def read_tariff(written: Mapping[str, Any], time_zone: str = "Europe/Amsterdam") -> Tariff:
    """The tariff of a written form. Raises Invalid with every fault."""
    faults: Faults = [(field, "unknown field") for field in written if field not in _FIELDS]
    currency = written.get("currency", "EUR")
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        faults.append(("currency", "three capital letters, as ISO 4217 has them"))
    window = written.get("cap_window", CALENDAR_DAY)
    if window not in CAP_WINDOWS:
        faults.append(("cap_window", "one of " + ", ".join(CAP_WINDOWS)))
    zone_name = written.get("time_zone") or time_zone
    try:
        zone(str(zone_name))
    except Invalid as error:
        faults.append(("time_zone", error.message))
    cap = written.get("day_cap_cents")
    if cap is not None:
        cap = _whole(written, "day_cap_cents", faults, "")
    numbers = {
        field: _whole(written, field, faults, "", default)
        for field, default in (("free_minutes", 0), ("entry_grace_minutes", 15), ("exit_grace_minutes", 10))
    }
    vat = _vat(written.get("vat_percent", "21"), faults)
    steps = _steps(written.get("steps"), faults)
    if faults:
        named = "; ".join(f"{field}: {text}" for field, text in faults)
        raise Invalid(f"the tariff has {len(faults)} fault{'s' if len(faults) > 1 else ''}: {named}", faults)
    return Tariff(
        steps=steps,
        currency=str(currency),
        time_zone=str(zone_name),
        vat_percent=vat,
        free_minutes=numbers["free_minutes"],
        cap_minor=cap,
        cap_window=str(window),
        entry_grace_minutes=numbers["entry_grace_minutes"],
        exit_grace_minutes=numbers["exit_grace_minutes"],
        name=str(written.get("name", "")),
    )


def write_tariff(tariff: Tariff) -> dict[str, Any]:
    """The written form; read_tariff of it is the same tariff."""
    written: dict[str, Any] = {
        "name": tariff.name,
        "currency": tariff.currency,
        "time_zone": tariff.time_zone,
        "vat_percent": str(tariff.vat_percent),
        "free_minutes": tariff.free_minutes,
        "steps": [
            {"from_minutes": step.from_minutes, "every_minutes": step.every_minutes, "price_cents": step.price_minor}
            for step in tariff.steps
        ],
        "cap_window": tariff.cap_window,
        "entry_grace_minutes": tariff.entry_grace_minutes,
        "exit_grace_minutes": tariff.exit_grace_minutes,
    }
    if tariff.cap_minor is not None:
        written["day_cap_cents"] = tariff.cap_minor
    return written


def tariff_words(tariff: Tariff) -> list[str]:
    """A tariff in a few short phrases, for people."""
    words = [f"first {tariff.free_minutes} min free"] if tariff.free_minutes else []
    for step in tariff.steps:
        amount = f"{tariff.currency} {amount_text(step.price_minor)}"
        rate = f"{amount} per {step.every_minutes} min" if step.every_minutes else f"{amount} once"
        words.append(f"after {step.from_minutes} min: {rate}" if step.from_minutes else rate)
    if tariff.cap_minor is not None:
        day = "a calendar day" if tariff.cap_window == CALENDAR_DAY else "24 hours"
        words.append(f"at most {tariff.currency} {amount_text(tariff.cap_minor)} in {day}")
    return words


def _steps(written: Any, faults: Faults) -> tuple[Step, ...]:
    if not isinstance(written, list) or not written:
        faults.append(("steps", "at least one step is needed"))
        return ()
    if len(written) > 100:
        faults.append(("steps", "at most 100"))
        return ()
    steps: list[Step] = []
    for index, item in enumerate(written):
        at = f"steps[{index}]"
        if not isinstance(item, Mapping):
            faults.append((at, "an object"))
            continue
        faults.extend((f"{at}.{field}", "unknown field") for field in item if field not in _STEP_FIELDS)
        start = _whole(item, "from_minutes", faults, f"{at}.", 0 if index == 0 else None)
        every = _whole(item, "every_minutes", faults, f"{at}.")
        steps.append(Step(start, every, _whole(item, "price_cents", faults, f"{at}.")))
        if index == 0 and start != 0:
            faults.append((f"{at}.from_minutes", "the first step begins at 0"))
        if index > 0 and len(steps) > 1 and start <= steps[-2].from_minutes:
            faults.append((f"{at}.from_minutes", "steps are in order, each after the one before"))
    return tuple(steps)


def _whole(source: Mapping[str, Any], field: str, faults: Faults, prefix: str, default: int | None = None) -> int:
    value = source.get(field, default)
    if type(value) is not int or not 0 <= value <= _MOST:
        faults.append((prefix + field, "a whole number from 0 on" if field in source else "required"))
        return 0
    return value


def _vat(value: Any, faults: Faults) -> Decimal:
    try:
        vat = Decimal(str(value))
    except InvalidOperation:
        vat = Decimal(-1)
    if not vat.is_finite() or not 0 <= vat <= 100:
        faults.append(("vat_percent", "a percentage from 0 to 100"))
        return Decimal(0)
    return vat
