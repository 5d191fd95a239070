"""What cannot be meant in a tariff as a whole: hours with two prices, hours with none, limits that exclude each other.

Not the single fields, those are fields'. That a price falls as the stay gets longer cannot be written in steps: no step
is negative, and nothing that was charged is taken back; where totals are written, fields.totals names it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import combinations
from typing import Final

from parkube.parking.domain.tariffs.model import CALENDAR_DAY, DAYS, HOLIDAY, Band, Tariff

LONGEST_MINIMUM: Final = 31 * 1440
_DAY: Final = 1440

Faults = list[tuple[str, str]]


def whole_faults(tariff: Tariff, broken: Collection[int] = ()) -> Faults:
    """Every fault between the fields of a tariff, as (field, sentence). `broken`: bands whose own fields are at fault
    already; what they overlap nobody can say."""
    faults: Faults = []
    if tariff.maximum_minutes and tariff.maximum_minutes < tariff.minimum_minutes:
        faults.append(("maximum_minutes", "shorter than minimum_minutes"))
    if tariff.minimum_minutes > LONGEST_MINIMUM:
        faults.append(("minimum_minutes", f"at most {LONGEST_MINIMUM}"))
    if tariff.maximum_minutes and tariff.free_minutes > tariff.maximum_minutes:
        faults.append(("free_minutes", "longer than maximum_minutes"))
    if tariff.valid_from and tariff.valid_to and tariff.valid_to <= tariff.valid_from:
        faults.append(("valid_to", "not after valid_from"))
    if tariff.stay_cap_minor is not None and tariff.stay_cap_minor < tariff.entry_fee_minor:
        faults.append(("stay_cap_cents", "below entry_fee_cents"))
    if tariff.rolling_cap_minor is not None and tariff.cap_minor is not None and tariff.cap_window != CALENDAR_DAY:
        faults.append(("rolling_cap_cents", "day_cap_cents is that of 24 hours already"))
    names = [band.name for band in tariff.bands]
    for index, band in enumerate(tariff.bands):
        at = f"bands[{index}]"
        if band.name in names[:index] and index not in broken:
            faults.append((f"{at}.name", f"another band is called {band.name!r}"))
        if band.days and band.dates:
            faults.append((at, "days or dates, not both"))
    faults.extend(_overlaps(tariff, broken))
    if not tariff.steps:
        faults.extend(_gaps(tariff))
    return faults


def _overlaps(tariff: Tariff, broken: Collection[int]) -> Faults:
    faults: Faults = []
    for (first, a), (second, b) in combinations(enumerate(tariff.bands), 2):
        if first in broken or second in broken:
            continue
        where = _events_meet(a, b) if a.dates and b.dates else None if a.dates or b.dates else _days_meet(a, b)
        if where:
            faults.append((f"bands[{second}]", f"overlaps bands[{first}] ({a.name}) {where}"))
    return faults


def _span(band: Band, day: int) -> tuple[int, int]:
    over = _DAY if band.ends_minute <= band.starts_minute else 0
    return day * _DAY + band.starts_minute, day * _DAY + band.ends_minute + over


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _days_meet(a: Band, b: Band) -> str | None:
    """On which day both hold with the same rank: weekdays in a row, or one holiday after another."""
    for day in range(7):
        for other in (day - 1, day, day + 1):
            both = DAYS[day] in _kinds(a) and DAYS[other % 7] in _kinds(b)
            if both and _meet(_span(a, day), _span(b, other)):
                return f"on {DAYS[max(day, other) % 7]}"
    if HOLIDAY in _kinds(a) & _kinds(b) and any(_meet(_span(a, 1), _span(b, other)) for other in (0, 1, 2)):
        return "on a holiday"
    return None


def _events_meet(a: Band, b: Band) -> str | None:
    for day in sorted(a.dates):
        for other in b.dates:
            if abs(day.toordinal() - other.toordinal()) <= 1 and _meet(
                _span(a, day.toordinal()), _span(b, other.toordinal())
            ):
                return f"on {max(day, other)}"
    return None


def _gaps(tariff: Tariff) -> Faults:
    """Hours that no band covers, where the tariff has no steps of its own. Events cover nothing for good."""
    weekly = [band for band in tariff.bands if not band.dates]
    has_holidays = bool(tariff.holidays or tariff.holiday_calendar)
    faults: Faults = []
    for index, kind in enumerate(DAYS if has_holidays else DAYS[:7]):
        # What runs over from the day before counts on a holiday, and after one, only if every kind of day does it.
        before = [DAYS[(index - 1) % 7]] if kind != HOLIDAY else list(DAYS)
        if has_holidays and kind != HOLIDAY:
            before.append(HOLIDAY)

        def covered(minute: int, kind: str = kind, before: list[str] = before) -> bool:
            today = any(kind in _kinds(b) and _span(b, 0)[0] <= minute < _span(b, 0)[1] for b in weekly)
            return today or all(any(k in _kinds(b) and minute + _DAY < _span(b, 0)[1] for b in weekly) for k in before)

        faults.extend(
            ("steps", f"no price on {kind} from {_text(start)} to {_text(end)}") for start, end in _uncovered(covered)
        )
    return faults


def _uncovered(covered: Callable[[int], bool]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for minute in range(_DAY):
        if not covered(minute):
            if found and found[-1][1] == minute:
                found[-1] = (found[-1][0], minute + 1)
            else:
                found.append((minute, minute + 1))
    return found


def _kinds(band: Band) -> frozenset[str]:
    return band.days or frozenset(DAYS)


def _text(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
