"""Staff log in through an issuer: authorization code with PKCE, state and nonce all derived, so nothing is stored.

Who comes back must have a role here already, under the issuer's subject or an address that the issuer has verified:
an issuer says who somebody is, never what they may.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from parkube.parking.domain.errors import Denied
from parkube.parking.domain.people import Person, email_of
from parkube.parking.services import people, trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.ports_people import SESSION, Identity

LOGIN_LIVES: Final = timedelta(minutes=10)


async def begin(platform: Platform) -> tuple[str, str]:
    """Where to send the browser, and the state it must come back with. Raises Unavailable without an issuer."""
    state = f"{int(platform.clock().timestamp())}.{platform.new_id('')}"
    return await platform.issuer.begin(state, *_secrets(platform, state)), state


async def finish(platform: Platform, code: str, state: str) -> tuple[str, Person]:
    """A code from the issuer for a token of ours. Raises Denied, Unavailable."""
    began, _, _ = state.partition(".")
    now = platform.clock()
    if not began.isascii() or not began.isdigit() or not 0 <= now.timestamp() - int(began[:12]) <= LOGIN_LIVES.seconds:
        raise Denied("this login took too long: begin again", code="login_expired")
    identity = await platform.issuer.finish(code, *_secrets(platform, state))
    async with platform.database.writing() as transaction:
        person = await _person_of(transaction, identity)
        if person is None or not await transaction.memberships(person.id):
            raise Denied("you have no role here: ask whoever runs the garages", code="no_role")
        if person.subject is None:
            person = replace(person, issuer=identity.issuer, subject=identity.subject)
            await transaction.save_person(person)
        lives = people.STAFF_SESSION_LIVES
        token = await people.new_token(platform, transaction, person.id, SESSION, identity.issuer[:80], lives)
        await trail.note(platform, transaction, "login", person.id, None, issuer=identity.issuer)
    return token, person


async def _person_of(transaction: Transaction, identity: Identity) -> Person | None:
    known = await transaction.person_of_subject(identity.issuer, identity.subject)
    if known is not None or identity.email is None or not identity.email_verified:
        return known
    by_mail = await transaction.person_of_email(email_of(identity.email))
    # Somebody who has come from the issuer before is that subject, whoever has the address now.
    return by_mail if by_mail is not None and by_mail.subject is None else None


def _secrets(platform: Platform, state: str) -> tuple[str, str]:
    return platform.signer.secret_of(f"oidc nonce {state}"), platform.signer.secret_of(f"oidc verifier {state}")
