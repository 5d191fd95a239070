"""A stay that begins now: what must hold, and a drive-up from the wish to the open gate, or no stay at all.

    room, site, driver --> booking written down --> gate asked --opened--> a stay
                                                       |
                                                       +-- refused or silent --> the booking is given up: no stay

Should a silent gate have opened all the same, its journal says so later, and what happened at a gate is a fact.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from parkube.parking.domain import changes
from parkube.parking.domain.bookings import QUOTE_LIVES, Booking, Move, Quote, State, moved
from parkube.parking.domain.commands import CommandState
from parkube.parking.domain.errors import Conflict, Invalid, NotFound, Unavailable
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.money import Money
from parkube.parking.domain.plates import plate as read_plate
from parkube.parking.domain.sharing import Vehicle, check_room, check_vehicle
from parkube.parking.domain.tariffs import Asking, pin
from parkube.parking.domain.times import Window
from parkube.parking.services import access, gates, news
from parkube.parking.services.booking import booking_of, check_bookable, give_up, made
from parkube.parking.services.checks import check_start
from parkube.parking.services.platform import Platform
from parkube.parking.services.terms import terms_of

_WAYS_IN: Final = ("entry", "both")


async def start(
    platform: Platform,
    garage_id: str,
    gate: str | None,
    plate: str | None,
    bay_kind: str,
    vehicle: Vehicle,
    key: str | None,
    wait_s: float,
    person_id: str | None = None,
    plate_country: str | None = None,
) -> Booking:
    """A stay without a booking: the gate opens, or it is an error and no stay. The same key again is the same stay.

    Raises NotFound, Invalid, Conflict with the reason (no bay, another stay, the garage's state), Unavailable where the
    garage or its gate does not answer.
    """
    booking, way_in, fresh = await _written_down(
        platform, garage_id, gate, plate, bay_kind, vehicle, key, person_id, plate_country
    )
    if not fresh:
        if booking.state in (State.CANCELLED, State.EXPIRED):
            raise Conflict("this stay did not begin, ask anew", code="not_started")
        return booking
    opening = await gates.ask(platform, booking, way_in, wait_s)
    if opening.state == CommandState.OPENED:
        platform.index.hold(booking, platform.clock())
        await access.tell(platform, booking)
        news.garage(platform, booking.garage_id)
        async with platform.database.reading() as transaction:
            return await transaction.booking(booking.id) or booking
    await _no_stay(platform, booking)
    if opening.state == CommandState.SENT:
        raise Unavailable("the gate does not answer, no stay has begun", code="gate_silent")
    raise Conflict(f"no stay has begun: {opening.reason}", code=opening.code or "gate_refused")


async def _written_down(
    platform: Platform,
    garage_id: str,
    gate: str | None,
    plate: str | None,
    bay_kind: str,
    vehicle: Vehicle,
    key: str | None,
    person_id: str | None,
    plate_country: str | None,
) -> tuple[Booking, str, bool]:
    now = platform.clock()
    known_plate = read_plate(plate, plate_country) if plate and plate.strip() else None
    async with platform.database.writing() as transaction:
        garage = await transaction.lock_garage(garage_id)
        if garage is None:
            raise NotFound(f"there is no garage {garage_id[:80]!r}")
        way_in = _way_in(garage, gate)
        before = await transaction.booking_of_key(key) if key is not None else None
        if before is not None:
            if before.garage_id != garage_id or not before.drive_up:
                raise Conflict("this Idempotency-Key was used for another booking", code="idempotency_key_reused")
            return before, way_in, False
        check_bookable(garage)
        terms = await terms_of(transaction, garage)
        check_vehicle(terms, garage.height_m, vehicle, garage.name)
        if not terms.drive_up_minutes:
            raise Conflict(f"{garage.name} is for bookings only", code="bookings_only")
        window = Window(now, now + timedelta(minutes=terms.drive_up_minutes))
        held = pin(garage.tariff, now, Asking(bay_kind), platform.index.taken_percent(garage.id, window))
        quote = Quote(
            id=platform.new_id("qt"), garage_id=garage.id, window=window, price=Money(0, held.tariff.currency),
            vat_minor=0, lines=(), tariff=held.tariff, created_at=now, expires_at=now + QUOTE_LIVES, bay_kind=bay_kind,
        )  # fmt: skip
        booking = replace(booking_of(platform, quote, garage, terms, key, now), drive_up=True, person_id=person_id)
        if known_plate is not None:
            booking = replace(
                booking,
                plate_raw=known_plate.raw,
                plate_normal=known_plate.normal,
                plate_country=known_plate.country,
            )
        await check_start(transaction, garage, booking, booked=False)
        holds = await transaction.holds(garage.id, window, now)
        check_room(terms, garage.capacity or 0, garage.time_zone, bay_kind, window, holds, garage.name)
        if platform.links.get(garage.id) is None:
            raise Unavailable(f"{garage.name} cannot be reached now", code="offline")
        await transaction.add_quote(quote)
        await transaction.add_booking(booking)
        await transaction.add_change(made(booking, terms, now))
        await access.keep_plate(transaction, booking)
    return booking, way_in, True


def _way_in(garage: Garage, gate: str | None) -> str:
    ways = [known.name for known in garage.gates if known.direction in _WAYS_IN]
    if gate is None and ways:
        return ways[0]
    if gate not in ways:
        raise Invalid(f"{garage.name} has no entry {gate or ''}".rstrip(), [("gate", f"one of {', '.join(ways)}")])
    return gate


async def _no_stay(platform: Platform, booking: Booking) -> None:
    now = platform.clock()
    async with platform.database.writing() as transaction:
        known = await transaction.lock_booking(booking.id)
        if known is None or known.state is not State.BOOKED:
            return  # Its journal was faster: the gate did open.
        known = replace(known, state=moved(known.state, Move.CANCEL))
        await give_up(transaction, known, 0, now, changes.CANCELLED)
    await gates.revoke(platform, booking)
