"""Quote, book, cancel: a price pinned, then a bay promised, never more bays than there are."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime, timedelta

from parkube.parking.domain import changes, grants
from parkube.parking.domain.bookings import GRANT_GRACE, LONGEST, MOST_AHEAD, QUOTE_LIVES, Booking, Move, Quote, State
from parkube.parking.domain.bookings import moved as moved_state
from parkube.parking.domain.errors import Conflict, Denied, Gone, Invalid, NotFound
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.money import Money
from parkube.parking.domain.plates import plate as read_plate
from parkube.parking.domain.sharing import Terms, Vehicle, check_offered, check_room, check_vehicle
from parkube.parking.domain.tariffs import STRANGER, Asking, check_stay, pin, price
from parkube.parking.domain.times import Window, parse_moment
from parkube.parking.services import access, books, news
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Signer, Transaction
from parkube.parking.services.terms import terms_of

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


async def quote(
    platform: Platform,
    garage_id: str,
    start: str,
    end: str,
    asking: Asking = STRANGER,
    vehicle: Vehicle | None = None,
) -> Quote:
    """A price pinned for a while. Raises NotFound, Invalid, Conflict where nobody can book."""
    now = platform.clock()
    async with platform.database.writing() as transaction:
        garage = await transaction.garage(garage_id)
        if garage is None:
            raise NotFound(f"there is no garage {garage_id!r}")
        window = window_of(start, end, garage.time_zone, now)
        check_bookable(garage)
        shared = await terms_of(transaction, garage)
        check_vehicle(shared, garage.height_m, vehicle or Vehicle(), garage.name)
        check_offered(shared, garage.capacity or 0, garage.time_zone, asking.bay_kind, window, garage.name)
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
            bay_kind=asking.bay_kind,
        )
        await transaction.add_quote(made)
    return made


async def book(
    platform: Platform,
    quote_id: str,
    plate: str | None,
    idempotency_key: str | None,
    plate_country: str | None = None,
) -> Booking:
    """Takes up a quote. The same quote or key again is the same booking.

    Raises NotFound, Gone for an expired quote, Conflict when no bay is left or the key was used for something else.
    """
    now = platform.clock()
    known_plate = read_plate(plate, plate_country) if plate and plate.strip() else None
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
        check_bookable(garage)
        terms = await terms_of(transaction, garage)
        holds = await transaction.holds(garage.id, asked.window, now)
        check_room(terms, garage.capacity or 0, garage.time_zone, asked.bay_kind, asked.window, holds, garage.name)
        booking = booking_of(platform, asked, garage, terms, idempotency_key, now)
        if known_plate is not None:
            booking = replace(
                booking,
                plate_raw=known_plate.raw,
                plate_normal=known_plate.normal,
                plate_country=known_plate.country,
            )
        await transaction.add_booking(booking)
        await transaction.add_change(made(booking, terms, now))
        await access.keep_plate(transaction, booking)
    platform.index.hold(booking, now)
    await access.tell(platform, booking)
    news.booking(platform, booking)
    news.garage(platform, booking.garage_id)
    return booking


async def cancel(platform: Platform, booking_id: str, secret: str) -> Booking:
    """Gives a booking up before the stay, for what its terms say. Again is nothing. Raises Conflict afterwards."""
    now = platform.clock()
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        if booking.state is not State.CANCELLED:
            terms = changes.terms_of(await transaction.changes(booking.id))
            fee = changes.cancel_fee(booking, terms, now)
            booking = replace(booking, state=moved_state(booking.state, Move.CANCEL))
            booking = await give_up(transaction, booking, fee, now, changes.CANCELLED)
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


def check_bookable(garage: Garage) -> None:
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


async def give_up(transaction: Transaction, booking: Booking, fee_minor: int, now: datetime, kind: str) -> Booking:
    """Saves a booking that was cancelled or not come for, and charges its fee. Its credentials open nothing more."""
    detail = {"fee_minor": fee_minor}
    await transaction.add_change(changes.Change(booking.id, kind, now, kind, detail))
    if fee_minor > 0:
        line = changes.fee_line(booking, fee_minor)
        await books.charge(transaction, booking, fee_minor, line.vat_minor, now, f"{booking.id}:{kind}")
        booking = replace(booking, charged_minor=booking.charged_minor + fee_minor)
    await transaction.save_booking(booking)
    await transaction.forget_credentials(booking.window.end + GRANT_GRACE, booking.id)
    return booking


def signed_grant(platform: Platform, booking: Booking, garage: Garage) -> str:
    """The grant of a booking as it is now; the same jti, so that what it passed is known."""
    opens = booking.window.start - timedelta(minutes=booking.tariff.entry_grace_minutes)
    grant = grants.Grant(
        jti=booking.jti,
        kid=platform.signer.kid,
        garage=garage.id,
        gates=tuple(gate.name for gate in garage.gates),
        nbf=int(opens.timestamp()),
        exp=int((booking.window.end + GRANT_GRACE).timestamp()),
        booking=booking.id,
        in_out=booking.in_out,
    )
    return grants.encode(grant, platform.signer.sign)


def made(booking: Booking, terms: Terms, now: datetime) -> changes.Change:
    """That the booking was made, and under which terms."""
    kept = {name: getattr(terms.cancelling, name) for name in terms.cancelling.__dataclass_fields__}
    kind = changes.STARTED if booking.drive_up else changes.BOOKED
    return changes.Change(booking.id, kind, now, kind, {"cancelling": kept})


def booking_of(
    platform: Platform, asked: Quote, garage: Garage, terms: Terms, key: str | None, now: datetime
) -> Booking:
    """The booking of a quote, with its signed grant."""
    booking = Booking(
        id=platform.new_id("bk"),
        garage_id=asked.garage_id,
        quote_id=asked.id,
        window=asked.window,
        state=State.BOOKED,
        price=asked.price,
        lines=asked.lines,
        tariff=asked.tariff,
        jti=platform.new_id("gr"),
        grant="",
        created_at=now,
        idempotency_key=key,
        bay_kind=asked.bay_kind,
        in_out=terms.in_out,
    )
    return replace(booking, grant=signed_grant(platform, booking, garage))
