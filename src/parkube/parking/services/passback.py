"""Tells a garage to forget who is in and who is out, of one booking or of all: after a fire alarm, a broken gate."""

from __future__ import annotations

from parkube.parking.domain.errors import Conflict, NotFound
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import trail
from parkube.parking.services.platform import Platform


async def reset(platform: Platform, garage_id: str, booking_id: str | None) -> None:
    """Sends the command. Raises NotFound, Conflict where the garage is not connected."""
    async with platform.database.reading() as transaction:
        garage = await transaction.garage(garage_id)
        booking = await transaction.booking(booking_id) if booking_id is not None else None
    if garage is None:
        raise NotFound(f"there is no garage {garage_id[:80]!r}")
    if booking_id is not None and (booking is None or booking.garage_id != garage_id):
        raise NotFound("there is no such booking at this garage")
    connection = platform.links.get(garage_id)
    if connection is None:
        raise Conflict(f"{garage.name} is not connected: who is in is forgotten there, so it must be", code="offline")
    frame = {
        "type": "command",
        "id": platform.new_id("cm"),
        "kind": "passback_reset",
        "gate": "",
        "jti": booking.jti if booking else "",
        "expires_at": rfc3339(platform.clock()),
    }
    async with platform.database.writing() as transaction:
        await trail.note(platform, transaction, "passback_reset", booking_id or garage_id, garage_id)
    await connection.send(frame)
