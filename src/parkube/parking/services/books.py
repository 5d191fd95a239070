"""Writing to the ledger: a charge with the platform's share, a discount, a correction. One transaction each.

Whatever changes what a garage earns by a booking goes through `post`, so that the commission always follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from parkube.parking.domain import ledger
from parkube.parking.domain.bookings import Booking, Move, State, moved
from parkube.parking.domain.errors import Conflict, Invalid, NotFound
from parkube.parking.domain.ledger import Entry
from parkube.parking.domain.receipts import vat_of_part
from parkube.parking.services import news, trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction


async def charge(
    transaction: Transaction, booking: Booking, gross_minor: int, vat_minor: int, at: datetime, reference: str
) -> None:
    """Charges a booking. The VAT is the country's in which the garage lies."""
    country = await country_of(transaction, booking.garage_id)
    currency = booking.price.currency
    entry = ledger.charged(booking.id, booking.garage_id, gross_minor, vat_minor, currency, at, reference, country)
    await post(transaction, entry, booking.garage_id)


async def post(transaction: Transaction, entry: Entry, garage_id: str) -> int | None:
    """Writes an entry about a booking, and what brings the platform's commission up to date with it."""
    entry_id = await transaction.post(entry)
    terms = await transaction.terms(garage_id)
    if entry_id is not None and terms is not None and terms.commission_bp and entry.booking_id is not None:
        known = await transaction.entries(entry.booking_id)
        reference = f"{entry.kind}:{entry.reference}"
        await transaction.post(
            ledger.commissioned(entry.booking_id, garage_id, known, terms, entry.currency, entry.at, reference)
        )
    return entry_id


async def discount(
    platform: Platform, booking_id: str, amount_minor: int, text: str, reference: str, *, by_platform: bool = False
) -> Booking:
    """Takes something off what is due. The garage bears it, or the platform does. The same reference again is nothing.

    Raises NotFound, Invalid for nothing or more than is due, Conflict once it is paid: then it is a refund.
    """
    if amount_minor <= 0:
        raise Invalid("a discount is more than nothing", [("amount_cents", "more than nothing")])
    async with platform.database.writing() as transaction:
        booking = await transaction.lock_booking(booking_id)
        if booking is None:
            raise NotFound("there is no such booking")
        entries = await transaction.entries(booking.id)
        if any(entry.kind == "discount" and entry.reference == reference for entry in entries):
            return booking
        if amount_minor > booking.due_minor:
            if booking.paid_minor:
                raise Conflict("the booking is paid: what is given back now is a refund", code="already_paid")
            raise Invalid(f"no more than {booking.due_minor} is due", [("amount_cents", "more than is due")])
        bearer = f"discounts:{booking.price.currency}" if by_platform else f"garage:{booking.garage_id}"
        vat = vat_in(booking, entries, amount_minor)
        country = await country_of(transaction, booking.garage_id)
        entry = ledger.discounted(
            booking.id, bearer, amount_minor, vat, booking.price.currency, platform.clock(), reference, text, country
        )
        await post(transaction, entry, booking.garage_id)
        booking = replace(booking, credited_minor=booking.credited_minor + amount_minor)
        if booking.due_minor == 0 and booking.state is State.EXITED:
            booking = replace(booking, state=moved(booking.state, Move.PAY))
        await transaction.save_booking(booking)
        await trail.note(platform, transaction, "discount", booking.id, booking.garage_id, amount_minor=amount_minor)
    news.booking(platform, booking)
    return booking


async def correct(platform: Platform, entry_id: int, why: str) -> int:
    """Takes an entry back by one that points at it. Returns the correction's id; again is the same one.

    An entry about a booking's debt changes the booking with it. Raises NotFound, Conflict where money has moved by it:
    that is a refund.
    """
    async with platform.database.writing() as transaction:
        wrong = await transaction.entry(entry_id)
        if wrong is None:
            raise NotFound(f"there is no ledger entry {entry_id}")
        if wrong.kind not in ("charge", "discount"):
            raise Conflict(f"a {wrong.kind} moves money or follows another entry: it is not taken back", code="not_so")
        assert wrong.booking_id is not None
        booking = await transaction.lock_booking(wrong.booking_id)
        if booking is None:
            raise NotFound("the entry's booking is no longer there")
        known = await transaction.entries(booking.id)
        done = next((e.id for e in known if e.corrects == entry_id and e.kind == "reversal"), None)
        if done is not None:
            return done
        less = ledger.balance([wrong], f"driver:{booking.id}")
        if less > booking.due_minor:
            raise Conflict("it is paid already: give the money back instead", code="already_paid")
        made = await post(transaction, ledger.reversal(wrong, platform.clock(), why), booking.garage_id)
        assert made is not None
        await transaction.save_booking(replace(booking, credited_minor=booking.credited_minor + less))
        await trail.note(platform, transaction, "correct", str(entry_id), booking.garage_id, why=why)
    return made


async def country_of(transaction: Transaction, garage_id: str) -> str:
    """Whose VAT a garage's parking bears."""
    garage = await transaction.garage(garage_id)
    return (garage.country if garage else "") or "NL"


def vat_in(booking: Booking, entries: Sequence[Entry], part_minor: int) -> int:
    """The VAT in the next part taken off a booking's charges, so that all the parts together take all of it off."""
    charged = sum(-ledger.vat(e) for e in entries if e.kind == "charge")
    given_back = sum(ledger.vat(e) for e in entries if e.kind != "charge")
    return vat_of_part(booking.credited_minor + part_minor, booking.charged_minor, charged, given_back)
