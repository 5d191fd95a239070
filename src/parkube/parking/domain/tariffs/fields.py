"""The single fields of a written tariff: each reader takes what is there and names the fault. Rules between fields are
checks'."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from parkube.parking.domain.tariffs.model import Step

MOST: Final = 100_000_000
STEP_FIELDS: Final = {"from_minutes", "every_minutes", "price_cents"}
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")

Faults = list[tuple[str, str]]


def whole(source: Mapping[str, Any], field: str, faults: Faults, prefix: str = "", default: int | None = None) -> int:
    """A whole number from 0 on."""
    value = source.get(field, default)
    if type(value) is not int or not 0 <= value <= MOST:
        faults.append((prefix + field, "a whole number from 0 on" if field in source else "required"))
        return 0
    return value


def maybe_whole(source: Mapping[str, Any], field: str, faults: Faults, prefix: str = "") -> int | None:
    """A whole number from 0 on, or nothing."""
    return None if source.get(field) is None else whole(source, field, faults, prefix)


def percent(value: Any, faults: Faults) -> Decimal:
    """A percentage of VAT."""
    try:
        vat = Decimal(str(value))
    except InvalidOperation:
        vat = Decimal(-1)
    if not vat.is_finite() or not 0 <= vat <= 100:
        faults.append(("vat_percent", "a percentage from 0 to 100"))
        return Decimal(0)
    return vat


def one_of(source: Mapping[str, Any], field: str, known: Sequence[str], faults: Faults) -> str:
    """One of some words; the first where nothing is said."""
    value = source.get(field, known[0])
    if value not in known:
        faults.append((field, "one of " + ", ".join(known)))
        return known[0]
    return str(value)


def day(source: Mapping[str, Any], field: str, faults: Faults) -> date | None:
    """A date like 2026-12-25, or nothing."""
    value = source.get(field)
    return None if value is None else _date(value, field, faults)


def dates(source: Mapping[str, Any], field: str, faults: Faults, prefix: str = "") -> frozenset[date]:
    """A list of dates, at most 1,000."""
    value = source.get(field)
    if value is None:
        return frozenset()
    if not isinstance(value, list) or len(value) > 1000:
        faults.append((prefix + field, "a list of at most 1,000 dates"))
        return frozenset()
    read = (_date(item, f"{prefix}{field}[{index}]", faults) for index, item in enumerate(value))
    return frozenset(found for found in read if found is not None)


def clock(source: Mapping[str, Any], field: str, faults: Faults, prefix: str) -> int:
    """A local time like 18:30, or 24:00, as minutes after midnight."""
    value = source.get(field)
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        faults.append((prefix + field, "a time like 18:30" if field in source else "required"))
        return 0
    return int(value[:2]) * 60 + int(value[3:])


def steps(written: Any, faults: Faults, prefix: str = "") -> tuple[Step, ...]:
    """Steps in order, the first from 0."""
    if not isinstance(written, list) or not written:
        faults.append((f"{prefix}steps", "at least one step is needed"))
        return ()
    if len(written) > 100:
        faults.append((f"{prefix}steps", "at most 100"))
        return ()
    found: list[Step] = []
    for index, item in enumerate(written):
        at = f"{prefix}steps[{index}]"
        if not isinstance(item, Mapping):
            faults.append((at, "an object"))
            continue
        faults.extend((f"{at}.{field}", "unknown field") for field in item if field not in STEP_FIELDS)
        start = whole(item, "from_minutes", faults, f"{at}.", 0 if index == 0 else None)
        every = whole(item, "every_minutes", faults, f"{at}.")
        found.append(Step(start, every, whole(item, "price_cents", faults, f"{at}.")))
        if index == 0 and start != 0:
            faults.append((f"{at}.from_minutes", "the first step begins at 0"))
        if index > 0 and len(found) > 1 and start <= found[-2].from_minutes:
            faults.append((f"{at}.from_minutes", "steps are in order, each after the one before"))
    return tuple(found)


def totals(written: Any, faults: Faults) -> tuple[Step, ...]:
    """Steps from what a stay costs in all up to some minutes: [{"minutes": 60, "price_cents": 300}, …].

    The last price holds for longer stays.
    """
    if not isinstance(written, list) or not written or len(written) > 100:
        faults.append(("prices_up_to", "1 to 100 prices"))
        return ()
    found: list[Step] = []
    minutes, so_far = 0, 0
    for index, item in enumerate(written):
        at = f"prices_up_to[{index}]"
        if not isinstance(item, Mapping):
            faults.append((at, "an object"))
            continue
        faults.extend((f"{at}.{field}", "unknown field") for field in item if field not in ("minutes", "price_cents"))
        upto, amount = whole(item, "minutes", faults, f"{at}."), whole(item, "price_cents", faults, f"{at}.")
        if upto <= minutes:
            faults.append((f"{at}.minutes", "prices are in order, each for a longer stay"))
        if amount < so_far:
            faults.append((f"{at}.price_cents", f"the price falls as the stay gets longer: {so_far}, then {amount}"))
        found.append(Step(minutes, 0, amount - so_far))
        minutes, so_far = upto, amount
    return tuple(found)


def _date(value: Any, field: str, faults: Faults) -> date | None:
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year <= 9000:
        faults.append((field, "a date like 2026-12-25"))
        return None
    return found
