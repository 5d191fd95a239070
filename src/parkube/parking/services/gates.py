"""Opening a gate for a booking, through the garage's link. The garage decides; its journal says what happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from parkube.parking.domain.bookings import Booking, State, check_open
from parkube.parking.domain.commands import Command, CommandState, answered
from parkube.parking.domain.errors import NotFound, Unavailable
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import trail
from parkube.parking.services.booking import locked
from parkube.parking.services.checks import check_start
from parkube.parking.services.platform import Platform

OPEN_LIVES: Final = timedelta(seconds=10)
ANSWER_WITHIN_S: Final = 5.0

_SENTENCES: Final = {
    "offline": "the garage cannot be reached now: show the QR code to the scanner at the gate",
    "expired": "the command reached the gate too late, try again",
    "relay": "the gate does not move: show the QR code to the scanner, or call for help",
    "journal": "the garage cannot keep its journal and opens nothing",
    "used": "this booking has already passed this gate",
}


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of a command to open. `code` is for programs, `reason` for people."""

    command_id: str
    state: CommandState
    code: str | None = None
    reason: str | None = None


async def open_gate(platform: Platform, booking_id: str, secret: str, gate: str, wait_s: float) -> Opening:
    """Asks the garage to open, and waits for its answer up to wait_s.

    Raises Conflict where the booking may not pass that gate now, Invalid for a gate that is not there.
    """
    now = platform.clock()
    async with platform.database.writing() as transaction:
        booking = await locked(platform, transaction, booking_id, secret)
        garage = await transaction.garage(booking.garage_id)
        if garage is None:
            raise NotFound("the garage is no longer there")
        garage.gate_faults(gate)
        direction = next(known.direction for known in garage.gates if known.name == gate)
        check_open(booking, direction, now)
        if direction in ("entry", "both") and booking.state is State.BOOKED:
            await check_start(transaction, garage, booking, booked=True)
    return await ask(platform, booking, gate, wait_s)


async def ask(platform: Platform, booking: Booking, gate: str, wait_s: float) -> Opening:
    """Sends the command to open, written down first, and waits for the answer up to wait_s."""
    now = platform.clock()
    command = Command(
        id=platform.new_id("cm"),
        garage_id=booking.garage_id,
        booking_id=booking.id,
        kind="open",
        gate=gate,
        expires_at=now + OPEN_LIVES,
        created_at=now,
    )
    async with platform.database.writing() as transaction:
        await transaction.add_command(command)
        await trail.note(platform, transaction, "open", booking.id, booking.garage_id, gate=gate, command=command.id)
    return await _ask(platform, booking, command, wait_s)


async def revoke(platform: Platform, booking: Booking) -> None:
    """Tells the garage, if it is there, that a booking's grant opens nothing any more."""
    connection = platform.links.get(booking.garage_id)
    if connection is None:
        return
    now = platform.clock()
    frame = {
        "type": "command",
        "id": platform.new_id("cm"),
        "kind": "revoke",
        "gate": "",
        "grant": booking.grant,
        "jti": booking.jti,
        "expires_at": rfc3339(now + OPEN_LIVES),
    }
    try:
        await connection.send(frame)
    except Unavailable:
        return


async def _ask(platform: Platform, booking: Booking, command: Command, wait_s: float) -> Opening:
    connection = platform.links.get(command.garage_id)
    if connection is None:
        return await _refused(platform, command, "offline")
    frame = {
        "type": "command",
        "id": command.id,
        "kind": "open",
        "gate": command.gate,
        "grant": booking.grant,
        "jti": booking.jti,
        "booking": booking.id,
        "expires_at": rfc3339(command.expires_at),
    }
    answer = platform.links.expect(command.id)
    try:
        await connection.send(frame)
        async with asyncio.timeout(wait_s):
            outcome = await answer
    except Unavailable:
        return await _refused(platform, command, "offline")
    except TimeoutError:
        return Opening(command.id, CommandState.SENT)
    finally:
        platform.links.forget(command.id)
    if not outcome.ok:
        return await _refused(platform, command, outcome.reason or "refused")
    await _save(platform, command.id, CommandState.OPENED)
    return Opening(command.id, CommandState.OPENED)


async def _refused(platform: Platform, command: Command, code: str) -> Opening:
    await _save(platform, command.id, CommandState.REFUSED, code)
    return Opening(command.id, CommandState.REFUSED, code, _SENTENCES.get(code, f"the garage did not open: {code}"))


async def _save(platform: Platform, command_id: str, state: CommandState, reason: str | None = None) -> None:
    async with platform.database.writing() as transaction:
        command = await transaction.lock_command(command_id)
        if command is not None:
            await transaction.save_command(answered(command, state, reason))
