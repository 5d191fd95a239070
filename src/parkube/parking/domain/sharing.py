"""What an owner shares, when and for whom: bays by kind, hours, days without, blackouts, opening hours, limits.

Pure, and only about new stays: bookings that were made keep their bays through a blackout or a smaller quota. How the
terms are written is sharing_written's.

    bays that may be taken at a moment = the most that a rule shares then, none on a day or in a blackout without
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from parkube.parking.domain.errors import Conflict, Invalid
from parkube.parking.domain.tariffs.bands import edge_s
from parkube.parking.domain.tariffs.model import DAYS, STANDARD
from parkube.parking.domain.times import Window, zone

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hours:
    """Local minutes after midnight, on these days (none: every day); an end at or before the start is next day."""

    starts_minute: int = 0
    ends_minute: int = 1440
    days: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Share:
    """So many bays in these hours. bays None: all there are. kind None: of all kinds together."""

    hours: Hours
    bays: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Cancelling:
    """Free until so long before the start; then, and for who never came, so many percent of the price."""

    free_until_minutes: int = 0
    fee_percent: int = 0
    no_show_percent: int = 0
    shorter_costs_less: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vehicle may be at most, and which kinds (none: any). What is not known of a vehicle is not refused."""

    height_m: float | None = None
    length_m: float | None = None
    weight_kg: int | None = None
    vehicles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What a driver says of the vehicle."""

    kind: str | None = None
    height_m: float | None = None
    length_m: float | None = None
    weight_kg: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """One garage's. bays: how many of each kind, none: all are standard ones. No shares: all bays, always.

    drive_up_minutes: how long a bay must be free for a stay without a booking to begin, 0: none may.
    """

    bays: tuple[tuple[str, int], ...] = ()
    shares: tuple[Share, ...] = ()
    none_on: frozenset[date] = frozenset()
    none_on_days_of_month: frozenset[int] = frozenset()
    blackouts: tuple[Window, ...] = ()
    opening: tuple[Hours, ...] = ()
    limits: Limits = field(default_factory=Limits)
    cancelling: Cancelling = field(default_factory=Cancelling)
    in_out: bool = False
    drive_up_minutes: int = 60

    @property
    def always(self) -> bool:
        """Whether all bays are shared at any time."""
        return not (self.shares or self.none_on or self.none_on_days_of_month or self.blackouts)


EVERYTHING: Final = Terms()


class Hold(NamedTuple):
    """A bay that is taken, Unix seconds, half open. inside: the vehicle stands on it now."""

    start_s: float
    end_s: float
    kind: str = STANDARD
    inside: bool = False


def bays_of(terms: Terms, capacity: int, kind: str) -> int:
    """How many bays of a kind there are."""
    if not terms.bays:
        return capacity if kind == STANDARD else 0
    return dict(terms.bays).get(kind, 0)


def check_room(
    terms: Terms, capacity: int, time_zone: str, kind: str, window: Window, holds: Iterable[Hold], name: str
) -> None:
    """Whether one more stay on such a bay fits all through the window. Raises Conflict with why not."""
    if bays_of(terms, capacity, kind) == 0:
        raise Conflict(f"{name} has no {kind} bays", code="no_such_bay")
    _check_open(terms, time_zone, window, name)
    if room(terms, capacity, time_zone, kind, window, ()) < 1:
        raise Conflict(f"{name} shares no bay for that time", code="not_shared")
    if room(terms, capacity, time_zone, kind, window, holds) < 1:
        raise Conflict(f"{name} has no bay left for that time", code="no_free_bay")


def check_offered(terms: Terms, capacity: int, time_zone: str, kind: str, window: Window, name: str) -> None:
    """Whether such a stay could be had at all, were nothing taken. Raises Conflict with why not."""
    if capacity and bays_of(terms, capacity, kind) == 0:
        raise Conflict(f"{name} has no {kind} bays", code="no_such_bay")
    _check_open(terms, time_zone, window, name)
    if capacity and room(terms, capacity, time_zone, kind, window, ()) < 1:
        raise Conflict(f"{name} shares no bay for that time", code="not_shared")


def room(terms: Terms, capacity: int, time_zone: str, kind: str | None, window: Window, holds: Iterable[Hold]) -> int:
    """How many more stays fit all through the window; kind None: on bays of any kind. May be less than nothing."""
    taken = list(holds)
    found = _least(supply(terms, capacity, time_zone, None, window), taken, window)
    if kind is not None:
        same = [hold for hold in taken if hold.kind == kind]
        found = min(found, _least(supply(terms, bays_of(terms, capacity, kind), time_zone, kind, window), same, window))
    return found


def check_vehicle(terms: Terms, height_m: float | None, vehicle: Vehicle, name: str) -> None:
    """Whether the vehicle fits. height_m: the garage's own height. Raises Invalid with everything it does not fit."""
    limits = terms.limits
    heights = [known for known in (height_m, limits.height_m) if known is not None]
    faults = []
    for what, most, its, unit in (
        ("height_m", min(heights, default=None), vehicle.height_m, "m high"),
        ("length_m", limits.length_m, vehicle.length_m, "m long"),
        ("weight_kg", limits.weight_kg, vehicle.weight_kg, "kg"),
    ):
        if most is not None and its is not None and its > most:
            faults.append((f"vehicle.{what}", f"{its:g} {unit}, at most {most:g} fit into {name}"))
    if limits.vehicles and vehicle.kind is not None and vehicle.kind not in limits.vehicles:
        faults.append(("vehicle.kind", f"{name} takes {', '.join(sorted(limits.vehicles))}"))
    if faults:
        raise Invalid("; ".join(text for _, text in faults), faults, code="vehicle_does_not_fit")


def is_open(terms: Terms, time_zone: str, at: datetime) -> bool:
    """Whether one may come and go then."""
    if not terms.opening:
        return True
    moment = at.timestamp()
    return any(start <= moment < end for start, end in _on(terms.opening, time_zone, Window(at, at + _DAY / 1440)))


def _check_open(terms: Terms, time_zone: str, window: Window, name: str) -> None:
    # Closing hours shut people out and in; a vehicle may stand there meanwhile. Leaving as it closes is in time.
    for at in (window.start, window.end - timedelta(seconds=1)):
        if not is_open(terms, time_zone, at):
            local = at.astimezone(zone(time_zone))
            raise Conflict(f"{name} is closed at {local:%H:%M} on {local:%Y-%m-%d}", code="closed")


def supply(
    terms: Terms, capacity: int, time_zone: str, kind: str | None, window: Window
) -> list[tuple[float, float, int]]:
    """How many bays may be taken when: (from, to, bays) in Unix seconds, in order, end to end over the window.

    kind None: of all kinds together.
    """
    start, end = window.start.timestamp(), window.end.timestamp()
    if terms.always:
        return [(start, end, capacity)]
    rules = [(share, _on((share.hours,), time_zone, window)) for share in terms.shares if share.kind == kind]
    without = _without(terms, time_zone, window)
    inner = [moment for _, spans in rules for span in spans for moment in span] + [m for s in without for m in s]
    edges = sorted({start, end, *(moment for moment in inner if start < moment < end)})
    found = []
    for low, high in pairwise(edges):
        if any(first <= low < last for first, last in without):
            bays = 0
        elif not rules:
            bays = capacity
        else:
            on = (share for share, spans in rules if any(first <= low < last for first, last in spans))
            bays = max((capacity if r.bays is None else min(capacity, r.bays) for r in on), default=0)
        found.append((low, high, bays))
    return found


def _without(terms: Terms, time_zone: str, window: Window) -> list[tuple[float, float]]:
    spans = [(blackout.start.timestamp(), blackout.end.timestamp()) for blackout in terms.blackouts]
    for day in _days(time_zone, window):
        if day in terms.none_on or day.day in terms.none_on_days_of_month:
            spans.append((edge_s(time_zone, day, 0), edge_s(time_zone, day, 1440)))
    return spans


def _on(hours: Iterable[Hours], time_zone: str, window: Window) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    for day in _days(time_zone, window):
        for one in hours:
            if one.days and DAYS[day.weekday()] not in one.days:
                continue
            over = 1440 if one.ends_minute <= one.starts_minute else 0
            spans.append((edge_s(time_zone, day, one.starts_minute), edge_s(time_zone, day, one.ends_minute + over)))
    return spans


def _days(time_zone: str, window: Window) -> list[date]:
    first = window.start.astimezone(zone(time_zone)).date() - _DAY
    last = window.end.astimezone(zone(time_zone)).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _least(shared: list[tuple[float, float, int]], holds: list[Hold], window: Window) -> int:
    """The smallest supply less taken bays at any moment of the window."""
    start, end = window.start.timestamp(), window.end.timestamp()
    steps: list[tuple[float, int]] = []
    level, before = shared[0][2], shared[0][2]
    for low, _, bays in shared[1:]:
        steps.append((low, bays - before))
        before = bays
    for hold in holds:
        if hold.end_s <= start or hold.start_s >= end:
            continue
        if hold.start_s <= start:
            level -= 1
        else:
            steps.append((hold.start_s, -1))
        if hold.end_s < end:
            steps.append((hold.end_s, 1))
    steps.sort()
    least, position = level, 0
    while position < len(steps):
        moment = steps[position][0]
        while position < len(steps) and steps[position][0] == moment:
            level += steps[position][1]
            position += 1
        least = min(least, level)
    return least
