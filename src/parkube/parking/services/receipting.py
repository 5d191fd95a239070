"""Receipts and credit notes: made in the transaction of the payment they are about, with the next number."""

from __future__ import annotations

from dataclasses import replace

from parkube.parking.domain import charging, ledger
from parkube.parking.domain.bookings import Booking, State
from parkube.parking.domain.changes import fee_line
from parkube.parking.domain.errors import Conflict, Invalid, NotFound
from parkube.parking.domain.receipts import CREDIT_NOTE, RECEIPT, Buyer, Papers, Receipt
from parkube.parking.domain.tariffs import Line
from parkube.parking.services import trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction


async def receipt_for(platform: Platform, transaction: Transaction, booking: Booking, payment_ref: str) -> Receipt:
    """The receipt of what was charged and is on no receipt yet: the stay, less what was taken off, less paid before."""
    session = await transaction.session(booking.id)
    exited_at = session.exited_at if session else None
    lines = charging.charge(booking, exited_at) if exited_at else booking.lines
    if booking.state in (State.CANCELLED, State.EXPIRED):
        lines = (fee_line(booking, booking.charged_minor),)
    for entry in await transaction.entries(booking.id):
        if entry.kind in ("discount", "credit", "reversal"):
            less = ledger.balance([entry], f"driver:{booking.id}") + ledger.balance([entry], f"refunds:{booking.id}")
            lines = (*lines, Line(entry.text or "Credited", less, -ledger.vat(entry)))
    before = await transaction.receipts(booking.id)
    if before:
        lines = (*lines, Line("Paid before", -sum(r.total_minor for r in before), -sum(r.vat_minor for r in before)))
    total, vat = charging.sum_of(lines)
    return await transaction.add_receipt(
        Receipt(
            number=0,
            booking_id=booking.id,
            garage_id=booking.garage_id,
            issued_at=platform.clock(),
            entered_at=session.entered_at if session else None,
            exited_at=exited_at,
            lines=lines,
            total_minor=total,
            vat_minor=vat,
            vat_percent=str(booking.tariff.vat_percent),
            currency=booking.price.currency,
            payment_ref=payment_ref,
        )
    )


async def credit_note_for(
    platform: Platform, transaction: Transaction, booking: Booking, amount_minor: int, vat_minor: int, reason: str
) -> Receipt:
    """The credit note of what is given back, pointing at the receipt it takes from. Raises Conflict without one."""
    known = [receipt for receipt in await transaction.receipts(booking.id) if receipt.kind == RECEIPT]
    if not known:
        raise Conflict("there is no receipt to give something back of", code="not_paid")
    return await transaction.add_receipt(
        replace(
            known[-1],
            number=0,
            issued_at=platform.clock(),
            lines=(Line(reason, -amount_minor, -vat_minor),),
            total_minor=-amount_minor,
            vat_minor=-vat_minor,
            kind=CREDIT_NOTE,
            refers_to=known[-1].number,
        )
    )


async def name_buyer(
    platform: Platform, booking_id: str, name: str, address: str, country: str, vat_number: str
) -> Buyer:
    """Makes the booking's latest receipt an invoice to that buyer. Once: an invoice that went out is not rewritten.

    Raises NotFound before it is paid, Conflict for another buyer, Invalid.
    """
    faults = [
        (field, "must not be empty") for field, text in (("name", name), ("address", address)) if not text.strip()
    ]
    if faults:
        raise Invalid("an invoice names its buyer and where they are", faults)
    async with platform.database.writing() as transaction:
        booking = await transaction.lock_booking(booking_id)
        known = [r for r in await transaction.receipts(booking_id) if r.kind == RECEIPT]
        if booking is None or not known:
            raise NotFound("there is no receipt, the booking is not paid")
        buyer = Buyer(known[-1].number, name.strip(), address.strip(), country, vat_number.strip(), platform.clock())
        before = await transaction.buyer(buyer.receipt_number)
        if before is not None:
            if replace(before, at=buyer.at) != buyer:
                raise Conflict("this receipt is an invoice to another buyer already", code="invoice_issued")
            return before
        await transaction.add_buyer(buyer)
        await trail.note(platform, transaction, "invoice", booking.id, booking.garage_id, number=buyer.receipt_number)
    return buyer


async def papers(platform: Platform, receipt: Receipt) -> Papers:
    """What a document says when it is printed: the garage, its owner, the buyer of the receipt it is about."""
    async with platform.database.reading() as transaction:
        garage = await transaction.garage(receipt.garage_id)
        terms = await transaction.terms(receipt.garage_id)
        seller = await transaction.organisation(terms.organisation_id) if terms else None
        buyer = await transaction.buyer(receipt.refers_to or receipt.number)
    name, city = (garage.name, garage.city) if garage else (receipt.garage_id, "")
    return Papers(receipt, name, city, garage.time_zone if garage else "UTC", seller, buyer)
