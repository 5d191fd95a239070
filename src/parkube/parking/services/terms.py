"""An owner's terms for a garage, and the state of the garage as a whole. Read where a stay is decided, written here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from parkube.parking.domain.errors import Conflict, Invalid, NotFound, Unavailable
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.sharing import EVERYTHING, Terms
from parkube.parking.domain.sharing_written import read_terms
from parkube.parking.domain.site import Site, SiteOrder, check_aspect, site
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import news, trail
from parkube.parking.services.links import Connection
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

_log = logging.getLogger(__name__)


async def terms_of(transaction: Transaction, garage: Garage) -> Terms:
    """The terms of a garage; everything, always, where the owner said nothing."""
    written = await transaction.written_sharing(garage.id)
    return EVERYTHING if written is None else read_terms(written, None, garage.time_zone)


async def put_terms(
    platform: Platform, garage_id: str, written: dict[str, Any], seen: Callable[[Terms], None] = lambda _held: None
) -> Terms:
    """Keeps an owner's terms, all of them anew. Bookings that were made stay. Raises NotFound, Invalid.

    `seen` hears of those that hold, under the garage's lock, and may raise.
    """
    async with platform.database.writing() as transaction:
        garage = await transaction.lock_garage(garage_id)
        if garage is None:
            raise NotFound(f"there is no garage {garage_id[:80]!r}")
        seen(await terms_of(transaction, garage))
        terms = read_terms(written, garage.capacity, garage.time_zone)
        await transaction.put_sharing(garage_id, written)
    known = platform.index.get(garage_id)
    if known is not None:
        known.terms = terms
    news.garage(platform, garage_id)
    return terms


def put_all(platform: Platform, shared: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Puts garages' terms into the index."""
    for garage_id, written in shared:
        known = platform.index.get(garage_id)
        if known is not None:
            known.terms = read_terms(written, None, known.garage.time_zone)


async def site_of(transaction: Transaction, garage_id: str) -> Site:
    """The state of a garage as a whole."""
    return site(await transaction.site_orders(garage_id))


async def order(platform: Platform, garage_id: str, aspect: str, on: bool, by: str, key: str | None = None) -> Site:
    """Switches an aspect on or off; the same key again is the same order. The garage hears of it when it is there.

    Raises NotFound, Invalid, Conflict for a key that was used for something else.
    """
    check_aspect(aspect)
    if key is not None and len(key) > 64:
        raise Invalid("the key is too long", [("Idempotency-Key", "at most 64 characters")])
    async with platform.database.writing() as transaction:
        if await transaction.lock_garage(garage_id) is None:
            raise NotFound(f"there is no garage {garage_id[:80]!r}")
        before = max((one.at for one in await transaction.site_orders(garage_id)), default=None)
        # Two orders of one moment still come one after the other.
        at = platform.clock() if before is None else max(platform.clock(), before + timedelta(microseconds=1))
        made = SiteOrder(garage_id, key or platform.new_id("so"), at, aspect, on, by)
        if not await transaction.add_site_order(made):
            known = next(one for one in await transaction.site_orders(garage_id) if one.id == made.id)
            if (known.aspect, known.value) != (aspect, on):
                raise Conflict("this Idempotency-Key was used for another order", code="idempotency_key_reused")
        state = await site_of(transaction, garage_id)
        await trail.note(platform, transaction, "site", garage_id, garage_id, state=aspect, on=on)
    connection = platform.links.get(garage_id)
    if connection is not None:
        await tell(platform, connection, state)
    news.garage(platform, garage_id)
    return state


async def tell(platform: Platform, connection: Connection, state: Site) -> None:
    """Tells a garage its state. One that is away is told when it comes back."""
    frame = {
        "type": "command",
        "id": platform.new_id("cm"),
        "kind": "site",
        "gate": "",
        "state": state.value,
        "expires_at": rfc3339(platform.clock()),
    }
    try:
        await connection.send(frame)
    except Unavailable as error:
        _log.warning("garage %s was not told that it is %s: %s", connection.garage_id, state.value, error.message)
