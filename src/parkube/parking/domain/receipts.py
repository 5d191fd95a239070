"""A receipt, an invoice, a credit note: what was paid for or given back, VAT apart. Data, not a document.

A receipt becomes a VAT invoice by its buyer's details, under the same number: the VAT of a stay is said once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parkube.parking.domain.people import Organisation
from parkube.parking.domain.tariffs import Line

RECEIPT: Final = "receipt"
CREDIT_NOTE: Final = "credit_note"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Numbers follow one another without a gap. Amounts are minor units, VAT included in total.

    A credit note's amounts are negative, and refers_to is the number of what it takes back.
    """

    number: int
    booking_id: str
    garage_id: str
    issued_at: datetime
    entered_at: datetime | None
    exited_at: datetime | None
    lines: tuple[Line, ...]
    total_minor: int
    vat_minor: int
    vat_percent: str
    currency: str
    payment_ref: str
    kind: str = RECEIPT
    refers_to: int | None = None


@dataclass(frozen=True, slots=True)
class Buyer:
    """To whom a receipt is an invoice. vat_number is theirs, where they have one."""

    receipt_number: int
    name: str
    address: str
    country: str
    vat_number: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Papers:
    """All that a printed receipt, invoice or credit note says. seller is None where the garage has no owner here."""

    receipt: Receipt
    garage_name: str
    city: str
    time_zone: str
    seller: Organisation | None
    buyer: Buyer | None

    @property
    def title(self) -> str:
        """What the paper is called."""
        if self.receipt.kind == CREDIT_NOTE:
            return "Credit note"
        return "Invoice" if self.buyer else "Receipt"


def vat_of_part(part_minor: int, total_minor: int, vat_minor: int, vat_given_back: int = 0) -> int:
    """The VAT in a part of a total, rounded half up; the last part takes what is left, so that all parts add up.

    vat_given_back is what the parts before took, and part_minor the sum of all parts up to this one.
    """
    if part_minor >= total_minor:
        return vat_minor - vat_given_back
    return (2 * part_minor * vat_minor + total_minor) // (2 * total_minor) - vat_given_back
