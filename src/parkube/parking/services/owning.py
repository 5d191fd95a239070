"""What owners and their staff look at: their garages, the bookings in them. Reading plates is on the trail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.errors import NotFound
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.ledger import Entry, Terms
from parkube.parking.domain.rights import EVERYWHERE, TABLE, Right
from parkube.parking.services import trail
from parkube.parking.services.people import Caller
from parkube.parking.services.platform import Platform


async def garages_of(platform: Platform, caller: Caller) -> Sequence[tuple[Garage, Terms | None]]:
    """The garages that the caller may see, with their terms; the fleet's own for those whose role is everywhere."""
    reached: set[str] = set()
    async with platform.database.reading() as transaction:
        for membership in caller.memberships:
            if Right.SEE_GARAGE not in TABLE[membership.role]:
                continue
            if membership.garage_id is not None:
                reached.add(membership.garage_id)
            elif membership.organisation_id is not None:
                reached |= set(await transaction.garages_of(membership.organisation_id))
            elif membership.role in EVERYWHERE:
                reached |= {known.garage.id for known in platform.index.all() if known.garage.managed}
        found = []
        for garage_id in sorted(reached):
            garage = await transaction.garage(garage_id)
            if garage is not None:
                found.append((garage, await transaction.terms(garage_id)))
    return found


async def bookings(
    platform: Platform, caller: Caller, garage_id: str, after_id: str, limit: int
) -> tuple[Sequence[Booking], bool]:
    """A page of a garage's bookings, and whether the caller may read their plates."""
    async with platform.database.reading() as transaction:
        terms = await transaction.terms(garage_id)
        rows = await transaction.bookings_in(garage_id, after_id, limit)
    plates = caller.may(Right.READ_PLATES, garage_id, terms.organisation_id if terms else None)
    read = [row.id for row in rows if row.plate_raw is not None]
    if plates and read:
        async with platform.database.writing() as transaction:
            await trail.note(platform, transaction, "plates_read", read[0], garage_id, bookings=len(read))
    return rows, plates


async def check_booking(platform: Platform, garage_id: str, booking_id: str) -> None:
    """Raises NotFound unless the booking is in that garage."""
    async with platform.database.reading() as transaction:
        booking = await transaction.booking(booking_id)
    if booking is None or booking.garage_id != garage_id:
        raise NotFound("there is no such booking")


def of_garage(entry: Entry, garage_id: str) -> Entry:
    """An entry as that garage's people may see it: a payout of several garages shows their own part alone."""
    if entry.kind != "payout":
        return entry
    account = f"garage:{garage_id}"
    return replace(entry, moves=tuple(move for move in entry.moves if account in (move.debit, move.credit)))
