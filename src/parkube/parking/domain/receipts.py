"""A receipt: what was paid for, VAT apart. Data, not a document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from parkube.parking.domain.tariffs import Line


@dataclass(frozen=True, slots=True)
class Receipt:
    """Numbers follow one another without a gap. Amounts are minor units, VAT included in total."""

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
