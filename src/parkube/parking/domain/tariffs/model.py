"""What a tariff is made of: steps over the elapsed time, bands by the clock, caps, fees, and whose prices are
which. No prices are made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from parkube.parking.domain.money import HALF_UP

CALENDAR_DAY: Final = "calendar_day"
ROLLING_24H: Final = "rolling_24h"
CAP_WINDOWS: Final = (CALENDAR_DAY, ROLLING_24H)
"""What a day cap caps: a local calendar day, or each 24 hours from the entry."""

SPLIT: Final = "split"
INCREMENT_START: Final = "increment_start"
ENTRY: Final = "entry"
CROSSINGS: Final = (SPLIT, INCREMENT_START, ENTRY)
"""What crossing a band's edge does. split: an increment ends there, and the steps begin anew. increment_start: an
increment runs on to its end at the price of the band in which it started. entry: the price at the entry stays."""

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
HOLIDAY: Final = "holiday"
"""A day kind of its own: a date of the tariff's calendar of holidays is no weekday."""


STANDARD: Final = "standard"
BAY_KINDS: Final = (STANDARD, "ev", "accessible", "motorcycle")
"""Kinds of bay that may have prices of their own."""


@dataclass(frozen=True, slots=True)
class Step:
    """From from_minutes of charged time on, price_minor for every started increment of every_minutes.

    every_minutes 0: once, for the whole step. A step ends where the next begins, and cuts its last increment there.
    """

    from_minutes: int
    every_minutes: int
    price_minor: int


@dataclass(frozen=True, slots=True)
class Band:
    """Hours with steps of their own, in local minutes after midnight; ends_minute at or before the start is next day.

    days: the kinds of day on which it begins, none for every day. dates: an event, on these dates and no others.
    Where bands meet, an event goes before a holiday and a holiday before a weekday; elsewhere the tariff's own steps
    hold. cap_minor caps one evening, one weekend day, one event. A flat price is one step with every_minutes 0.
    """

    name: str
    starts_minute: int
    ends_minute: int
    steps: tuple[Step, ...]
    days: frozenset[str] = frozenset()
    dates: frozenset[date] = frozenset()
    cap_minor: int | None = None

    @property
    def is_flat(self) -> bool:
        """One price for one occurrence, however long."""
        return len(self.steps) == 1 and self.steps[0].every_minutes == 0


@dataclass(frozen=True, slots=True)
class Season:
    """From a local date of the entry until before another, price_percent of the written prices."""

    start: date
    end: date
    price_percent: int


@dataclass(frozen=True, slots=True)
class Dynamic:
    """How prices move, and never beyond the owner's bounds, all in percent of what is written.

    by_occupancy: (from_percent, price_percent) in order: from so many taken bays in a hundred on, that price. Seasons
    do not overlap. Where both say something, the one is of the other.
    """

    lowest_percent: int
    highest_percent: int
    by_occupancy: tuple[tuple[int, int], ...] = ()
    by_date: tuple[Season, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """Prices for some: each condition that is not empty must hold, and the entry lie in the validity of its tariff."""

    tariff: Tariff
    bay_kinds: frozenset[str] = frozenset()
    user_groups: frozenset[str] = frozenset()
    vouchers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tariff:
    """A garage's price. Steps are in order and the first begins at 0; amounts are minor units, VAT included.

    No steps: bands cover all hours. cap_minor caps each cap_window; rolling_cap_minor caps each 24 hours from the entry
    besides, where cap_window is the calendar day. entry_fee_minor: once, as soon as the free minutes are over, outside
    the day's and the band's caps. stay_cap_minor caps all of one stay but its energy. minimum_minutes: what a stay that
    costs anything is billed at least. maximum_minutes: longer is not allowed, 0 for no limit.

    Three graces: entry_grace_minutes, how long before a booking begins its driver may come in; exit_grace_minutes, how
    long after its end leaving costs nothing more; booking_grace_minutes, how long after it is made a booking may be
    given up for nothing, whatever its terms.

    valid_from and valid_to: local dates of the entry, half open. variants: the first whose conditions hold has the
    price; a variant with nothing but a validity succeeds this tariff. energy_minor_per_kwh: for what a car charged, in
    minor units and their fractions. rounding: how the VAT of a line, an energy fee and a moved price are rounded.
    """

    steps: tuple[Step, ...]
    currency: str = "EUR"
    time_zone: str = "Europe/Amsterdam"
    vat_percent: Decimal = Decimal(21)
    free_minutes: int = 0
    cap_minor: int | None = None
    cap_window: str = CALENDAR_DAY
    entry_grace_minutes: int = 15
    exit_grace_minutes: int = 10
    name: str = ""
    bands: tuple[Band, ...] = ()
    crossing: str = SPLIT
    entry_fee_minor: int = 0
    stay_cap_minor: int | None = None
    minimum_minutes: int = 0
    maximum_minutes: int = 0
    holidays: frozenset[date] = frozenset()
    valid_from: date | None = None
    valid_to: date | None = None
    rounding: str = HALF_UP
    rolling_cap_minor: int | None = None
    booking_grace_minutes: int = 0
    holiday_calendar: str = ""
    energy_minor_per_kwh: Decimal = Decimal(0)
    energy_vat_percent: Decimal | None = None
    dynamic: Dynamic | None = None
    variants: tuple[Variant, ...] = ()
