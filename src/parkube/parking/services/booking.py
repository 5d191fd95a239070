"""Quote, book, cancel: a price pinned, then a bay promised, never more bays than there are."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime, timedelta

from parkube.parking.domain import grants
from parkube.parking.domain.bookings import GRANT_GRACE, LONGEST, MOST_AHEAD, QUOTE_LIVES, Booking, Move, Quote, State
from parkube.parking.domain.bookings import moved as moved_state
from parkube.parking.domain.errors import Conflict, Denied, Gone, Invalid, NotFound
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.money import Money
from parkube.parking.domain.occupancy import most_at_once
from parkube.parking.domain.plates import plate as read_plate
from parkube.parking.domain.tariffs import STRANGER, Asking, check_stay, pin, price
from parkube.parking.domain.times import Window, parse_moment
from parkube.parking.services import news
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Signer, Transaction

_LATE = timedelta(minutes=5)  # a window that began while the driver was still reading


def window_of(start: str, end: str, zone_name: str, now: datetime) -> Window:
    """A window as a driver wrote it. Raises Invalid with every fault."""
    faults: list[tuple[str, str]] = []
    moments: list[datetime] = []
    for field, text in (("from", start), ("to", end)):
        try:
            moments.append(parse_moment(text, zone_name, field))
        except Invalid as error:
            faults.append((field, error.message))
    if len(moments) == 2:
        faults.extend(_window_faults(Window(*moments), now))
    if faults:
        raise Invalid("; ".join(text for _, text in faults), faults, code="invalid_window")
    return Window(*moments)


async def quote(platform: Platform, garage_id: str, start: str, end: str, asking: Asking = STRANGER) -> Quote:
    """A price pinned for a while. Raises NotFound, Invalid, Conflict where nobody can book."""
    now = platform.clock()
    async with platform.database.writing() as transaction:
        garage = await transaction.garage(garage_id)
        if garage is None:
            raise NotFound(f"there is no garage {garage_id!r}")
        window = window_of(start, end, garage.time_zone, now)
        _check_bookable(garage)
        terms = pin(garage.tariff, window.start, asking, platform.index.taken_percent(garage.id, window))
        check_stay(terms.tariff, window)
        priced = price(terms.tariff, window)
        made = Quote(
            id=platform.new_id("qt"),
            garage_id=garage.id,
            window=window,
            price=Money(priced.total_minor, priced.currency),
            vat_minor=priced.vat_minor,
            lines=(*terms.lines, *priced.lines),
            tariff=terms.tariff,
            created_at=now,
            expires_at=now + QUOTE_LIVES,
        )
        await transaction.add_quote(made)
    return made


async def book(platform: Platform, quote_id: str, plate: str | None, idempotency_key: str | None) -> Booking:
    """Takes up a quote. The same quote or key again is the same booking.

    Raises NotFound, Gone for an expired quote, Conflict when no bay is left or the key was used for something else.
    """
    now = platform.clock()
    known_plate = read_plate(plate) if plate and plate.strip() else None
    async with platform.database.writing() as transaction:
        asked = await transaction.quote(quote_id)
        if asked is None:
            raise NotFound("there is no such quote")
        garage = await transaction.lock_garage(asked.garage_id)
        if garage is None:
            raise NotFound("the garage is no longer there")
        before = await _booked_before(transaction, asked, idempotency_key)
        if before is not None:
            return before
        if now >= asked.expires_at:
            raise Gone("the quote has expired, ask for a new one", code="quote_expired")
        if now >= asked.window.end:
            raise Gone("the time that was asked for is over, ask for a new quote", code="quote_expired")
        _check_bookable(garage)
        windows = await transaction.taken(garage.id, asked.window, now)
        spans = [(max(w.start, asked.window.start).timestamp(), w.end.timestamp()) for w in windows]
        if most_at_once(spans) >= (garage.capacity or 0):
            raise Conflict(f"{garage.name} has no bay left for that time", code="no_free_bay")
        booking = _booking_of(platform, asked, garage, idempotency_key, now)
        if known_plate is not None:
            booking = replace(
                booking,
                plate_raw=known_plate.raw,
                plate_normal=known_plate.normal,
                plate_country=known_plate.country,
            )
        await transaction.add_booking(booking)
    platform.index.hold(booking, now)
    news.booking(platform, booking)
    news.garage(platform, booking.garage_id)
    return booking


async def cancel(platform: Platform, booking_id: str, secret: str) -> Booking:
    """Gives a booking up before the stay. Raises Conflict afterwards."""
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        if booking.state is not State.CANCELLED:
            booking = replace(booking, state=moved_state(booking.state, Move.CANCEL))
            await transaction.save_booking(booking)
    platform.index.release(booking.id)
    news.booking(platform, booking)
    news.garage(platform, booking.garage_id)
    return booking


async def find(platform: Platform, booking_id: str, secret: str) -> Booking:
    """A booking by its id and secret. Raises Denied, NotFound."""
    check_secret(platform.signer, booking_id, secret)
    async with platform.database.reading() as transaction:
        booking = await transaction.booking(booking_id)
    if booking is None:
        raise NotFound("there is no such booking")
    return booking


async def locked(platform: Platform, transaction: Transaction, booking_id: str, secret: str) -> Booking:
    """The same, held until the end of the transaction."""
    check_secret(platform.signer, booking_id, secret)
    booking = await transaction.lock_booking(booking_id)
    if booking is None:
        raise NotFound("there is no such booking")
    return booking


def secret_of(signer: Signer, booking_id: str) -> str:
    """What a booking's later calls carry. Derived, so that it is stored nowhere."""
    return signer.secret_of(f"booking:{booking_id}")


def check_secret(signer: Signer, booking_id: str, secret: str) -> None:
    """Raises Denied for the wrong secret, which also tells nobody whether the booking is there."""
    if not hmac.compare_digest(secret_of(signer, booking_id).encode(), secret.encode()):
        raise Denied("this is not the booking's secret")


def _window_faults(window: Window, now: datetime) -> list[tuple[str, str]]:
    faults = []
    if window.end <= window.start:
        faults.append(("to", "the end is not after the start"))
    elif window.duration > LONGEST:
        faults.append(("to", f"a booking is at most {LONGEST.days} days long"))
    if window.start < now - _LATE:
        faults.append(("from", "the start is in the past"))
    if window.start > now + MOST_AHEAD:
        faults.append(("from", f"the start is more than {MOST_AHEAD.days} days ahead"))
    return faults


def _check_bookable(garage: Garage) -> None:
    if not garage.can_be_booked:
        raise Conflict(
            f"{garage.name} cannot be booked: it is known, but not run by this platform", code="not_bookable"
        )


async def _booked_before(transaction: Transaction, asked: Quote, key: str | None) -> Booking | None:
    if key is not None:
        of_key = await transaction.booking_of_key(key)
        if of_key is not None:
            if of_key.quote_id != asked.id:
                raise Conflict("this Idempotency-Key was used for another booking", code="idempotency_key_reused")
            return of_key
    of_quote = await transaction.booking_of_quote(asked.id)
    if of_quote is not None and of_quote.idempotency_key != key:
        raise Conflict("this quote has already been booked", code="quote_used")
    return of_quote


def _booking_of(platform: Platform, asked: Quote, garage: Garage, key: str | None, now: datetime) -> Booking:
    booking_id, jti = platform.new_id("bk"), platform.new_id("gr")
    opens = asked.window.start - timedelta(minutes=asked.tariff.entry_grace_minutes)
    grant = grants.Grant(
        jti=jti,
        kid=platform.signer.kid,
        garage=asked.garage_id,
        gates=tuple(gate.name for gate in garage.gates),
        nbf=int(opens.timestamp()),
        exp=int((asked.window.end + GRANT_GRACE).timestamp()),
        booking=booking_id,
    )
    return Booking(
        id=booking_id,
        garage_id=asked.garage_id,
        quote_id=asked.id,
        window=asked.window,
        state=State.BOOKED,
        price=asked.price,
        lines=asked.lines,
        tariff=asked.tariff,
        jti=jti,
        grant=grants.encode(grant, platform.signer.sign),
        created_at=now,
        idempotency_key=key,
    )
