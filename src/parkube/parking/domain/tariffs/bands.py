"""Which band holds when: bands in local time laid over a stay. Pure; nothing is priced here.

An edge that the clocks skip is where they jump; an edge that they show twice is the first of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from parkube.parking.domain.tariffs.calendars import days_off
from parkube.parking.domain.tariffs.model import DAYS, ENTRY, HOLIDAY, Band, Step, Tariff
from parkube.parking.domain.times import zone


@dataclass(frozen=True, slots=True, eq=False)
class Occurrence:
    """One time that a band is on, in seconds since the epoch. It is itself and equals no other."""

    band: Band
    rank: int
    start_s: int
    end_s: int


class Piece(NamedTuple):
    """A part of a stay with one set of steps, in seconds since the entry. No occurrence: the tariff's own steps."""

    start_s: int
    end_s: int
    steps: tuple[Step, ...]
    occurrence: Occurrence | None


def pieces(tariff: Tariff, entry_s: int, stay_s: int) -> list[Piece]:
    """The stay from end to end, cut where another band begins to hold. `entry_s`: seconds since the epoch."""
    if not tariff.bands:
        return [Piece(0, stay_s, tariff.steps, None)]
    found = _cut(tariff, entry_s, 1 if tariff.crossing == ENTRY else stay_s)
    return [found[0]._replace(end_s=stay_s)] if tariff.crossing == ENTRY else found


def kind_of_day(tariff: Tariff, day: date) -> str:
    """mon to sun, or holiday."""
    if day in tariff.holidays or (tariff.holiday_calendar and day in days_off(tariff.holiday_calendar, day.year)):
        return HOLIDAY
    return DAYS[day.weekday()]


@lru_cache(maxsize=16_384)
def edge_s(zone_name: str, day: date, minute: int) -> int:
    """The moment, in seconds since the epoch, at which the local clock first reaches that minute of that day."""
    local_zone = zone(zone_name)
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)  # noqa: DTZ001
    first = wall.replace(tzinfo=local_zone)
    second = first.replace(fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    if before is None or after is None or before >= after:
        return int(first.timestamp())
    low, high = int(second.timestamp()), int(first.timestamp())  # The clocks jump forward between these two.
    while low + 1 < high:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(local_zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _cut(tariff: Tariff, entry_s: int, stay_s: int) -> list[Piece]:
    occurrences = _occurrences(tariff, entry_s, entry_s + stay_s)
    moments = {entry_s, entry_s + stay_s}
    moments.update(m for o in occurrences for m in (o.start_s, o.end_s) if entry_s < m < entry_s + stay_s)
    edges = sorted(moments)
    on: list[Occurrence] = []
    upcoming = len(occurrences)
    found: list[Piece] = []
    for start, end in pairwise(edges):
        on = [o for o in on if o.end_s > start]
        while upcoming and occurrences[upcoming - 1].start_s <= start:
            upcoming -= 1
            on.append(occurrences[upcoming])
        holds = max((o for o in on if o.end_s > start), key=lambda o: o.rank, default=None)
        if found and found[-1].occurrence is holds:
            found[-1] = found[-1]._replace(end_s=end - entry_s)
        else:
            steps = tariff.steps if holds is None else holds.band.steps
            found.append(Piece(start - entry_s, end - entry_s, steps, holds))
    return found


def _occurrences(tariff: Tariff, from_s: int, to_s: int) -> list[Occurrence]:
    """All that touch the time, the latest first."""
    name = tariff.time_zone
    day = datetime.fromtimestamp(from_s, UTC).astimezone(zone(name)).date() - timedelta(days=1)
    last = datetime.fromtimestamp(to_s, UTC).astimezone(zone(name)).date()
    found: list[Occurrence] = []
    while day <= last:
        kind = kind_of_day(tariff, day)
        for band in tariff.bands:
            if day in band.dates if band.dates else not band.days or kind in band.days:
                over = 1440 if band.ends_minute <= band.starts_minute else 0
                start, end = edge_s(name, day, band.starts_minute), edge_s(name, day, band.ends_minute + over)
                if start < end and end > from_s and start < to_s:
                    found.append(Occurrence(band, 2 if band.dates else kind == HOLIDAY, start, end))
        day += timedelta(days=1)
    found.sort(key=lambda o: -o.start_s)
    return found
