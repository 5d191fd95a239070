"""The synthetic gate cycle, from the platform's side: "this gate opens" is proved, not claimed.

    platform --> link --> grant --> scanner --> journal --> relay --> readback --> event
    a test grant  sent     checked, driven and journalled at the garage            its journal line is back here

The first step that fails is named. It is never a visit: a test grant opens no booking, and its events count nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Final

from parkube.parking.domain import grants
from parkube.parking.domain.commands import Command
from parkube.parking.domain.errors import NotFound, ParkingError, Unavailable
from parkube.parking.domain.garages import Verification
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import news
from parkube.parking.services.links import Connection, Outcome
from parkube.parking.services.platform import Platform

TEST_GATE: Final = "test"
WITHIN_S: Final = 10.0
STEPS: Final = ("platform", "link", "grant", "scanner", "journal", "relay", "readback", "event")
AWAY: Final = ("platform", "link")


async def verify(
    platform: Platform, garage_id: str, within_s: float = WITHIN_S, measure: Callable[[], float] = monotonic
) -> Verification:
    """Runs a cycle through the garage. Always answers, with the step that failed. Raises NotFound."""
    began = measure()
    at = platform.clock()
    known = platform.index.get(garage_id)
    if known is None:
        raise NotFound(f"there is no garage {garage_id!r}")
    connection = platform.links.get(garage_id)
    if connection is None:
        outcome = Outcome(False, "link", "the garage is not connected")
    else:
        try:
            outcome = await _cycle(platform, connection, within_s)
        except ParkingError as error:
            outcome = Outcome(False, "platform", error.message)
    took = round((measure() - began) * 1000)
    step = None if outcome.ok else outcome.step or "relay"
    reason = None if outcome.ok else outcome.reason
    verification = Verification(garage_id, at, outcome.ok, step, reason, took)
    async with platform.database.writing() as transaction:
        await transaction.add_verification(verification)
    known.verified = value_of(verification)
    news.garage(platform, garage_id)
    return verification


def value_of(verification: Verification) -> str:
    """True, False, or Unknown where the garage was not reached."""
    if verification.ok:
        return "True"
    return "Unknown" if verification.step in AWAY else "False"


async def _cycle(platform: Platform, connection: Connection, within_s: float) -> Outcome:
    now = platform.clock()
    expires_at = now + timedelta(seconds=within_s)
    command = Command(platform.new_id("cm"), connection.garage_id, None, "verify", TEST_GATE, expires_at, now)
    grant = grants.Grant(
        jti=platform.new_id("gr"),
        kid=platform.signer.kid,
        garage=connection.garage_id,
        gates=(TEST_GATE,),
        nbf=int(now.timestamp()) - 300,
        exp=int(now.timestamp()) + 300,
        test=True,
    )
    frame = {
        "type": "command",
        "id": command.id,
        "kind": "verify",
        "gate": TEST_GATE,
        "grant": grants.encode(grant, platform.signer.sign),
        "expires_at": rfc3339(expires_at),
    }
    answer = platform.links.expect(command.id)
    step = "link"
    try:
        async with asyncio.timeout(within_s):
            await connection.send(frame)
            outcome = await answer
            if not outcome.ok:
                return outcome
            step = "event"
            await platform.links.until_event_stored(command.id)
    except TimeoutError:
        return Outcome(False, step, f"no answer within {within_s:g} s")
    except Unavailable as error:
        return Outcome(False, "link", error.message)
    finally:
        platform.links.forget(command.id)
    return outcome
