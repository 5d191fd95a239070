"""Money: integer minor units with a currency, never mixed, never a float.

Not a converter of currencies, and no formatting for a locale: the pages do that.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from parkube.parking.domain.errors import ParkingError


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


def vat_included(gross_minor: int, rate_percent: Decimal) -> int:
    """The VAT inside a gross amount, in minor units, rounded half up; the net is the rest, so that both add up."""
    vat = Decimal(gross_minor) * rate_percent / (100 + rate_percent)
    return int(vat.quantize(Decimal(1), rounding=ROUND_HALF_UP))
