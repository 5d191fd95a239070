"""The written form of a tariff's variants: prices for some bays, some people, a voucher, or another time.

A variant says its prices whole; what INHERITED names is the tariff's unless the variant says otherwise, and its
currency and time zone always are. The first variant whose conditions hold has the price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from itertools import combinations, pairwise
from typing import Any, Final

from parkube.parking.domain.tariffs import fields
from parkube.parking.domain.tariffs.fields import Faults
from parkube.parking.domain.tariffs.model import BAY_KINDS, Tariff, Variant

CONDITIONS: Final = ("bay_kinds", "user_groups", "vouchers")
ONE_FOR_ALL: Final = ("currency", "time_zone", "variants")
INHERITED: Final = (
    "vat_percent", "entry_grace_minutes", "exit_grace_minutes", "booking_grace_minutes", "rounding", "holidays",
    "holiday_calendar",
)  # fmt: skip
_MOST: Final = 50

Reader = Callable[[Mapping[str, Any], Faults], Tariff]


def read(tariff: Mapping[str, Any], reader: Reader, faults: Faults) -> tuple[Variant, ...]:
    """The variants of a written tariff; `reader` reads one tariff and names its faults."""
    written = tariff.get("variants")
    if written is None:
        return ()
    if not isinstance(written, list) or len(written) > _MOST:
        faults.append(("variants", f"a list of at most {_MOST} variants"))
        return ()
    return tuple(_read(tariff, item, f"variants[{index}]", reader, faults) for index, item in enumerate(written))


def write(variant: Variant, written: Mapping[str, Any], base: Tariff) -> dict[str, Any]:
    """A variant, of which `written` is the tariff's own written form."""
    own, theirs = _inheritable(variant.tariff), _inheritable(base)
    made = {field: value for field, value in written.items() if field not in (*INHERITED, *ONE_FOR_ALL)}
    made.update({field: own[field] for field in INHERITED if own[field] != theirs[field]})
    conditions = {
        "bay_kinds": [kind for kind in BAY_KINDS if kind in variant.bay_kinds],
        "user_groups": sorted(variant.user_groups),
        "vouchers": sorted(variant.vouchers),
    }
    return {field: value for field, value in conditions.items() if value} | made


def between(tariff: Tariff) -> Faults:
    """Every fault between variants: one that never holds, two that hold at once, a time without a price."""
    faults: Faults = []
    for (first, a), (second, b) in combinations(enumerate(tariff.variants), 2):
        begin, end = _validity(a.tariff)
        other_begin, other_end = _validity(b.tariff)
        if all(_no_wider(b, a, field) for field in CONDITIONS) and begin <= other_begin and other_end <= end:
            faults.append((f"variants[{second}]", f"never holds: variants[{first}] comes first"))
        elif _conditions(a) == _conditions(b) and max(begin, other_begin) < min(end, other_end):
            faults.append((f"variants[{second}]", f"overlaps variants[{first}] from {max(begin, other_begin)} on"))
    times = sorted([_validity(tariff), *(_validity(v.tariff) for v in tariff.variants if not any(_conditions(v)))])
    covered = times[0][1]
    for _, (begin, end) in pairwise(times):
        if begin > covered:
            faults.append(("variants", f"no price from {covered} until {begin}"))
        covered = max(covered, end)
    return faults


def _read(tariff: Mapping[str, Any], item: Any, at: str, reader: Reader, faults: Faults) -> Variant:
    if not isinstance(item, Mapping):
        faults.append((at, "an object"))
        return Variant(Tariff(()))
    faults.extend((f"{at}.{field}", "the tariff's own, the same for all its prices") for field in ONE_FOR_ALL
                  if field in item)  # fmt: skip
    bay_kinds = fields.words(item, "bay_kinds", faults, f"{at}.", BAY_KINDS)
    groups, vouchers = (fields.words(item, field, faults, f"{at}.") for field in CONDITIONS[1:])
    if not any(item.get(field) for field in (*CONDITIONS, "valid_from", "valid_to")):
        faults.append((at, "a condition is needed: " + ", ".join((*CONDITIONS, "valid_from", "valid_to"))))
    shared = {field: tariff[field] for field in (*INHERITED, *ONE_FOR_ALL[:2]) if field in tariff}
    own = {field: value for field, value in item.items() if field not in (*CONDITIONS, *ONE_FOR_ALL)}
    found: Faults = []
    read = reader(shared | own, found)
    # What is at fault in the tariff is named there, once.
    faults.extend(
        (f"{at}.{field}", text) for field, text in found if field.partition("[")[0] not in shared.keys() - own
    )
    return Variant(read, bay_kinds, groups, vouchers)


def _inheritable(tariff: Tariff) -> dict[str, Any]:
    return {
        "vat_percent": str(tariff.vat_percent),
        "entry_grace_minutes": tariff.entry_grace_minutes,
        "exit_grace_minutes": tariff.exit_grace_minutes,
        "booking_grace_minutes": tariff.booking_grace_minutes,
        "rounding": tariff.rounding,
        "holidays": [str(day) for day in sorted(tariff.holidays)],
        "holiday_calendar": tariff.holiday_calendar,
    }


def _conditions(variant: Variant) -> tuple[frozenset[str], ...]:
    return variant.bay_kinds, variant.user_groups, variant.vouchers


def _no_wider(narrow: Variant, wide: Variant, field: str) -> bool:
    inner, outer = getattr(narrow, field), getattr(wide, field)
    return not outer or (bool(inner) and inner <= outer)


def _validity(tariff: Tariff) -> tuple[date, date]:
    return tariff.valid_from or date.min, tariff.valid_to or date.max
