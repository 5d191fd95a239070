"""Orders at a payment provider: begun, heard of, settled with the stay. The provider is asked outside any transaction.

prepare (written down) -> provider -> hear (what it said, by answer, webhook or question: whichever is first)
                                       |
the stay is over ----------------> settle: capture what is due of what is held, use what was paid first, give back
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from parkube.parking.domain import ledger
from parkube.parking.domain.bookings import Booking, Move, State, moved
from parkube.parking.domain.errors import NotFound, ParkingError, Unavailable
from parkube.parking.domain.payments import OPEN, Held, Order, OrderState, PaymentRefused, heard
from parkube.parking.domain.refunds import Refund
from parkube.parking.services import news, refunds, trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.receipting import receipt_for

_log = logging.getLogger(__name__)
_ASK_AGAIN_AFTER: Final = timedelta(minutes=1)
_STAY_IS_AHEAD: Final = (State.BOOKED, State.ENTERED)
_TO_PAY: Final = (State.EXITED, State.CANCELLED, State.EXPIRED)


async def prepare(
    platform: Platform,
    transaction: Transaction,
    booking: Booking,
    amount_minor: int,
    method: str,
    return_url: str,
    *,
    ahead: bool,
) -> Order:
    """The order for an amount, written down; the one that is open for it already, where there is one."""
    can_hold = platform.payments.can_hold(method)
    for known in await transaction.orders(booking.id):
        same = (known.amount_minor, known.method, known.provider) == (amount_minor, method, platform.payments.name)
        if same and (known.state in OPEN or (ahead and known.state is OrderState.AUTHORISED)):
            return known
    now = platform.clock()
    order = Order(
        id=platform.new_id("po"),
        booking_id=booking.id,
        provider=platform.payments.name,
        method=method,
        amount_minor=amount_minor,
        currency=booking.price.currency,
        capture_later=ahead and can_hold,
        url=return_url or None,
        created_at=now,
        changed_at=now,
    )
    await transaction.add_order(order)
    await trail.note(
        platform, transaction, "order", booking.id, booking.garage_id, order=order.id, amount_minor=amount_minor
    )
    return order


async def start(platform: Platform, order: Order) -> Order:
    """Asks the provider to begin, or again where its answer was lost. Raises PaymentRefused, Unavailable.

    Asked again is asked with the very same words: a provider refuses a key that comes with others.
    """
    provider = platform.provider(order.provider)
    try:
        if order.reference is not None:
            held = await provider.find(order.reference)
        else:
            held = await provider.start(order, f"Parking {order.booking_id}", order.url or "")
    except PaymentRefused:
        failed = Held(order.provider, order.reference or "", OrderState.FAILED, order.amount_minor, order.currency)
        await hear(platform, order.id, failed)
        raise
    return await hear(platform, order.id, held)


async def hear(platform: Platform, order_id: str, held: Held) -> Order:
    """What the provider says of an order, kept once however often and in whichever order it says it."""
    async with platform.database.writing() as transaction:
        before = await transaction.lock_order(order_id)
        if before is None:
            raise NotFound("there is no such order")
        order = heard(before, held, platform.clock())
        if order is before:
            return order
        await transaction.save_order(order)
        booking = await transaction.lock_booking(order.booking_id)
        assert booking is not None
        taken = order.captured_minor - before.captured_minor
        if taken > 0:
            reference = order.reference or order.id
            if before.captured_minor:
                reference = f"{reference}:{order.captured_minor}"
            await transaction.post(
                ledger.prepaid(booking.id, order.provider, taken, order.currency, platform.clock(), reference)
            )
            await trail.note(
                platform, transaction, "taken", booking.id, booking.garage_id, order=order.id, amount_minor=taken
            )
            booking, rest = await _use(platform, transaction, booking, reference)
    if taken > 0:
        news.booking(platform, booking)
        for refund in rest:
            await refunds.send(platform, refund)
    return order


async def settle(platform: Platform, booking_id: str) -> Booking:
    """After the stay: takes what is due of what is held, and gives back what was paid and is not due. Again is nothing.

    Raises Unavailable where the provider does not answer: it is tried again.
    """
    async with platform.database.reading() as transaction:
        booking = await transaction.booking(booking_id)
        known = await transaction.orders(booking_id)
    if booking is None:
        raise NotFound("there is no such booking")
    if booking.state in _STAY_IS_AHEAD:
        return booking
    due = booking.due_minor
    for order in known:
        if order.state is not OrderState.AUTHORISED:
            continue
        provider = platform.provider(order.provider)
        part = min(due, order.amount_minor)
        held = await provider.capture(order, part) if part > 0 else await provider.cancel(order)
        due -= part
        await hear(platform, order.id, held)
    async with platform.database.writing() as transaction:
        locked = await transaction.lock_booking(booking_id)
        assert locked is not None
        booking, rest = await _use(platform, transaction, locked, f"{booking_id}:{platform.new_id('')}")
    news.booking(platform, booking)
    for refund in rest:
        await refunds.send(platform, refund)
    return booking


async def message(platform: Platform, provider_name: str, headers: Mapping[str, str], body: bytes) -> None:
    """A provider's webhook. It is written down, then the provider is asked what is true: a message may be old or twice.

    One about a payment that is not known yet came before the answer to our call: it waits for the tick.
    """
    provider = platform.provider(provider_name)
    read = provider.message(headers, body)
    if read is None:
        return
    event_id = read.event_id or platform.new_id("wh")
    async with platform.database.writing() as transaction:
        fresh = await transaction.webhook(provider.name, event_id, read.reference, platform.clock())
    if fresh:
        await _apply(platform, provider.name, event_id, read.reference)


async def tick(platform: Platform) -> None:
    """Once a minute: asks again where an answer was lost, hears early webhooks, settles what is over, sends refunds."""
    before = platform.clock() - _ASK_AGAIN_AFTER
    async with platform.database.reading() as transaction:
        waiting = [
            (p.name, *one)
            for p in (platform.payments, *platform.earlier)
            for one in await transaction.webhooks_waiting(p.name)
        ]
        unsure = await transaction.orders_in(OPEN, before)
        over = await transaction.orders_to_settle()
        back = await transaction.refunds_asked()
    for name, event_id, reference in waiting:
        await _quietly(_apply(platform, name, event_id, reference))
    for order in unsure:
        await _quietly(_ask_again(platform, order))
    for booking_id in dict.fromkeys(order.booking_id for order in over):
        await _quietly(settle(platform, booking_id))
    for refund in back:
        await _quietly(refunds.send(platform, refund))


async def _use(
    platform: Platform, transaction: Transaction, booking: Booking, reference: str
) -> tuple[Booking, Sequence[Refund]]:
    """Uses prepaid money for what is due once the stay is over; what is left over goes back."""
    if booking.state in _STAY_IS_AHEAD:
        return booking, ()
    entries = await transaction.entries(booking.id)
    there = -ledger.balance(entries, f"prepaid:{booking.id}")
    used = min(there, booking.due_minor)
    rest = there - used
    if there > 0:
        await transaction.post(
            ledger.settled(booking.id, used, rest, booking.price.currency, platform.clock(), reference)
        )
    booking = replace(booking, paid_minor=booking.paid_minor + used)
    back = await refunds.reserve(platform, transaction, booking, rest, "not needed") if rest > 0 else ()
    if booking.state in _TO_PAY and booking.due_minor == 0 and used > 0:
        booking = replace(booking, state=moved(booking.state, Move.PAY))
        await receipt_for(platform, transaction, booking, reference)
    if there > 0:
        await transaction.save_booking(booking)
    return booking, back


async def _apply(platform: Platform, provider_name: str, event_id: str, reference: str) -> None:
    async with platform.database.reading() as transaction:
        order = await transaction.order_of_reference(provider_name, reference)
    if order is None:
        return
    with trail.as_actor(f"provider:{provider_name}"):
        await hear(platform, order.id, await platform.provider(provider_name).find(reference))
    async with platform.database.writing() as transaction:
        await transaction.webhook_applied(provider_name, event_id, platform.clock())


async def _ask_again(platform: Platform, order: Order) -> None:
    await start(platform, order)


async def _quietly(work: Awaitable[object]) -> None:
    # One provider's fault must not keep the other orders waiting; it is tried again at the next tick.
    try:
        await work
    except Unavailable as error:
        _log.warning("a payment provider does not answer: %s", error.message)
    except ParkingError as error:
        _log.error("a payment needs a look: %s", error.message)
