"""Logging in by a code that comes by mail: sent seldom, alive for minutes, dead after a few misses.

                 ask                    right
    (nothing) --------> code sent ----------------> token, the code is gone
                         |     ^
                wrong    |     | ask again (a new code; no more than a few an hour)
                         v     |
                       missed --+-- five times --> locked out for a while, whatever is shown

What an answer says is the same whether somebody has that address or not.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Final

from parkube.parking.domain.errors import Denied, TooMany
from parkube.parking.domain.people import Person, email_of
from parkube.parking.services import people, trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports_people import SESSION, LoginCode

CODE_LIVES: Final = timedelta(minutes=10)
COUNTED_FOR: Final = timedelta(hours=1)
MOST_SENT, MOST_MISSED = 5, 5
LOCKED_FOR: Final = timedelta(minutes=15)


async def ask(platform: Platform, email: str) -> None:
    """Sends a code to an address. Raises Invalid, TooMany, Unavailable where no mail can be sent."""
    folded = email_of(email)
    now = platform.clock()
    code = platform.new_id("")[:8]
    async with platform.database.writing() as transaction:
        known = await transaction.lock_login_code(folded)
        if known is not None:
            _check_locked(platform, known)
        counted = known.sent if known and now - known.changed_at < COUNTED_FOR else 0
        if counted >= MOST_SENT:
            raise TooMany("enough codes were sent to this address, wait an hour", 3600)
        failures = known.failures if known and counted else 0
        expires = now + CODE_LIVES
        await transaction.put_login_code(
            LoginCode(folded, people.hash_of(code), expires, counted + 1, failures, None, now)
        )
    text = f"Your code for Parkube is {code}. It is good for {CODE_LIVES.seconds // 60} minutes.\n"
    await platform.mail.send(folded, "Your code for Parkube", text)


async def take(platform: Platform, email: str, code: str) -> tuple[str, Person]:
    """A code for a token. Raises Denied for a wrong or old code, TooMany when locked out."""
    folded = email_of(email)
    now = platform.clock()
    shown = people.hash_of(code.strip().lower().replace("-", "").replace(" ", ""))
    refused: Exception | None = None
    async with platform.database.writing() as transaction:
        known = await transaction.lock_login_code(folded)
        if known is None:
            raise Denied("the code is wrong, or it is over", code="wrong_code")
        _check_locked(platform, known)
        if not hmac.compare_digest(shown, known.code_hash) or now >= known.expires_at:
            failures = known.failures + 1
            locked = now + LOCKED_FOR if failures >= MOST_MISSED else None
            missed = replace(known, failures=0 if locked else failures, locked_until=locked)
            await transaction.put_login_code(replace(missed, code_hash="") if locked else missed)
            if locked:
                await trail.note(platform, transaction, "locked_out", people.hash_of(folded)[:16], None)
            refused = Denied("the code is wrong, or it is over", code="wrong_code")
        else:
            person = await people.person_for(platform, transaction, folded)
            staff = bool(await transaction.memberships(person.id))
            lives = people.STAFF_SESSION_LIVES if staff else people.SESSION_LIVES
            token = await people.new_token(platform, transaction, person.id, SESSION, "mail", lives)
            await transaction.remove_login_code(folded)
            await trail.note(platform, transaction, "login", person.id, None)
    if refused is not None:
        raise refused
    return token, person


def _check_locked(platform: Platform, known: LoginCode) -> None:
    if known.locked_until is not None and platform.clock() < known.locked_until:
        left = int((known.locked_until - platform.clock()).total_seconds()) + 1
        raise TooMany("too many wrong codes: wait a while", left, code="locked_out")
