"""Which of a tariff's prices hold for somebody who asks now, pinned: from a tariff that knows bay kinds, groups,
vouchers and moving prices to one that knows none of them. Pure; what a stay then costs is the engine's.

A quote keeps the pinned tariff, so that neither the occupancy nor the owner changes what was shown. Caps and energy do
not move: the first are what the owner promises at most, the second is what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from parkube.parking.domain.money import rounded
from parkube.parking.domain.tariffs.calendars import days_off
from parkube.parking.domain.tariffs.explain import Line
from parkube.parking.domain.tariffs.model import HOLIDAY, STANDARD, Step, Tariff, Variant
from parkube.parking.domain.times import zone


@dataclass(frozen=True, slots=True)
class Asking:
    """What the price may depend on besides the time: the bay, who asks, and the voucher they hold."""

    bay_kind: str = STANDARD
    user_groups: frozenset[str] = frozenset()
    voucher: str | None = None


STRANGER: Final = Asking()
"""Somebody of no group and without a voucher who asks for a standard bay."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A pinned tariff, and what there is to say about how it came about: lines without an amount."""

    tariff: Tariff
    lines: tuple[Line, ...] = ()


def pin(tariff: Tariff, entry: datetime, asking: Asking = STRANGER, taken_percent: int | None = None) -> Terms:
    """The prices for an entry at that moment, with so many bays in a hundred taken (None: nobody knows)."""
    held = chosen(tariff, entry, asking)
    lines = (Line(held.name, 0, 0),) if held is not tariff and held.name else ()
    percent = price_percent(held, entry, taken_percent)
    if percent != 100:
        lines = (*lines, Line(f"prices at {percent} % of the usual for this time", 0, 0))
        held = _moved(held, percent)
    if held.variants or held.dynamic is not None:
        held = replace(held, variants=(), dynamic=None)
    return Terms(_with_holidays(held, entry) if held.holiday_calendar else held, lines)


def chosen(tariff: Tariff, entry: datetime, asking: Asking) -> Tariff:
    """The prices of the first variant whose conditions hold, or the tariff's own."""
    if not tariff.variants:
        return tariff
    day = entry.astimezone(zone(tariff.time_zone)).date()
    return next((v.tariff for v in tariff.variants if _holds(v, day, asking)), tariff)


def price_percent(tariff: Tariff, entry: datetime, taken_percent: int | None) -> int:
    """What the written prices are multiplied by, in percent, within the owner's bounds."""
    moving = tariff.dynamic
    if moving is None:
        return 100
    percent = 100
    for from_percent, price in moving.by_occupancy:
        if taken_percent is not None and taken_percent >= from_percent:
            percent = price
    day = entry.astimezone(zone(tariff.time_zone)).date()
    season = next((s.price_percent for s in moving.by_date if s.start <= day < s.end), 100)
    return min(max((percent * season + 50) // 100, moving.lowest_percent), moving.highest_percent)


def moves(tariff: Tariff) -> bool:
    """Whether the price may depend on how many bays are taken."""
    return tariff.dynamic is not None or any(variant.tariff.dynamic is not None for variant in tariff.variants)


def _holds(variant: Variant, day: date, asking: Asking) -> bool:
    held = variant.tariff
    return (
        (held.valid_from is None or held.valid_from <= day)
        and (held.valid_to is None or day < held.valid_to)
        and (not variant.bay_kinds or asking.bay_kind in variant.bay_kinds)
        and (not variant.user_groups or not variant.user_groups.isdisjoint(asking.user_groups))
        and (not variant.vouchers or asking.voucher in variant.vouchers)
    )


def _moved(tariff: Tariff, percent: int) -> Tariff:
    def minor(written: int) -> int:
        return rounded(Decimal(written * percent) / 100, tariff.rounding)

    def steps(written: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(replace(step, price_minor=minor(step.price_minor)) for step in written)

    bands = tuple(replace(band, steps=steps(band.steps)) for band in tariff.bands)
    fee = minor(tariff.entry_fee_minor)
    if tariff.stay_cap_minor is not None:
        fee = min(fee, tariff.stay_cap_minor)
    return replace(tariff, steps=steps(tariff.steps), bands=bands, entry_fee_minor=fee)


def _with_holidays(tariff: Tariff, entry: datetime) -> Tariff:
    """The calendar as dates: the package that knows it may know better next year."""
    if not any(HOLIDAY in band.days for band in tariff.bands):
        return replace(tariff, holiday_calendar="")
    days = set(tariff.holidays)
    for year in {(entry + timedelta(days=ahead)).year for ahead in (-2, 40, 400)}:
        days |= days_off(tariff.holiday_calendar, year)
    return replace(tariff, holidays=frozenset(days), holiday_calendar="")
