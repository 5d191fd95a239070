"""What state a garage is in as a whole, from orders that may come late, twice or in any order.

    order: (moment, id, aspect, on or off)          the latest order of an aspect holds

        evacuated  goes before  maintenance  goes before  closed  goes before  full  goes before  open
            |                        |                       |                   |
      all gates up,            nobody in,              nobody in,          nobody in without
      nobody is asked        everybody out           everybody out            a booking

Any state may follow any other: an aspect is switched on or off, and the first of those that are on holds.
Pure. An aspect that was never ordered is off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from parkube.parking.domain.errors import Conflict, Invalid


class Site(StrEnum):
    """The state of a garage."""

    OPEN = "open"
    FULL = "full"
    CLOSED = "closed"
    MAINTENANCE = "maintenance"
    EVACUATED = "evacuated"


_FIRST: Final = (Site.EVACUATED, Site.MAINTENANCE, Site.CLOSED, Site.FULL)
ASPECTS: Final = tuple(site.value for site in _FIRST)


@dataclass(frozen=True, slots=True)
class SiteOrder:
    """Somebody (`by`) switched an aspect on or off. The same id is the same order."""

    garage_id: str
    id: str
    at: datetime
    aspect: str
    value: bool
    by: str


def site(orders: Iterable[SiteOrder]) -> Site:
    """The state after these orders, whatever their order."""
    latest: dict[str, SiteOrder] = {}
    for order in orders:
        known = latest.get(order.aspect)
        if known is None or (order.at, order.id) > (known.at, known.id):
            latest[order.aspect] = order
    on = {aspect for aspect, order in latest.items() if order.value}
    return next((state for state in _FIRST if state.value in on), Site.OPEN)


def check_aspect(aspect: str) -> str:
    """The aspect, if it is one. Raises Invalid."""
    if aspect not in ASPECTS:
        raise Invalid(f"{aspect!r} is not a state of a garage", [("state", "one of " + ", ".join(ASPECTS))])
    return aspect


def check_entry(state: Site, name: str, *, booked: bool) -> None:
    """Whether a stay may begin. Raises Conflict. Nothing here ever keeps anybody inside."""
    if state is Site.EVACUATED:
        raise Conflict(f"{name} is being evacuated", code="evacuated")
    if state is Site.MAINTENANCE:
        raise Conflict(f"{name} is under maintenance", code="maintenance")
    if state is Site.CLOSED:
        raise Conflict(f"{name} is closed", code="closed")
    if state is Site.FULL and not booked:
        raise Conflict(f"{name} is full", code="full")
