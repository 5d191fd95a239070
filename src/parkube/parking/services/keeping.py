"""What goes on by itself: the index filled at start, bookings nobody came for, overstays, lost exits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from parkube.parking.domain import changes
from parkube.parking.domain.bookings import OVERSTAY_AHEAD, Move, State, moved
from parkube.parking.services import forecasting, journal, news, orders, terms, watching
from parkube.parking.services.booking import give_up
from parkube.parking.services.importing import GARAGES_CHANGED
from parkube.parking.services.platform import Platform
from parkube.parking.services.verification import value_of

NO_SHOW_AFTER = timedelta(minutes=30)
"""How long after its end an unused booking expires: its entry may still be on the way from a garage that was away."""


async def load(platform: Platform) -> int:
    """Fills the index from the database. Returns how many garages there are."""
    now = platform.clock()
    async with platform.database.reading() as transaction:
        # The mark comes first: garages taken in while the rest is read are then noticed by the next refresh.
        mark = await transaction.setting(GARAGES_CHANGED)
        garages = await transaction.garages()
        holding = await transaction.holding()
        checks = await transaction.latest_verifications()
        shared = await transaction.all_sharing()
    for garage in garages:
        platform.index.put(garage)
    terms.put_all(platform, shared)
    platform.garages_mark = mark
    for booking in holding:
        platform.index.hold(booking, now)
    for check in checks:
        known = platform.index.get(check.garage_id)
        if known is not None:
            known.verified = value_of(check)
    return len(garages)


async def refresh(platform: Platform) -> bool:
    """Fills the index again where another process took garages in. Returns whether it did."""
    async with platform.database.reading() as transaction:
        mark = await transaction.setting(GARAGES_CHANGED)
    if mark == platform.garages_mark:
        return False
    await load(platform)
    return True


async def tick(platform: Platform) -> None:
    """Once a minute. Again is nothing."""
    await journal.soft_close(platform)
    await expire(platform)
    await watching.watch(platform)
    await forecasting.sample(platform)
    await orders.tick(platform)
    await forget(platform)
    now = platform.clock()
    async with platform.database.reading() as transaction:
        for booking in await transaction.overstaying(now + OVERSTAY_AHEAD):
            platform.index.hold(booking, now)


async def forget(platform: Platform) -> int:
    """Deletes credentials, plates among them, whose grants have ended. How many."""
    async with platform.database.writing() as transaction:
        return await transaction.forget_credentials(platform.clock())


async def expire(platform: Platform) -> int:
    """Gives back the bays of bookings nobody came for. Returns how many."""
    now = platform.clock()
    expired = []
    async with platform.database.writing() as transaction:
        for found in await transaction.unused_bookings(now - NO_SHOW_AFTER):
            booking = await transaction.lock_booking(found.id)
            if booking is None or booking.state is not State.BOOKED:
                continue
            held = changes.terms_of(await transaction.changes(booking.id))
            booking = replace(booking, state=moved(booking.state, Move.EXPIRE))
            fee = changes.no_show_fee(booking, held)
            booking = await give_up(transaction, booking, fee, now, changes.NO_SHOW)
            expired.append(booking)
    for booking in expired:
        platform.index.release(booking.id)
        news.booking(platform, booking)
    return len(expired)
