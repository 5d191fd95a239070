"""What a driver may change of a booking, what that costs, and what is owed for a stay that never was.

    booked ---- extended, shortened, plate changed ---> booked        entered ---- the same ---> entered
      |                                                                  |
      +-- cancelled: free, or a fee by the terms of the day it was made  +-- ended: the rest is given back, or not
      +-- not come for: nothing, or a fee by the same terms

Pure. Every change is written down under a key of its own: the same key again is the same change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from parkube.parking.domain.bookings import LONGEST, Booking, State
from parkube.parking.domain.errors import Conflict, Invalid
from parkube.parking.domain.money import vat_included
from parkube.parking.domain.sharing import Cancelling
from parkube.parking.domain.tariffs import Line
from parkube.parking.domain.times import Window

BOOKED: Final = "booked"
STARTED: Final = "started"
EXTENDED: Final = "extended"
SHORTENED: Final = "shortened"
PLATE: Final = "plate_changed"
CANCELLED: Final = "cancelled"
NO_SHOW: Final = "no_show"
SOFT_CLOSED: Final = "soft_closed"
ENDS_SOON: Final = "ends_soon"
OVERSTAYED: Final = "overstayed"
AT_RISK: Final = "at_risk"
GUARANTEED: Final = "guaranteed"

_OPEN: Final = (State.BOOKED, State.ENTERED)


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a booking by a wish or by the clock; what a gate did is a Passage."""

    booking_id: str
    key: str
    at: datetime
    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


def window_until(booking: Booking, to: datetime, now: datetime) -> Window:
    """The booking's window with another end. Raises Conflict after the stay, Invalid for an end that cannot be."""
    if booking.state not in _OPEN:
        raise Conflict(f"the booking is {booking.state.value}, its time cannot be changed", code="wrong_state")
    if booking.drive_up:
        raise Conflict("a stay without a booking ends when the vehicle leaves", code="drive_up")
    faults = []
    if to <= booking.window.start:
        faults.append(("to", "the end is not after the start"))
    elif to < now:
        faults.append(("to", "the end is in the past"))
    elif to - booking.window.start > LONGEST:
        faults.append(("to", f"a booking is at most {LONGEST.days} days long"))
    if faults:
        raise Invalid(faults[0][1], faults, code="invalid_window")
    return Window(booking.window.start, to)


def terms_of(changes: Iterable[Change]) -> Cancelling:
    """The terms that held when the booking was made."""
    made = next((change for change in changes if change.kind == BOOKED), None)
    return Cancelling(**made.detail.get("cancelling", {})) if made else Cancelling()


def cancel_fee(booking: Booking, terms: Cancelling, now: datetime) -> int:
    """What giving the booking up costs now, in minor units."""
    grace = timedelta(minutes=booking.tariff.booking_grace_minutes)
    free_until = booking.window.start - timedelta(minutes=terms.free_until_minutes)
    if now < booking.created_at + grace or now < free_until:
        return 0
    return part_of(booking.price.minor, terms.fee_percent)


def no_show_fee(booking: Booking, terms: Cancelling) -> int:
    """What it costs that nobody came."""
    return part_of(booking.price.minor, terms.no_show_percent)


def part_of(amount_minor: int, percent: int) -> int:
    """So many percent of an amount, rounded half up to a minor unit."""
    return (amount_minor * percent + 50) // 100


def fee_line(booking: Booking, amount_minor: int) -> Line:
    """The line for a booking that was given up or not used."""
    text = "Cancelled" if booking.state is State.CANCELLED else "Not used"
    return Line(text, amount_minor, vat_included(amount_minor, booking.tariff.vat_percent, booking.tariff.rounding))
