"""The slow, obvious price of a stay, minute by minute, and random tariffs and stays to try it on. Shares no code with
the engine but the model: the engine is wrong where the two differ, or the reference is. Entries are on whole minutes.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import holidays

from parkube.parking.domain.tariffs import CAP_WINDOWS, CROSSINGS, DAYS, Band, Step, Tariff
from parkube.parking.domain.times import Window

MINUTE = timedelta(minutes=1)
CHANGES = ("2026-03-28", "2026-10-24", "2026-12-24", "2026-06-10", "2026-11-01")
ZONES = ("Europe/Amsterdam", "Europe/Zurich", "UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe")
HOLIDAYS = frozenset({date(2026, 12, 25), date(2026, 12, 26), date(2026, 6, 11), date(2026, 10, 25)})


class Clock:
    """A wall clock that waits while the clocks go back, so that every local minute is reached once."""

    def __init__(self, tariff: Tariff, start: datetime) -> None:
        self._zone = ZoneInfo(tariff.time_zone)
        self._now = start.astimezone(UTC)
        earlier = self._now - 180 * MINUTE
        if self._now.astimezone(self._zone).utcoffset() != earlier.astimezone(self._zone).utcoffset():
            self._now = earlier  # The hour that the clocks show twice may have begun before the entry.
        self.wall = datetime.min  # noqa: DTZ901
        while self._now <= start:
            self.tick()

    def tick(self) -> None:
        self.wall = max(self.wall, self._now.astimezone(self._zone).replace(tzinfo=None))
        self._now += MINUTE


def holding(tariff: Tariff, wall: datetime) -> tuple[Band, date] | None:
    """The band that holds at that wall clock, and the day on which it began."""
    best: tuple[int, Band, date] | None = None
    for began in (wall.date() - timedelta(days=1), wall.date()):
        kind = "holiday" if began in tariff.holidays or _is_public(tariff, began) else DAYS[began.weekday()]
        for band in tariff.bands:
            if band.dates:
                rank = 3 if began in band.dates else 0
            else:
                rank = (2 if kind == "holiday" else 1) if not band.days or kind in band.days else 0
            midnight = datetime.combine(began, time())
            ends = band.ends_minute + (1440 if band.ends_minute <= band.starts_minute else 0)
            on = midnight + band.starts_minute * MINUTE <= wall < midnight + ends * MINUTE
            if rank and on and (best is None or rank > best[0]):
                best = (rank, band, began)
    return None if best is None else (best[1], best[2])


@cache
def _public(country: str, part: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))


def _is_public(tariff: Tariff, day: date) -> bool:
    country, _, part = tariff.holiday_calendar.partition("-")
    return bool(country) and day in _public(country, part, day.year)


def reference(tariff: Tariff, window: Window) -> int:
    """Minute by minute: an increment is paid for in the minute in which it starts."""
    stay = window.duration // MINUTE
    if stay <= tariff.free_minutes:
        return 0
    days: dict[object, int] = {}
    rolling: dict[int, int] = {}
    bands: dict[object, int] = {}
    flats: set[object] = set()
    clock = Clock(tariff, window.start)
    at_entry = holding(tariff, clock.wall) if tariff.bands else None
    in_force: object = "nothing"
    began = paid_until = 0
    for minute in range(max(stay, tariff.minimum_minutes)):
        held = at_entry if tariff.crossing == "entry" or not tariff.bands else holding(tariff, clock.wall)
        day: object = clock.wall.date() if tariff.cap_window == "calendar_day" else minute // 1440
        clock.tick()
        if minute < tariff.free_minutes or (tariff.crossing == "increment_start" and minute < paid_until):
            continue
        if held != in_force:
            in_force, began = held, minute
        steps = tariff.steps if held is None else held[0].steps
        at = minute - began
        index = max(i for i, step in enumerate(steps) if step.from_minutes <= at)
        step, into = steps[index], at - steps[index].from_minutes
        if into % step.every_minutes if step.every_minutes else into:
            continue
        if held is not None and len(steps) == 1 and not step.every_minutes:
            if held in flats:
                continue
            flats.add(held)
        if step.every_minutes and index == len(steps) - 1:
            paid_until = minute + step.every_minutes
        elif step.every_minutes:
            paid_until = _runs_to(minute, began, step, steps[index + 1])
        amount = step.price_minor
        if held is not None and held[0].cap_minor is not None:
            amount = min(amount, held[0].cap_minor - bands.get(held, 0))
            bands[held] = bands.get(held, 0) + amount
        if tariff.cap_minor is not None:
            amount = min(amount, tariff.cap_minor - days.get(day, 0))
        days[day] = days.get(day, 0) + amount
        if tariff.rolling_cap_minor is not None:
            amount = min(amount, tariff.rolling_cap_minor - rolling.get(minute // 1440, 0))
        rolling[minute // 1440] = rolling.get(minute // 1440, 0) + amount
    summed = tariff.entry_fee_minor + sum(rolling.values())
    return summed if tariff.stay_cap_minor is None else min(summed, tariff.stay_cap_minor)


def _runs_to(minute: int, began: int, step: Step, following: Step) -> int:
    """A step's last increment is cut where the next step begins, but runs on over a band's edge."""
    return min(minute + step.every_minutes, began + following.from_minutes)


def random_steps(chance: random.Random) -> tuple[Step, ...]:
    starts = sorted(chance.sample(range(1, 400), chance.choice((0, 0, 1, 2))))
    return tuple(
        Step(start, chance.choice((0, 1, 7, 15, 20, 30, 60, 120)), chance.randrange(500)) for start in (0, *starts)
    )


def random_bands(chance: random.Random) -> tuple[Band, ...]:
    """Weekday bands that never overlap, at times a holiday's and an event's that do."""
    bands: list[Band] = []
    cuts = sorted(chance.sample(range(0, 1440, 15), chance.choice((2, 2, 4))))
    for index in range(0, len(cuts), 2):
        starts, ends = (cuts[index], cuts[index + 1]) if len(cuts) > 2 or chance.random() < 0.5 else cuts[::-1]
        days = chance.choice((DAYS, DAYS[:5], DAYS[5:7], ()))
        bands.append(_band(chance, f"band {index}", starts, ends, days=frozenset(days)))
    if chance.random() < 0.4:
        bands = [b for b in bands if b.days and "holiday" not in b.days]
        bands.append(_band(chance, "holiday", *chance.choice(((0, 1440), (600, 1200), (1200, 300))),
                           days=frozenset({"holiday"})))  # fmt: skip
    if chance.random() < 0.4:
        on = frozenset({date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 11), date(2026, 12, 25)})
        bands.append(_band(chance, "event", *chance.choice(((0, 1440), (120, 180), (1080, 90), (150, 600))), dates=on))
    return tuple(bands)


def _band(chance: random.Random, name: str, starts: int, ends: int, **on: frozenset[object]) -> Band:
    steps = (Step(0, 0, chance.randrange(1000)),) if chance.random() < 0.5 else random_steps(chance)
    cap = chance.choice((None, None, chance.randrange(900)))
    return Band(name, starts, ends, steps, cap_minor=cap, **on)  # type: ignore[arg-type]


def random_tariff(chance: random.Random) -> Tariff:
    window = chance.choice(CAP_WINDOWS)
    return Tariff(
        steps=random_steps(chance),
        time_zone=chance.choice(ZONES),
        free_minutes=chance.choice((0, 0, 5, 15, 60)),
        cap_minor=chance.choice((None, chance.randrange(4000))),
        cap_window=window,
        rolling_cap_minor=chance.choice((None, chance.randrange(5000))) if window == CAP_WINDOWS[0] else None,
        bands=random_bands(chance) if chance.random() < 0.7 else (),
        crossing=chance.choice(CROSSINGS),
        entry_fee_minor=chance.choice((0, 0, 150)),
        stay_cap_minor=chance.choice((None, None, chance.randrange(200, 6000))),
        minimum_minutes=chance.choice((0, 0, 0, 60, 240)),
        holidays=chance.choice((frozenset(), HOLIDAYS)),
        holiday_calendar=chance.choice(("", "", "NL", "CH-ZH")),
    )


def random_stay(chance: random.Random) -> Window:
    """Mostly hours, at times days; around a change of the clocks or a holiday as often as not."""
    start = datetime.fromisoformat(f"{chance.choice(CHANGES)}T00:00:00Z") + chance.randrange(2880) * MINUTE
    length = chance.choice((90, 300, 300, 300, 500, 500, 500, 4000))
    return Window(start, start + chance.randrange(1, length) * MINUTE)
