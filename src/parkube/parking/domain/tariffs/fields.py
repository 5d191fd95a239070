"""The single fields of a written tariff: each reader takes what is there and names the fault. Rules between fields are
checks'."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from parkube.parking.domain.tariffs.calendars import is_known
from parkube.parking.domain.tariffs.model import Dynamic, Season, Step

MOST: Final = 100_000_000
STEP_FIELDS: Final = {"from_minutes", "every_minutes", "price_cents"}
DYNAMIC_FIELDS: Final = {"lowest_percent", "highest_percent", "by_occupancy", "by_date"}
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


def percent(value: Any, field: str, faults: Faults) -> Decimal:
    """A percentage of VAT."""
    return _decimal(value, field, 100, "a percentage from 0 to 100", faults)


def per_kwh(value: Any, field: str, faults: Faults) -> Decimal:
    """Minor units for a kWh, and their fractions."""
    return _decimal(value, field, 100_000, "minor units for a kWh, like 45 or 39.5", faults)


def one_of(source: Mapping[str, Any], field: str, known: Sequence[str], faults: Faults) -> str:
    """One of some words; the first where nothing is said."""
    value = source.get(field, known[0])
    if value not in known:
        faults.append((field, "one of " + ", ".join(known)))
        return known[0]
    return str(value)


def words(
    source: Mapping[str, Any], field: str, faults: Faults, prefix: str, known: Sequence[str] = ()
) -> frozenset[str]:
    """A list of at most 100 words, out of those that are known where some are."""
    value = source.get(field)
    if value is None:
        return frozenset()
    wrong = not isinstance(value, list) or len(value) > 100
    if wrong or any(not isinstance(word, str) or not 0 < len(word) <= 100 for word in value):
        faults.append((prefix + field, "a list of at most 100 words"))
        return frozenset()
    if known and not set(value) <= set(known):
        faults.append((prefix + field, "a list out of " + ", ".join(known)))
    return frozenset(value)


def calendar(source: Mapping[str, Any], field: str, faults: Faults) -> str:
    """The name of a calendar of holidays, or nothing."""
    value = source.get(field) or ""
    if value and not (isinstance(value, str) and is_known(value)):
        faults.append((field, "a calendar of holidays: a country like NL, or a part of one like CH-ZH"))
        return ""
    return str(value)


def dynamic(written: Any, faults: Faults) -> Dynamic | None:
    """How prices move: {"lowest_percent", "highest_percent", "by_occupancy": […], "by_date": […]}."""
    if written is None:
        return None
    at = "dynamic"
    if not isinstance(written, Mapping):
        faults.append((at, "an object"))
        return None
    faults.extend((f"{at}.{field}", "unknown field") for field in written if field not in DYNAMIC_FIELDS)
    lowest = whole(written, "lowest_percent", faults, f"{at}.")
    highest = whole(written, "highest_percent", faults, f"{at}.")
    if lowest > highest:
        faults.append((f"{at}.lowest_percent", "above highest_percent"))
    if highest > 1000:
        faults.append((f"{at}.highest_percent", "at most 1000"))
    taken: list[tuple[int, int]] = []
    for place, item in _objects(written, "by_occupancy", f"{at}.", {"from_percent", "price_percent"}, faults):
        start = whole(item, "from_percent", faults, f"{place}.")
        if start > 100 or (taken and start <= taken[-1][0]):
            faults.append((f"{place}.from_percent", "0 to 100, each after the one before"))
        taken.append((start, _within(item, place, lowest, highest, faults)))
    seasons: list[Season] = []
    for place, item in _objects(written, "by_date", f"{at}.", {"from", "to", "price_percent"}, faults):
        begin, end = _date(item.get("from"), f"{place}.from", faults), _date(item.get("to"), f"{place}.to", faults)
        found = Season(begin or date.min, end or date.max, _within(item, place, lowest, highest, faults))
        if begin and end and end <= begin:
            faults.append((f"{place}.to", "not after from"))
        elif begin and end and any(begin < known.end and known.start < end for known in seasons):
            faults.append((place, "overlaps another season"))
        seasons.append(found)
    return Dynamic(lowest, highest, tuple(taken), tuple(seasons))


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


def _objects(
    source: Mapping[str, Any], field: str, prefix: str, known: set[str], faults: Faults
) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of a list of at most 100, each with its place."""
    value = source.get(field, [])
    if not isinstance(value, list) or len(value) > 100:
        faults.append((prefix + field, "a list of at most 100"))
        return []
    found: list[tuple[str, Mapping[str, Any]]] = []
    for index, item in enumerate(value):
        place = f"{prefix}{field}[{index}]"
        if not isinstance(item, Mapping):
            faults.append((place, "an object"))
            continue
        faults.extend((f"{place}.{name}", "unknown field") for name in item if name not in known)
        found.append((place, item))
    return found


def _within(item: Mapping[str, Any], place: str, lowest: int, highest: int, faults: Faults) -> int:
    found = whole(item, "price_percent", faults, f"{place}.")
    if lowest <= highest and not lowest <= found <= highest and type(item.get("price_percent")) is int:
        faults.append((f"{place}.price_percent", f"beyond the bounds of {lowest} and {highest}"))
    return found


def _decimal(value: Any, field: str, most: int, what: str, faults: Faults) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal(-1)
    if not number.is_finite() or not 0 <= number <= most:
        faults.append((field, what))
        return Decimal(0)
    return number


def _date(value: Any, field: str, faults: Faults) -> date | None:
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year <= 9000:
        faults.append((field, "a date like 2026-12-25"))
        return None
    return found
