"""Whose booking an overstay endangers: who booked last is the first without a bay. Pure.

staying too long ---- taken as long as it lasts, and a while longer ----> more holds than bays
                                                                                |
booked first <--- keeps the bay ---- in the order of booking ---- is at risk ---+---> booked last
"""

from __future__ import annotations

from collections.abc import Sequence

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.occupancy import most_at_once
from parkube.parking.domain.sharing import Hold
from parkube.parking.domain.times import Window


def without_a_bay(waiting: Sequence[Booking], holds: Sequence[Hold], bays: int, window: Window) -> list[Booking]:
    """Of those waiting (the first made first), who would find no bay in this window.

    holds: every hold of such bays that touches the window, those of the waiting among them.
    """
    start, end = window.start.timestamp(), window.end.timestamp()
    spans = [(max(hold.start_s, start), min(hold.end_s, end)) for hold in holds]
    endangered: list[Booking] = []
    for booking in reversed(waiting):
        if most_at_once(spans) <= bays:
            break
        mine = (max(booking.window.start.timestamp(), start), min(booking.window.end.timestamp(), end))
        without = list(spans)
        if mine in without:
            without.remove(mine)
        if most_at_once(without) < most_at_once(spans):
            endangered.append(booking)
            spans = without
    return endangered
