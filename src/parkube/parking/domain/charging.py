"""What a finished stay costs: the price pinned at the quote, and an overstay by the same tariff. No ledger here."""

from __future__ import annotations

from datetime import datetime, timedelta

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.money import vat_included
from parkube.parking.domain.tariffs import Line, total
from parkube.parking.domain.times import Window


def charge(booking: Booking, exited_at: datetime) -> tuple[Line, ...]:
    """The lines of a stay that was booked and ended then. Leaving early does not change the pinned price."""
    end = booking.window.end
    grace = timedelta(minutes=booking.tariff.exit_grace_minutes)
    if exited_at <= end + grace:
        return booking.lines
    longer = total(booking.tariff, Window(booking.window.start, exited_at))
    over = max(0, longer - total(booking.tariff, booking.window))
    minutes = int((exited_at - end).total_seconds() // 60)
    text = f"Overstay of {minutes // 60} h {minutes % 60} min after the booked time"
    return (*booking.lines, Line(text, over, vat_included(over, booking.tariff.vat_percent, booking.tariff.rounding)))


def sum_of(lines: tuple[Line, ...]) -> tuple[int, int]:
    """Amount and VAT of lines, in minor units."""
    return sum(line.amount_minor for line in lines), sum(line.vat_minor for line in lines)
