"""Money: integer minor units with a currency, never mixed, never a float.

Not a converter of currencies, and no formatting for a locale: the pages do that.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Final

from parkube.parking.domain.errors import ParkingError

HALF_UP: Final = "half_up"
HALF_EVEN: Final = "half_even"
ROUNDINGS: Final = {HALF_UP: ROUND_HALF_UP, HALF_EVEN: ROUND_HALF_EVEN, "up": ROUND_UP, "down": ROUND_DOWN}
"""The rules by which an amount is rounded to a minor unit, by their names in a written tariff."""


class CurrencyMismatch(ParkingError):
    """Two currencies met in one sum."""

    code = "currency_mismatch"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents) of an ISO 4217 currency."""

    minor: int
    currency: str = "EUR"

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __str__(self) -> str:
        return f"{self.currency} {amount_text(self.minor)}"

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} cannot be added")
        return other.minor


def amount_text(minor: int) -> str:
    """Minor units as a decimal with two places: 305 -> "3.05"."""
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02d}"


def vat_included(gross_minor: int, rate_percent: Decimal, rounding: str = HALF_UP) -> int:
    """The VAT inside a gross amount, in minor units, rounded by that rule; the net is the rest, so both add up."""
    return rounded(Decimal(gross_minor) * rate_percent / (100 + rate_percent), rounding)


def rounded(minor: Decimal, rounding: str = HALF_UP) -> int:
    """Whole minor units, by the rule of that name."""
    return int(minor.quantize(Decimal(1), rounding=ROUNDINGS[rounding]))
