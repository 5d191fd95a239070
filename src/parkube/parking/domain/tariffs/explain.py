"""Why a stay costs what it costs, line by line, with the VAT of each line. The sums themselves are the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from parkube.parking.domain.money import amount_text, vat_included
from parkube.parking.domain.tariffs.bands import Occurrence
from parkube.parking.domain.tariffs.engine import Bill, bill
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, Band, Step, Tariff
from parkube.parking.domain.times import Window, zone


@dataclass(frozen=True, slots=True)
class Line:
    """One explained part of a price in minor units, VAT included. What reached its cap is one line."""

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


def price(tariff: Tariff, window: Window) -> Price:
    """The price of a stay with its explanation."""
    made = bill(tariff, window)
    lines = [_line(tariff, text, amount) for text, amount in _explained(tariff, window, made)]
    return Price(made.total_minor, sum(line.vat_minor for line in lines), tariff.currency, tuple(lines))


def _explained(tariff: Tariff, window: Window, made: Bill) -> list[tuple[str, int]]:
    lines: list[tuple[str, int]] = []
    if tariff.free_minutes:
        lines.append((f"First {_duration(tariff.free_minutes)} free", 0))
    if not made.days:
        return lines
    if made.billed_s > made.stay_s:
        lines.append((f"billed as {_duration(tariff.minimum_minutes)}, the shortest stay", 0))
    before_cap = sum(day if tariff.cap_minor is None else min(day, tariff.cap_minor) for day in made.days)
    if made.total_minor < before_cap + tariff.entry_fee_minor:
        lines.append((f"cap of {amount_text(made.total_minor)} for a stay reached", made.total_minor))
        return lines
    if tariff.entry_fee_minor:
        lines.append((f"{amount_text(tariff.entry_fee_minor)} for the entry", tariff.entry_fee_minor))
    over = {day for day, summed in enumerate(made.days) if tariff.cap_minor is not None and summed > tariff.cap_minor}
    lines.extend(_below(tariff, window, made, over))
    lines.extend((_day_text(tariff, window, made.reached_s[day]), tariff.cap_minor or 0) for day in sorted(over))
    return lines


def _below(tariff: Tariff, window: Window, made: Bill, over: set[int]) -> list[tuple[str, int]]:
    """The charges of the days that stayed below their cap: by step, or by occurrence of a band that reached its own."""
    counts: dict[tuple[Band | None, int], int] = {}
    capped: dict[Occurrence, int] = {}
    for charge in made.charges:
        if charge.day in over:
            continue
        held = charge.occurrence
        if held is not None and held.band.cap_minor is not None and made.bands[held][0] > held.band.cap_minor:
            if charge.taken_minor:
                capped[held] = capped.get(held, 0) + charge.taken_minor
        else:
            key = (None if held is None else held.band, charge.step)
            counts[key] = counts.get(key, 0) + charge.count
    lines: list[tuple[str, int]] = []
    for (band, index), count in counts.items():
        step = tariff.steps[index] if band is None else band.steps[index]
        name = "" if band is None else f"{band.name}: "
        lines.append((name + _step_text(step, count), count * step.price_minor))
    for held, taken in capped.items():
        when = _clock(tariff, window, made.bands[held][1])
        lines.append((f"{held.band.name}: cap of {amount_text(held.band.cap_minor or 0)} reached at {when}", taken))
    return lines


def _line(tariff: Tariff, text: str, amount_minor: int) -> Line:
    return Line(text, amount_minor, vat_included(amount_minor, tariff.vat_percent, tariff.rounding))


def _step_text(step: Step, count: int) -> str:
    if not step.every_minutes:
        amount = amount_text(step.price_minor)
        return f"{count} times {amount}" if count > 1 else f"{amount} once"
    return f"{_duration(count * step.every_minutes)} at {amount_text(step.price_minor)} per {_unit(step.every_minutes)}"


def _day_text(tariff: Tariff, window: Window, reached_s: int) -> str:
    what = "day cap" if tariff.cap_window == CALENDAR_DAY else "24-hour cap"
    return f"{what} of {amount_text(tariff.cap_minor or 0)} reached at {_clock(tariff, window, reached_s)}"


def _clock(tariff: Tariff, window: Window, since_entry_s: int) -> str:
    moment = (window.start + timedelta(seconds=since_entry_s)).astimezone(zone(tariff.time_zone))
    return f"{moment:%H:%M on %-d %b}"


def _duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def _unit(minutes: int) -> str:
    return "h" if minutes == 60 else _duration(minutes)
