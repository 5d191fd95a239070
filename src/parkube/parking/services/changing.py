"""A driver changes a booking: another end, another plate, another credential. Each in one transaction, priced first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from parkube.parking.domain import changes
from parkube.parking.domain.bookings import Booking, State
from parkube.parking.domain.changes import Change
from parkube.parking.domain.credentials import Credential
from parkube.parking.domain.errors import Conflict, Invalid, NotFound
from parkube.parking.domain.money import Money
from parkube.parking.domain.plates import Plate
from parkube.parking.domain.plates import plate as read_plate
from parkube.parking.domain.sharing import check_room
from parkube.parking.domain.tariffs import check_stay, price
from parkube.parking.domain.times import Window, parse_moment
from parkube.parking.services import access, news
from parkube.parking.services.booking import locked, signed_grant
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.terms import terms_of


async def change(
    platform: Platform,
    booking_id: str,
    secret: str,
    to: str | None,
    plate: str | None,
    plate_country: str | None = None,
    *,
    preview: bool = False,
    seen: Callable[[Booking], None] = lambda _held: None,
) -> tuple[Booking, int]:
    """Another end, another plate, or both. Returns the booking and what it costs more (less: below 0).

    preview: says what it would be and changes nothing. `seen` hears of the booking as it is, under its lock, and may
    raise. Raises Conflict where there is no bay for longer, Invalid.
    """
    now = platform.clock()
    known_plate = _read(to, plate, plate_country)
    async with platform.database.writing() as transaction:
        before = await locked(platform, transaction, booking_id, secret)
        seen(before)
        booking = before
        if to is not None:
            booking = await _until(platform, transaction, booking, to, now)
        if known_plate is not None and known_plate.normal != booking.plate_normal:
            if booking.state not in (State.BOOKED, State.ENTERED):
                raise Conflict(f"the booking is {booking.state.value}, its plate cannot be changed", code="wrong_state")
            booking = replace(
                booking,
                plate_raw=known_plate.raw,
                plate_normal=known_plate.normal,
                plate_country=known_plate.country,
            )
        if booking != before and not preview:
            await _save(transaction, before, booking, now)
    if booking != before and not preview:
        platform.index.hold(booking, now)
        await access.tell(platform, booking)
        news.booking(platform, booking)
        news.garage(platform, booking.garage_id)
    return booking, booking.price.minor - before.price.minor


async def add_credential(platform: Platform, booking_id: str, secret: str, kind: str, value: str | None) -> Credential:
    """A PIN or a card that opens the booking's gates. Raises Invalid, Conflict."""
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        made = await access.add(platform, transaction, booking, kind, value)
    await access.tell(platform, booking)
    return made


def _read(to: str | None, plate: str | None, country: str | None) -> Plate | None:
    """The plate; what is wrong with it and with the time is named at once."""
    known, wrong = None, []
    if to is not None:
        try:
            parse_moment(to, "UTC", "to")
        except Invalid as error:
            wrong.append(error)
    if plate is not None:
        try:
            known = read_plate(plate, country)
        except Invalid as error:
            wrong.append(error)
    if wrong:
        raise Invalid("; ".join(one.message for one in wrong), [fault for one in wrong for fault in one.faults])
    return known


async def _until(platform: Platform, transaction: Transaction, booking: Booking, to: str, now: datetime) -> Booking:
    garage = await transaction.lock_garage(booking.garage_id)
    if garage is None:
        raise NotFound("the garage is no longer there")
    window = changes.window_until(booking, parse_moment(to, garage.time_zone, "to"), now)
    if window == booking.window:
        return booking
    check_stay(booking.tariff, window)
    if window.end > booking.window.end:
        more = Window(max(booking.window.end, now), window.end)
        terms = await terms_of(transaction, garage)
        holds = await transaction.holds(garage.id, more, now, but=booking.id)
        check_room(terms, garage.capacity or 0, garage.time_zone, booking.bay_kind, more, holds, garage.name)
    priced = price(booking.tariff, window)
    cheaper = window.end < booking.window.end
    held = changes.terms_of(await transaction.changes(booking.id))
    if not cheaper or (held.shorter_costs_less and priced.total_minor < booking.price.minor):
        booking = replace(booking, price=Money(priced.total_minor, priced.currency), lines=priced.lines)
    booking = replace(booking, window=window)
    return replace(booking, grant=signed_grant(platform, booking, garage))


async def _save(transaction: Transaction, before: Booking, booking: Booking, now: datetime) -> None:
    await transaction.rewrite_booking(booking)
    if booking.window != before.window:
        kind = changes.EXTENDED if booking.window.end > before.window.end else changes.SHORTENED
        detail = {"to": booking.window.end.isoformat(), "price_minor": booking.price.minor}
        key = f"{kind}:{booking.window.end.timestamp():.0f}:{now.timestamp():.3f}"
        await transaction.add_change(Change(booking.id, key, now, kind, detail))
        await access.moved(transaction, booking)
    if booking.plate_normal != before.plate_normal:
        # Which plate is personal data, and this table is for ever: that it changed is enough.
        key = f"{changes.PLATE}:{now.timestamp():.3f}"
        await transaction.add_change(Change(booking.id, key, now, changes.PLATE))
        await access.keep_plate(transaction, booking)
