"""Paying for a stay, and the receipt. The provider is asked outside any transaction, by a key that pays once."""

from __future__ import annotations

from dataclasses import replace

from parkube.parking.domain import charging, ledger
from parkube.parking.domain.bookings import Booking, Move, State, moved
from parkube.parking.domain.errors import NotFound
from parkube.parking.domain.receipts import Receipt
from parkube.parking.domain.tariffs import Line
from parkube.parking.services import news
from parkube.parking.services.booking import find, locked
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Payment, Transaction


async def pay(platform: Platform, booking_id: str, secret: str) -> Receipt:
    """Pays what is due. Paid already is the receipt there was. Raises Conflict before the stay is over."""
    booking = await find(platform, booking_id, secret)
    if booking.state is State.PAID:
        return await receipt(platform, booking_id, secret)
    moved(booking.state, Move.PAY)
    due = booking.due_minor
    payment: Payment | None = None
    if due > 0:
        key = f"{booking.id}:{booking.charged_minor}"
        payment = await platform.payments.pay(key, due, booking.price.currency, f"Parking {booking.id}")
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        if booking.state is State.PAID:  # the same payment was recorded while we asked
            return (await transaction.receipts(booking_id))[-1]
        made = await _record(platform, transaction, booking, payment)
        booking = replace(
            booking,
            paid_minor=booking.paid_minor + (payment.amount_minor if payment else 0),
        )
        if booking.due_minor == 0:
            booking = replace(booking, state=moved(booking.state, Move.PAY))
        await transaction.save_booking(booking)
    news.booking(platform, booking)
    return made


async def receipt(platform: Platform, booking_id: str, secret: str) -> Receipt:
    """The latest receipt of a booking. Raises NotFound before it is paid."""
    await find(platform, booking_id, secret)
    async with platform.database.reading() as transaction:
        known = await transaction.receipts(booking_id)
    if not known:
        raise NotFound("there is no receipt, the booking is not paid")
    return known[-1]


async def _record(platform: Platform, transaction: Transaction, booking: Booking, payment: Payment | None) -> Receipt:
    now = platform.clock()
    if payment is not None:
        entry = ledger.paid(
            booking.id, payment.provider, payment.amount_minor, payment.currency, now, payment.reference
        )
        await transaction.post(entry)
    session = await transaction.session(booking.id)
    exited_at = session.exited_at if session else None
    lines = charging.charge(booking, exited_at) if exited_at else booking.lines
    before = await transaction.receipts(booking.id)
    if before:
        lines = (*lines, Line("Paid before", -sum(r.total_minor for r in before), -sum(r.vat_minor for r in before)))
    total, vat = charging.sum_of(lines)
    return await transaction.add_receipt(
        Receipt(
            number=0,
            booking_id=booking.id,
            garage_id=booking.garage_id,
            issued_at=now,
            entered_at=session.entered_at if session else None,
            exited_at=exited_at,
            lines=lines,
            total_minor=total,
            vat_minor=vat,
            vat_percent=str(booking.tariff.vat_percent),
            currency=booking.price.currency,
            payment_ref=payment.reference if payment else "",
        )
    )
