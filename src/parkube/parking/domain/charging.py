"""What a finished stay costs: the price pinned at the quote, an overstay and the energy by the same tariff.

No ledger here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.money import vat_included
from parkube.parking.domain.tariffs import Line, energy_line, price, total
from parkube.parking.domain.times import Window


def charge(booking: Booking, exited_at: datetime, energy_wh: int = 0) -> tuple[Line, ...]:
    """The lines of a stay that ended then. Leaving early does not change a pinned price.

    A drive-up pays from its start by the tariff that was pinned then, and nothing where it left again at once.
    """
    lines = _parked(booking, exited_at)
    if not energy_wh or not booking.tariff.energy_minor_per_kwh:
        return lines
    return (*lines, energy_line(booking.tariff, energy_wh))


def _parked(booking: Booking, exited_at: datetime) -> tuple[Line, ...]:
    if booking.drive_up:
        if exited_at <= booking.window.start + timedelta(minutes=booking.tariff.entry_grace_minutes):
            return (Line("Left again within the grace at the entry", 0, 0),)
        return price(booking.tariff, Window(booking.window.start, exited_at)).lines
    end = booking.window.end
    grace = timedelta(minutes=booking.tariff.exit_grace_minutes)
    if exited_at <= end + grace:
        return booking.lines
    longer = total(booking.tariff, Window(booking.window.start, exited_at))
    over = max(0, longer - total(booking.tariff, booking.window))
    minutes = int((exited_at - end).total_seconds() // 60)
    text = f"Overstay of {minutes // 60} h {minutes % 60} min after the booked time"
    rate = booking.tariff.vat_percent
    return (*booking.lines, Line(text, over, vat_included(over, rate, booking.tariff.rounding), rate))


def sum_of(lines: tuple[Line, ...]) -> tuple[int, int]:
    """Amount and VAT of lines, in minor units."""
    return sum(line.amount_minor for line in lines), sum(line.vat_minor for line in lines)
