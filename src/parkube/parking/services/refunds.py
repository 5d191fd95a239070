"""Giving money back, in part or whole: written down with its credit note, then sent through the provider it came by.

give_back: credit + credit note + refund asked, one transaction --> provider (key: the refund's id) --> refund posted
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parkube.parking.domain import ledger
from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.errors import Conflict, Invalid, NotFound, Unavailable
from parkube.parking.domain.payments import PaymentRefused
from parkube.parking.domain.refunds import Refund, RefundMove, RefundState, moved
from parkube.parking.services import books, news, trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.receipting import credit_note_for


async def give_back(
    platform: Platform, booking_id: str, amount_minor: int | None, reason: str, key: str | None
) -> Sequence[Refund]:
    """Gives back part of what was paid, or all of it (None). The same key again is the same refund.

    Raises NotFound, Invalid for nothing or more than was paid, Conflict where nothing was paid or the key was used for
    another booking or amount. A provider that does not answer is no error: the refund is written down and sent later.
    """
    async with platform.database.writing() as transaction:
        booking = await transaction.lock_booking(booking_id)
        if booking is None:
            raise NotFound("there is no such booking")
        known = await _before(transaction, booking, amount_minor, key)
        if known:
            return known
        wanted = booking.paid_minor if amount_minor is None else amount_minor
        if booking.paid_minor == 0:
            raise Conflict("nothing was paid", code="not_paid")
        if not 0 < wanted <= booking.paid_minor:
            raise Invalid(f"from 1 to {booking.paid_minor} can be given back", [("amount_cents", "not that much")])
        entries = await transaction.entries(booking.id)
        vat = books.vat_in(booking, entries, wanted)
        charge = max((entry.id or 0 for entry in entries if entry.kind == "charge"), default=None)
        note = await credit_note_for(platform, transaction, booking, wanted, vat, reason)
        country = await books.country_of(transaction, booking.garage_id)
        entry = ledger.credited(
            booking.id, booking.garage_id, wanted, vat, booking.price.currency, platform.clock(),
            f"credit-note:{note.number}", reason, charge, country,
        )  # fmt: skip
        await books.post(transaction, entry, booking.garage_id)
        booking = replace(
            booking,
            credited_minor=booking.credited_minor + wanted,
            paid_minor=booking.paid_minor - wanted,
        )
        await transaction.save_booking(booking)
        made = await reserve(platform, transaction, booking, wanted, reason, key)
    news.booking(platform, booking)
    return [await send(platform, refund) for refund in made]


async def reserve(
    platform: Platform,
    transaction: Transaction,
    booking: Booking,
    amount_minor: int,
    reason: str,
    key: str | None = None,
) -> Sequence[Refund]:
    """Writes down refunds of what waits for the driver, through the orders it came by, the latest first."""
    made: list[Refund] = []
    rest = amount_minor
    for order in reversed(await transaction.orders(booking.id)):
        part = min(rest, order.left_minor)
        if part <= 0:
            continue
        refund = Refund(
            id=platform.new_id("rf"),
            booking_id=booking.id,
            order_id=order.id,
            amount_minor=part,
            currency=order.currency,
            reason=reason,
            asked_at=platform.clock(),
            idempotency_key=key if not made else None,
        )
        await transaction.save_order(replace(order, refunded_minor=order.refunded_minor + part))
        await transaction.add_refund(refund)
        await trail.note(
            platform, transaction, "refund", booking.id, booking.garage_id, refund=refund.id, amount_minor=part
        )
        made.append(refund)
        rest -= part
    if rest:
        raise Conflict("the provider holds less than that for this booking", code="not_paid")
    return made


async def send(platform: Platform, refund: Refund) -> Refund:
    """Sends a refund that is written down, or again: the provider knows it by its id. Its state afterwards."""
    async with platform.database.reading() as transaction:
        order = next(o for o in await transaction.orders(refund.booking_id) if o.id == refund.order_id)
    try:
        reference = await platform.provider(order.provider).refund(refund.id, order, refund.amount_minor)
        after = moved(refund, RefundMove.SENT, platform.clock(), reference)
    except Unavailable:
        return refund
    except (PaymentRefused, Conflict):
        # The money stays in the booking's refunds account, and the refund among those open: `transferred` ends it.
        after = moved(refund, RefundMove.REFUSE, platform.clock())
    async with platform.database.writing() as transaction:
        now = await transaction.lock_refund(refund.id)
        if now is None or now.state is not RefundState.ASKED:
            return now or refund
        await transaction.save_refund(after)
        if after.state is RefundState.DONE:
            await transaction.post(
                ledger.refunded(
                    refund.booking_id,
                    order.provider,
                    refund.amount_minor,
                    refund.currency,
                    platform.clock(),
                    after.reference or refund.id,
                )
            )
    return after


async def transferred(platform: Platform, refund_id: str, bank_reference: str) -> Refund:
    """What the provider refused to send back was transferred by the bank. Again is nothing.

    Raises NotFound, Conflict for one that the provider has not refused, or for another reference.
    """
    async with platform.database.writing() as transaction:
        refund = await transaction.lock_refund(refund_id)
        if refund is None:
            raise NotFound("there is no such refund")
        if refund.state is RefundState.DONE and refund.reference == bank_reference:
            return refund
        now = platform.clock()
        refund = moved(refund, RefundMove.TRANSFER, now, bank_reference)
        await transaction.save_refund(refund)
        await transaction.post(
            ledger.refunded_by_bank(refund.booking_id, refund.amount_minor, refund.currency, now, refund.id)
        )
        await trail.note(
            platform, transaction, "refund_transferred", refund.booking_id, None, refund=refund.id,
            amount_minor=refund.amount_minor,
        )  # fmt: skip
    return refund


async def _before(
    transaction: Transaction, booking: Booking, amount_minor: int | None, key: str | None
) -> Sequence[Refund]:
    if key is None:
        return ()
    first = await transaction.refund_of_key(key)
    if first is None:
        return ()
    same = [one for one in await transaction.refunds(booking.id) if one.asked_at == first.asked_at]
    if first.booking_id != booking.id or (
        amount_minor is not None and sum(r.amount_minor for r in same) != amount_minor
    ):
        raise Conflict("this key was used for another refund", code="idempotency_key_reused")
    return same
