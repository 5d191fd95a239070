"""Who may pass by something other than an app or a QR code: credentials kept, and told to their garage.

A garage holds what it needs to decide with its uplink down: each credential with the signed grant that it stands for.
It is told when something changes, and all of it when its link opens: being told twice is nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from parkube.parking.domain.bookings import GRANT_GRACE, Booking, State
from parkube.parking.domain.credentials import PIN, PLATE, Credential, normal, pin_of
from parkube.parking.domain.errors import Conflict, Invalid, Unavailable
from parkube.parking.domain.times import rfc3339
from parkube.parking.services.links import Connection
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

_log = logging.getLogger(__name__)
_OVER = (State.CANCELLED, State.EXPIRED)


async def keep_plate(transaction: Transaction, booking: Booking) -> None:
    """The booking's plate opens its gates."""
    if booking.plate_normal is not None:
        await transaction.put_credential(_credential(booking, PLATE, booking.plate_normal))


async def add(
    platform: Platform, transaction: Transaction, booking: Booking, kind: str, value: str | None
) -> Credential:
    """Another credential of a booking; a PIN is made here. Raises Invalid, Conflict where another booking has it."""
    if booking.state in _OVER:
        raise Conflict(f"the booking is {booking.state.value}", code="wrong_state")
    if kind == PLATE:
        raise Invalid("a plate is changed on the booking itself", [("kind", "pin or rfid")])
    others = {c.value for c in await transaction.credentials(booking.garage_id) if c.kind == kind}
    if kind == PIN:
        if value is not None:
            raise Invalid("a PIN is made by the platform", [("value", "not with a PIN")])
        known = [c for c in await transaction.credentials(booking.garage_id, booking.id) if c.kind == PIN]
        if known:
            return known[0]
        wanted = next(
            pin
            for attempt in range(10_000)
            if (pin := pin_of(platform.signer.secret_of(f"pin:{booking.id}:{attempt}"))) not in others
        )
    else:
        wanted = normal(kind, value or "")
        mine = {c.value for c in await transaction.credentials(booking.garage_id, booking.id) if c.kind == kind}
        if wanted in others - mine:
            raise Conflict("this card opens another booking's gates now", code="credential_in_use")
    made = _credential(booking, kind, wanted)
    await transaction.put_credential(made)
    return made


async def tell(platform: Platform, booking: Booking) -> None:
    """Tells the booking's garage, if it is there, what opens its gates for this booking."""
    connection = platform.links.get(booking.garage_id)
    if connection is None:
        return
    async with platform.database.reading() as transaction:
        known = await transaction.credentials(booking.garage_id, booking.id)
    if known:
        await _send(platform, connection, booking, [(c.kind, c.value) for c in known])


async def tell_all(platform: Platform, connection: Connection) -> None:
    """Tells a garage that came back all that opens its gates."""
    async with platform.database.reading() as transaction:
        by_booking: dict[str, list[tuple[str, str]]] = {}
        for credential in await transaction.credentials(connection.garage_id):
            by_booking.setdefault(credential.booking_id, []).append((credential.kind, credential.value))
        bookings = [b for booking_id in by_booking if (b := await transaction.booking(booking_id)) is not None]
    for booking in bookings:
        await _send(platform, connection, booking, by_booking[booking.id])


async def moved(transaction: Transaction, booking: Booking) -> None:
    """The booking has another end: its credentials last as long."""
    for credential in await transaction.credentials(booking.garage_id, booking.id):
        await transaction.put_credential(replace(credential, until=booking.window.end + GRANT_GRACE))


def _credential(booking: Booking, kind: str, value: str) -> Credential:
    return Credential(booking.id, kind, value, booking.garage_id, booking.window.end + GRANT_GRACE)


async def _send(
    platform: Platform, connection: Connection, booking: Booking, credentials: list[tuple[str, str]]
) -> None:
    frame: dict[str, Any] = {
        "type": "command",
        "id": platform.new_id("cm"),
        "kind": "access",
        "gate": "",
        "grant": booking.grant,
        "jti": booking.jti,
        "credentials": [{"kind": kind, "value": value} for kind, value in credentials],
        "until": rfc3339(booking.window.end + GRANT_GRACE),
        "expires_at": rfc3339(platform.clock()),
    }
    try:
        await connection.send(frame)
    except Unavailable as error:
        _log.warning("garage %s was not told who may pass: %s", connection.garage_id, error.message)
