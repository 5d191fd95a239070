"""Notices to drivers: the booked time ends soon, it is over, a bay may be missing. Once each, as changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from parkube.parking.domain import changes
from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.changes import Change
from parkube.parking.domain.overstays import without_a_bay
from parkube.parking.domain.sharing import bays_of
from parkube.parking.domain.times import Window
from parkube.parking.services import news
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.terms import terms_of

NOTICE_BEFORE_END: Final = timedelta(minutes=15)
LOOK_AHEAD: Final = timedelta(minutes=30)


async def watch(platform: Platform) -> list[Booking]:
    """Looks at stays that end or are over, and at the bookings that wait for their bays. Whom it had news for."""
    now = platform.clock()
    told: list[Booking] = []
    async with platform.database.writing() as transaction:
        staying = await transaction.overstaying(now + NOTICE_BEFORE_END)
        for booking in staying:
            over = now >= booking.window.end + timedelta(minutes=booking.tariff.exit_grace_minutes)
            kind = changes.OVERSTAYED if over else changes.ENDS_SOON
            if not booking.drive_up and await _told(transaction, booking, kind, now):
                told.append(booking)
        late = {b.garage_id for b in staying if b.window.end <= now}
        for garage_id in sorted(late):
            for booking in await _at_risk(transaction, garage_id, now):
                if await _told(transaction, booking, changes.AT_RISK, now):
                    told.append(booking)
    for booking in told:
        news.booking(platform, booking)
    return told


async def _told(transaction: Transaction, booking: Booking, kind: str, now: datetime) -> bool:
    # Another end of the booking is another notice.
    key = f"{kind}:{booking.window.end.timestamp():.0f}"
    return await transaction.add_change(Change(booking.id, key, now, kind))


async def _at_risk(transaction: Transaction, garage_id: str, now: datetime) -> list[Booking]:
    garage = await transaction.garage(garage_id)
    if garage is None:
        return []
    terms = await terms_of(transaction, garage)
    soon = Window(now, now + LOOK_AHEAD)
    waiting = await transaction.starting(garage_id, now, soon.end)
    holds = await transaction.holds(garage_id, soon, now)
    found: list[Booking] = []
    for kind in sorted({booking.bay_kind for booking in waiting}):
        held = [hold for hold in holds if hold.kind == kind]
        mine = [booking for booking in waiting if booking.bay_kind == kind]
        found += without_a_bay(mine, held, bays_of(terms, garage.capacity or 0, kind), soon)
    return found
