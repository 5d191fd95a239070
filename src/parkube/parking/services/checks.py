"""What must hold for any stay to begin, whoever asks and however. Reads only; the bay itself is sharing's to judge."""

from __future__ import annotations

from collections.abc import Sequence

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.errors import Conflict
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.site import check_entry
from parkube.parking.services.ports import Transaction
from parkube.parking.services.terms import site_of


async def check_start(transaction: Transaction, garage: Garage, booking: Booking, *, booked: bool) -> None:
    """What must hold for any stay to begin: the garage's state, and no other running stay of that driver.

    Raises Conflict.
    """
    check_entry(await site_of(transaction, garage.id), garage.name, booked=booked)
    elsewhere = await transaction.inside_elsewhere(booking)
    if not elsewhere:
        return
    allowed = max([await transaction.allowed_at_once(driver) for driver in drivers_of(booking)], default=1)
    if elsewhere >= allowed:
        raise Conflict(
            f"another stay of this driver is running, {allowed} at once {'is' if allowed == 1 else 'are'} allowed",
            code="already_parked",
        )


def drivers_of(booking: Booking) -> Sequence[str]:
    """By which names a booking's driver is known: the account, the plate. None for a guest without a plate."""
    names = [f"person:{booking.person_id}"] if booking.person_id else []
    return [*names, f"plate:{booking.plate_normal}"] if booking.plate_normal else names
