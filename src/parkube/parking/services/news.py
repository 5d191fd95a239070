"""Tells listeners what changed, after it is in the database. What each kind of news carries is written here only."""

from __future__ import annotations

from datetime import timedelta

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.times import Window
from parkube.parking.services.live import BOOKING, FLEET, GARAGE
from parkube.parking.services.platform import Platform

SHORTLY = timedelta(hours=1)


def booking(platform: Platform, changed: Booking) -> None:
    """To the booking's driver."""
    platform.live.publish(BOOKING, changed.id, state=changed.state.value, due_cents=changed.due_minor)


def garage(platform: Platform, garage_id: str) -> None:
    """To everyone who looks at a map, and to the fleet's operators."""
    known = platform.index.get(garage_id)
    if known is None:
        return
    now = platform.clock()
    platform.live.publish(
        GARAGE,
        garage_id,
        free_bays=platform.index.free(known, Window(now, now + SHORTLY)),
        verified=known.verified == "True",
        online=platform.links.get(garage_id) is not None,
    )
    fleet(platform, garage_id)


def fleet(platform: Platform, garage_id: str) -> None:
    """To the fleet's operators alone."""
    platform.live.publish(FLEET, garage_id)
