"""Paying for a stay: ahead of it, or when it is over; and the receipt. What happens at the provider is in orders."""

from __future__ import annotations

from dataclasses import replace

from parkube.parking.domain.bookings import Move, State, moved
from parkube.parking.domain.errors import Conflict, NotFound
from parkube.parking.domain.payments import Order, OrderState, PaymentRefused
from parkube.parking.domain.receipts import RECEIPT, Receipt
from parkube.parking.services import orders
from parkube.parking.services.booking import find, locked
from parkube.parking.services.platform import Platform
from parkube.parking.services.receipting import receipt_for

CARD = "card"


async def pay(
    platform: Platform, booking_id: str, secret: str, method: str = CARD, return_url: str = ""
) -> Receipt | Order:
    """Pays what is due. Paid already is the receipt there was; where the driver must confirm it first, the order.

    Raises Conflict before the stay is over, PaymentRefused, Unavailable where nobody knows yet whether it was taken.
    """
    booking = await find(platform, booking_id, secret)
    if booking.state is State.PAID:
        return await receipt(platform, booking_id, secret)
    moved(booking.state, Move.PAY)
    booking = await orders.settle(platform, booking_id)
    if booking.state is State.PAID:
        return await receipt(platform, booking_id, secret)
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        if booking.state is State.PAID:  # the same payment was recorded while we asked
            return (await transaction.receipts(booking_id))[-1]
        if booking.due_minor <= 0 and booking.state in (State.CANCELLED, State.EXPIRED):
            known = await transaction.receipts(booking_id)
            if known:
                return known[-1]
            raise Conflict("nothing is due", code="nothing_due")
        if booking.due_minor <= 0:
            booking = replace(booking, state=moved(booking.state, Move.PAY))
            await transaction.save_booking(booking)
            return await receipt_for(platform, transaction, booking, "")
        order = await orders.prepare(platform, transaction, booking, booking.due_minor, method, return_url, ahead=False)
    order = await orders.start(platform, order)
    if order.state is OrderState.CAPTURED:
        return await receipt(platform, booking_id, secret)
    if order.state is OrderState.FAILED:
        raise PaymentRefused("the payment was not made, try another way")
    return order


async def pay_ahead(
    platform: Platform, booking_id: str, secret: str, method: str = CARD, return_url: str = ""
) -> Order:
    """Holds the price before the stay; with a method that cannot be held (iDEAL) it is paid, and the rest goes back.

    Raises Conflict once the stay is over, PaymentRefused, Unavailable.
    """
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        if booking.state not in (State.BOOKED, State.ENTERED):
            raise Conflict("the stay is over: pay what is due", code="wrong_state")
        known = [
            o for o in await transaction.orders(booking.id) if o.state in (OrderState.AUTHORISED, OrderState.CAPTURED)
        ]
        if known:
            return known[-1]
        if booking.price.minor <= 0:
            raise Conflict("there is nothing to pay", code="nothing_due")
        order = await orders.prepare(
            platform, transaction, booking, booking.price.minor, method, return_url, ahead=True
        )
    order = await orders.start(platform, order)
    if order.state is OrderState.FAILED:
        raise PaymentRefused("the payment was not made, try another way")
    return order


async def receipt(platform: Platform, booking_id: str, secret: str) -> Receipt:
    """The latest receipt of a booking. Raises NotFound before it is paid."""
    known = [one for one in await documents(platform, booking_id, secret) if one.kind == RECEIPT]
    if not known:
        raise NotFound("there is no receipt, the booking is not paid")
    return known[-1]


async def documents(platform: Platform, booking_id: str, secret: str) -> list[Receipt]:
    """Every receipt and credit note of a booking, in the order of their numbers."""
    await find(platform, booking_id, secret)
    async with platform.database.reading() as transaction:
        return list(await transaction.receipts(booking_id))
