"""Who asks, and what they may: tokens, memberships, accounts. Logging in by mail is in logins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.errors import Conflict, Denied, Forbidden, Invalid, NotFound
from parkube.parking.domain.people import OWNER, PARTNER, Person, email_of
from parkube.parking.domain.rights import EVERYWHERE, Membership, Right, Role, may
from parkube.parking.services import trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction
from parkube.parking.services.ports_people import API_KEY, SESSION, AccessToken

SESSION_LIVES: Final = timedelta(days=30)
STAFF_SESSION_LIVES: Final = timedelta(hours=12)
KEY_LIVES: Final = timedelta(days=400)
TOKEN_PREFIX: Final = "at_"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `actor` is how the audit trail names them."""

    actor: str
    memberships: tuple[Membership, ...]
    person_id: str | None = None

    def may(self, right: Right, garage_id: str | None = None, organisation_id: str | None = None) -> bool:
        return may(self.memberships, right, garage_id, organisation_id)


OPERATOR: Final = Caller("operator", (Membership(Role.OPERATOR),))
"""Whoever shows the platform's own operator's token: the program in the cluster."""


async def caller_of(platform: Platform, token: str) -> Caller:
    """Who shows this token. Raises Denied for none that is known, or one that is over."""
    async with platform.database.reading() as transaction:
        known = await transaction.token(hash_of(token))
        if known is None or known.expires_at <= platform.clock():
            raise Denied("this token is not known, or it is over: log in again")
        memberships = await transaction.memberships(known.person_id)
    own = Membership(Role.DRIVER, person_id=known.person_id) if known.kind == SESSION else None
    everything = (*memberships, own) if own else tuple(memberships)
    return Caller(f"person:{known.person_id}", everything, known.person_id)


async def check(
    platform: Platform, caller: Caller, right: Right, garage_id: str | None = None, organisation_id: str | None = None
) -> None:
    """Raises Forbidden unless the caller has the right at that place; whether the place is there, it does not tell."""
    if garage_id is not None:
        async with platform.database.reading() as transaction:
            terms = await transaction.terms(garage_id)
        organisation_id = terms.organisation_id if terms else None
    if not caller.may(right, garage_id, organisation_id):
        raise Forbidden("you may not do this here")


async def new_token(
    platform: Platform, transaction: Transaction, person_id: str, kind: str, name: str, lives: timedelta
) -> str:
    """A token for a person, shown once and kept as a hash."""
    token = TOKEN_PREFIX + platform.new_id("") + platform.new_id("")
    now = platform.clock()
    await transaction.add_token(AccessToken(hash_of(token), person_id, kind, name, now, now + lives))
    return token


async def log_out(platform: Platform, token: str) -> None:
    """The token is worth nothing any more. Again is nothing."""
    async with platform.database.writing() as transaction:
        await transaction.remove_token(hash_of(token))


async def person_for(platform: Platform, transaction: Transaction, email: str, name: str = "") -> Person:
    """The person with that address, known or new."""
    folded = email_of(email)
    known = await transaction.person_of_email(folded)
    if known is not None:
        return known
    made = Person(platform.new_id("pe"), folded, name, platform.clock())
    await transaction.add_person(made)
    return made


async def give_role(
    platform: Platform, email: str, role: Role, organisation_id: str | None, garage_id: str | None, name: str = ""
) -> Membership:
    """Gives a person a role at a place. The same again is the same membership. Raises NotFound, Invalid, Conflict."""
    if organisation_id is None and garage_id is None and role not in EVERYWHERE:
        raise Invalid(
            f"{role} is a role somewhere: name an organisation or a garage", [("organisation_id", "required")]
        )
    if organisation_id is not None and garage_id is not None:
        raise Invalid("a role holds in an organisation or in a garage", [("garage_id", "not both")])
    if role is Role.DRIVER:
        raise Invalid("a driver needs no membership", [("role", "not driver")])
    async with platform.database.writing() as transaction:
        if garage_id is not None and await transaction.garage(garage_id) is None:
            raise NotFound(f"there is no garage {garage_id!r}")
        if organisation_id is not None:
            organisation = await transaction.organisation(organisation_id)
            if organisation is None:
                raise NotFound(f"there is no organisation {organisation_id!r}")
            wanted = {Role.PARTNER: PARTNER, Role.OWNER: OWNER, Role.OWNER_STAFF: OWNER}.get(role, organisation.kind)
            if organisation.kind != wanted:
                raise Conflict(f"{organisation.name} is no {wanted}", code="wrong_kind")
        person = await person_for(platform, transaction, email, name)
        for known in await transaction.memberships(person.id):
            if (known.role, known.organisation_id, known.garage_id) == (role, organisation_id, garage_id):
                return known
        made = Membership(role, organisation_id, garage_id, platform.new_id("mb"), person.id)
        await transaction.add_membership(made, platform.clock())
        await trail.note(
            platform, transaction, "role", person.id, garage_id, role=role.value, organisation=organisation_id
        )
    return made


async def take_role(platform: Platform, organisation_id: str, membership_id: str) -> None:
    """Takes a membership of an organisation back. Raises NotFound for one of another."""
    async with platform.database.writing() as transaction:
        garages = await transaction.garages_of(organisation_id)
        known = {one.id: one for one in await transaction.memberships_in(organisation_id, garages)}
        if membership_id not in known:
            raise NotFound("there is no such member")
        await transaction.remove_membership(membership_id)
        person_id = known[membership_id].person_id
        await trail.note(platform, transaction, "role_taken", person_id, None, organisation=organisation_id)


async def staff_of(platform: Platform, organisation_id: str) -> Sequence[tuple[Membership, Person]]:
    """Who has a role in an organisation or one of its garages."""
    found = []
    async with platform.database.reading() as transaction:
        garages = await transaction.garages_of(organisation_id)
        for membership in await transaction.memberships_in(organisation_id, garages):
            person = await transaction.person(membership.person_id)
            if person is not None:
                found.append((membership, person))
    return found


async def new_key(platform: Platform, organisation_id: str, name: str) -> str:
    """An API key for a partner, shown once. Raises NotFound."""
    async with platform.database.writing() as transaction:
        organisation = await transaction.organisation(organisation_id)
        if organisation is None or organisation.kind != PARTNER:
            raise NotFound(f"there is no partner {organisation_id!r}")
        person = Person(platform.new_id("pe"), None, f"{organisation.name}: {name}", platform.clock())
        await transaction.add_person(person)
        membership = Membership(Role.PARTNER, organisation_id, None, platform.new_id("mb"), person.id)
        await transaction.add_membership(membership, platform.clock())
        await trail.note(platform, transaction, "api_key", person.id, None, organisation=organisation_id)
        return await new_token(platform, transaction, person.id, API_KEY, name, KEY_LIVES)


async def adopt(platform: Platform, booking: Booking, person_id: str) -> None:
    """A booking made by somebody who is logged in is theirs."""
    async with platform.database.writing() as transaction:
        await transaction.adopt_booking(booking.id, person_id)


def hash_of(token: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()
