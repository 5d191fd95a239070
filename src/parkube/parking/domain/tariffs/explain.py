"""Why a stay costs what it costs, line by line, with the VAT of each line. The sums themselves are the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from parkube.parking.domain.money import amount_text, vat_included
from parkube.parking.domain.tariffs.bands import Occurrence
from parkube.parking.domain.tariffs.engine import Bill, Cap, Charge, bill, energy_minor
from parkube.parking.domain.tariffs.model import CALENDAR_DAY, Band, Step, Tariff
from parkube.parking.domain.times import Window, zone


@dataclass(frozen=True, slots=True)
class Line:
    """One explained part of a price in minor units, VAT included. What reached its cap is one line.

    vat_percent: None on lines that were written before the rate was.
    """

    text: str
    amount_minor: int
    vat_minor: int
    vat_percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """A price and the lines that add up to it."""

    total_minor: int
    vat_minor: int
    currency: str
    lines: tuple[Line, ...]


def price(tariff: Tariff, window: Window, energy_wh: int = 0) -> Price:
    """The price of a stay with its explanation."""
    made = bill(tariff, window, energy_wh)
    lines = [_line(tariff, text, amount) for text, amount in _explained(tariff, window, made)]
    if energy_wh and tariff.energy_minor_per_kwh:
        lines.append(energy_line(tariff, energy_wh))
    return Price(made.total_minor, sum(line.vat_minor for line in lines), tariff.currency, tuple(lines))


def energy_line(tariff: Tariff, energy_wh: int) -> Line:
    """What a car charged, at the energy's own rate of VAT where it has one."""
    rate = tariff.vat_percent if tariff.energy_vat_percent is None else tariff.energy_vat_percent
    amount = energy_minor(tariff, energy_wh)
    text = f"{Decimal(energy_wh) / 1000:.3f} kWh at {energy_text(tariff)}"
    return Line(text, amount, vat_included(amount, rate, tariff.rounding), rate)


def energy_text(tariff: Tariff) -> str:
    """The price of energy: 0.45 per kWh."""
    amount = tariff.energy_minor_per_kwh / 100
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize()} per kWh"


def _explained(tariff: Tariff, window: Window, made: Bill) -> list[tuple[str, int]]:
    lines: list[tuple[str, int]] = []
    if tariff.free_minutes:
        lines.append((f"First {_duration(tariff.free_minutes)} free", 0))
    if not made.charged:
        return lines
    if made.billed_s > made.stay_s:
        lines.append((f"billed as {_duration(tariff.minimum_minutes)}, the shortest stay", 0))
    if made.parked_minor < made.summed_minor + tariff.entry_fee_minor:
        lines.append((f"cap of {amount_text(made.parked_minor)} for a stay reached", made.parked_minor))
        return lines
    if tariff.entry_fee_minor:
        lines.append((f"{amount_text(tariff.entry_fee_minor)} for the entry", tariff.entry_fee_minor))
    below: list[Charge] = []
    over: dict[tuple[int, int], int] = {}
    for charge in made.charges:
        # The last cap that took something off explains a charge: what is before it went into that sum.
        held = next((i for i in range(len(made.caps) - 1, -1, -1) if made.caps[i].over(charge.first_s)), None)
        if held is None:
            below.append(charge)
        else:
            key = (held, made.caps[held].at(charge.first_s))
            over[key] = over.get(key, 0) + charge.taken_minor
    lines.extend(_below(tariff, window, made, below))
    for (held, at), taken in sorted(over.items(), key=lambda item: made.caps[item[0][0]].edges[item[0][1]]):
        lines.append((_cap_text(tariff, window, made.caps[held], at), taken))
    return lines


def _below(tariff: Tariff, window: Window, made: Bill, charges: list[Charge]) -> list[tuple[str, int]]:
    """The charges that no day's cap touched: by step, or by occurrence of a band that reached its own."""
    counts: dict[tuple[Band | None, int], int] = {}
    capped: dict[Occurrence, int] = {}
    for charge in charges:
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
    vat = vat_included(amount_minor, tariff.vat_percent, tariff.rounding)
    return Line(text, amount_minor, vat, tariff.vat_percent)


def _step_text(step: Step, count: int) -> str:
    if not step.every_minutes:
        amount = amount_text(step.price_minor)
        return f"{count} times {amount}" if count > 1 else f"{amount} once"
    return f"{_duration(count * step.every_minutes)} at {amount_text(step.price_minor)} per {_unit(step.every_minutes)}"


def _cap_text(tariff: Tariff, window: Window, cap: Cap, at: int) -> str:
    what = "day cap" if cap.window == CALENDAR_DAY else "24-hour cap"
    return f"{what} of {amount_text(cap.cap_minor)} reached at {_clock(tariff, window, cap.reached_s[at])}"


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
