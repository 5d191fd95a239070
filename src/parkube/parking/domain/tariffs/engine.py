"""What a stay costs, to the cent, and why, line by line. Pure; not a reader of tariffs, and no discounts.

Rules: elapsed time is billed, also over a change of the clocks. Free minutes come off the front. A step is charged
per started increment; an increment belongs to the cap window in which it starts. VAT is rounded per line, half up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from parkube.parking.domain.money import amount_text, vat_included
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, Step, Tariff
from parkube.parking.domain.times import Window, zone

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Line:
    """One explained part of a price in minor units, VAT included. A day that reached its cap is one line."""

    text: str
    amount_minor: int
    vat_minor: int


@dataclass(frozen=True, slots=True)
class Price:
    """A price and the lines that add up to it."""

    total_minor: int
    vat_minor: int
    currency: str
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _CapWindow:
    """What started between two seconds of the stay (counted from its start), before the cap."""

    start_s: int
    end_s: int
    counts: list[int]
    sum_minor: int = 0
    reached_s: int = -1


def total(tariff: Tariff, window: Window) -> int:
    """The price of a stay in minor units, VAT included."""
    return sum(_capped(tariff, cap) for cap in _charge(tariff, window))


def price(tariff: Tariff, window: Window) -> Price:
    """The price of a stay with its explanation."""
    lines: list[Line] = []
    if tariff.free_minutes:
        lines.append(Line(f"First {_duration(tariff.free_minutes)} free", 0, 0))
    caps = _charge(tariff, window)
    below = [cap for cap in caps if not _is_over(tariff, cap)]
    for index, step in enumerate(tariff.steps):
        count = sum(cap.counts[index] for cap in below)
        if count:
            lines.append(_line(tariff, _step_text(step, count), count * step.price_minor))
    lines.extend(
        _line(tariff, _cap_text(tariff, window, cap), _capped(tariff, cap)) for cap in caps if _is_over(tariff, cap)
    )
    return Price(
        sum(line.amount_minor for line in lines), sum(line.vat_minor for line in lines), tariff.currency, tuple(lines)
    )


def _charge(tariff: Tariff, window: Window) -> list[_CapWindow]:
    """How many increments of each step started in each cap window, and what that makes."""
    stay_s = _seconds(window.duration)
    free_s = tariff.free_minutes * 60
    caps = _cap_windows(tariff, window, stay_s)
    for index, step in enumerate(tariff.steps):
        start_s = free_s + step.from_minutes * 60
        if start_s >= stay_s:
            break
        end_s = stay_s
        if index + 1 < len(tariff.steps):
            end_s = min(stay_s, free_s + tariff.steps[index + 1].from_minutes * 60)
        every_s = step.every_minutes * 60 or end_s - start_s
        count = -(-(end_s - start_s) // every_s)
        for cap in caps:
            before = max(0, -(-(cap.start_s - start_s) // every_s))
            upto = min(count, -(-(cap.end_s - start_s) // every_s))
            if upto > before:
                cap.counts[index] = upto - before
                _add(tariff, cap, start_s + before * every_s, every_s, upto - before, step.price_minor)
    return caps


def _add(tariff: Tariff, cap: _CapWindow, first_s: int, every_s: int, count: int, price_minor: int) -> None:
    room = None if tariff.cap_minor is None else tariff.cap_minor - cap.sum_minor
    cap.sum_minor += count * price_minor
    if room is not None and price_minor and cap.reached_s < 0 and count * price_minor >= room:
        cap.reached_s = first_s + max(0, -(-room // price_minor) - 1) * every_s


def _cap_windows(tariff: Tariff, window: Window, stay_s: int) -> list[_CapWindow]:
    steps = len(tariff.steps)
    if tariff.cap_minor is None:
        return [_CapWindow(0, max(stay_s, 1), [0] * steps)]
    edges = [0]
    if tariff.cap_window == CALENDAR_DAY:
        local_zone = zone(tariff.time_zone)
        day = window.start.astimezone(local_zone).date()
        while edges[-1] < stay_s:
            day += timedelta(days=1)
            midnight = datetime(day.year, day.month, day.day, tzinfo=local_zone).astimezone(UTC)
            edges.append(max(edges[-1] + 1, _seconds(midnight - window.start)))
    else:
        edges.extend(range(_DAY, stay_s + _DAY, _DAY))
    return [_CapWindow(start, end, [0] * steps) for start, end in pairwise(edges)]


def _capped(tariff: Tariff, cap: _CapWindow) -> int:
    return cap.sum_minor if tariff.cap_minor is None else min(cap.sum_minor, tariff.cap_minor)


def _is_over(tariff: Tariff, cap: _CapWindow) -> bool:
    return tariff.cap_minor is not None and cap.sum_minor > tariff.cap_minor


def _seconds(duration: timedelta) -> int:
    # A started second is a second: rounding down would make an increment free for its first instant.
    return -(-duration // timedelta(seconds=1))


def _line(tariff: Tariff, text: str, amount_minor: int) -> Line:
    return Line(text, amount_minor, vat_included(amount_minor, tariff.vat_percent))


def _step_text(step: Step, count: int) -> str:
    if not step.every_minutes:
        return f"{amount_text(step.price_minor)} once"
    return f"{_duration(count * step.every_minutes)} at {amount_text(step.price_minor)} per {_unit(step.every_minutes)}"


def _cap_text(tariff: Tariff, window: Window, cap: _CapWindow) -> str:
    reached = (window.start + timedelta(seconds=cap.reached_s)).astimezone(zone(tariff.time_zone))
    what = "day cap" if tariff.cap_window == CALENDAR_DAY else "24-hour cap"
    return f"{what} of {amount_text(tariff.cap_minor or 0)} reached at {reached:%H:%M on %-d %b}"


def _duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def _unit(minutes: int) -> str:
    return "h" if minutes == 60 else _duration(minutes)
