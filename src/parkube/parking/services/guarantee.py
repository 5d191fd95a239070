"""A booked driver who finds no bay gets another garage or the money back.

    booked, no bay --another--> a booking nearby at no more than was promised; the first one costs nothing
                   --money----> cancelled for nothing; what was paid ahead goes back
    inside, no bay ------------> the stay costs nothing

Whether there is no bay is what the platform knows, not what is claimed: the garage's state, those inside, the counters.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from parkube.parking.domain import changes
from parkube.parking.domain.bookings import QUOTE_LIVES, Booking, Move, Quote, State, moved
from parkube.parking.domain.errors import Conflict, Invalid, NotFound, ParkingError
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.money import Money, vat_included
from parkube.parking.domain.sharing import bays_of, check_room
from parkube.parking.domain.site import Site
from parkube.parking.domain.tariffs import Asking, Line, check_stay, pin, price
from parkube.parking.domain.times import Window
from parkube.parking.services import access, gates, news
from parkube.parking.services.booking import booking_of, give_up, locked, made
from parkube.parking.services.counting import occupied_now
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.terms import site_of, terms_of

ANOTHER: Final = "another"
MONEY: Final = "money"
_LOOK_AT: Final = 30


async def claim(platform: Platform, booking_id: str, secret: str, wish: str) -> Booking:
    """What the driver is left with: the booking elsewhere, or the one that costs nothing. Again is the same.

    Raises Conflict where there is a bay or it is too early, or no other garage has one either.
    """
    if wish not in (ANOTHER, MONEY):
        raise Invalid(f"{wish!r} cannot be had", [("wish", f"{ANOTHER} or {MONEY}")])
    now = platform.clock()
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        elsewhere = await transaction.booking_replacing(booking.id)
        done = any(change.kind == changes.GUARANTEED for change in await transaction.changes(booking.id))
        if done:
            return elsewhere or booking
        garage = await transaction.garage(booking.garage_id)
        if garage is None:
            raise NotFound("the garage is no longer there")
        await _check_claim(platform, transaction, booking, garage, now)
        await transaction.add_change(
            changes.Change(booking.id, changes.GUARANTEED, now, changes.GUARANTEED, {"wish": wish})
        )
        if booking.state is State.ENTERED:
            free = Line("No bay was free: this stay costs nothing", 0, 0)
            booking = replace(booking, price=Money(0, booking.price.currency), lines=(free,))
            await transaction.rewrite_booking(booking)
            left = booking
        else:
            if wish == ANOTHER:
                elsewhere = await _elsewhere(platform, transaction, booking, garage, now)
            booking = replace(booking, state=moved(booking.state, Move.CANCEL))
            booking = await give_up(transaction, booking, 0, now, changes.CANCELLED)
            left = elsewhere or booking
    if booking.state is State.CANCELLED:
        platform.index.release(booking.id)
        await gates.revoke(platform, booking)
    if elsewhere is not None:
        platform.index.hold(elsewhere, now)
        await access.tell(platform, elsewhere)
    news.booking(platform, booking)
    return left


async def _check_claim(
    platform: Platform, transaction: Transaction, booking: Booking, garage: Garage, now: datetime
) -> None:
    if booking.drive_up or booking.state not in (State.BOOKED, State.ENTERED):
        raise Conflict("the guarantee is for a booking whose time has come", code="wrong_state")
    opens = booking.window.start - timedelta(minutes=booking.tariff.entry_grace_minutes)
    if not opens <= now < booking.window.end:
        raise Conflict("the guarantee is for the time of the booking", code="too_early" if now < opens else "too_late")
    if await site_of(transaction, garage.id) is not Site.OPEN:
        return
    terms = await terms_of(transaction, garage)
    bays = bays_of(terms, garage.capacity or 0, booking.bay_kind)
    soon = Window(now, now + timedelta(seconds=1))
    holds = await transaction.holds(garage.id, soon, now, but=booking.id)
    inside = [hold for hold in holds if hold.inside and hold.kind == booking.bay_kind]
    taken = max(len(inside), await occupied_now(transaction, garage, now) or 0)
    if taken < bays:
        raise Conflict(f"{garage.name} has a free bay", code="bay_free")


async def _elsewhere(
    platform: Platform, transaction: Transaction, booking: Booking, full: Garage, now: datetime
) -> Booking:
    if full.latitude is None or full.longitude is None:
        raise Conflict("no other garage is known nearby, take the money back", code="none_nearby")
    window = Window(max(now, booking.window.start), booking.window.end)
    for _, near in platform.index.near(full.latitude, full.longitude, _LOOK_AT):
        if near.garage.id == full.id or not near.bookable:
            continue
        garage = await transaction.lock_garage(near.garage.id)
        if garage is None or not garage.can_be_booked or garage.tariff.currency != booking.price.currency:
            continue
        try:
            return await _booked(platform, transaction, booking, garage, window, now)
        except ParkingError:
            continue
    raise Conflict("no other garage nearby has a bay now, take the money back", code="none_nearby")


async def _booked(
    platform: Platform, transaction: Transaction, booking: Booking, garage: Garage, window: Window, now: datetime
) -> Booking:
    terms = await terms_of(transaction, garage)
    holds = await transaction.holds(garage.id, window, now)
    check_room(terms, garage.capacity or 0, garage.time_zone, booking.bay_kind, window, holds, garage.name)
    if await site_of(transaction, garage.id) is not Site.OPEN:
        raise Conflict(f"{garage.name} is not open", code="closed")
    held = pin(garage.tariff, window.start, Asking(booking.bay_kind))
    check_stay(held.tariff, window)
    priced = price(held.tariff, window)
    less = min(0, booking.price.minor - priced.total_minor)
    lines = priced.lines
    if less:
        rate = held.tariff.vat_percent
        vat = -vat_included(-less, rate, held.tariff.rounding)
        lines = (*lines, Line("Guaranteed: no more than was booked", less, vat, rate))
    quote = Quote(
        id=platform.new_id("qt"), garage_id=garage.id, window=window,
        price=Money(priced.total_minor + less, priced.currency), vat_minor=sum(line.vat_minor for line in lines),
        lines=lines, tariff=held.tariff, created_at=now, expires_at=now + QUOTE_LIVES, bay_kind=booking.bay_kind,
    )  # fmt: skip
    another = replace(
        booking_of(platform, quote, garage, terms, None, now),
        replaces=booking.id,
        person_id=booking.person_id,
        plate_raw=booking.plate_raw,
        plate_normal=booking.plate_normal,
        plate_country=booking.plate_country,
    )
    await transaction.add_quote(quote)
    await transaction.add_booking(another)
    await transaction.add_change(made(another, terms, now))
    await access.keep_plate(transaction, another)
    return another
