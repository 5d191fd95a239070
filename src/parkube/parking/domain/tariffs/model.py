"""What a tariff is made of: steps over the elapsed time, a cap, free minutes, VAT. No prices are computed here."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

CALENDAR_DAY: Final = "calendar_day"
ROLLING_24H: Final = "rolling_24h"
CAP_WINDOWS: Final = (CALENDAR_DAY, ROLLING_24H)
"""What a day cap caps: a local calendar day, or each 24 hours from the entry."""


@dataclass(frozen=True, slots=True)
class Step:
    """From from_minutes of charged time on, price_minor for every started increment of every_minutes.

    every_minutes 0: once, for the whole step. A step ends where the next begins, and cuts its last increment there.
    """

    from_minutes: int
    every_minutes: int
    price_minor: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """A garage's price. Steps are in order and the first begins at 0; amounts are minor units, VAT included."""

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
