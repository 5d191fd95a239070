"""Personal data in the services: what a person may see and take along, and what happens when they want to be forgotten.

How long what is kept is in domain.retention; `obey` does what that table says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from parkube.parking.domain.bookings import HOLDS_A_BAY, State
from parkube.parking.domain.errors import Conflict, NotFound
from parkube.parking.domain.people import Person
from parkube.parking.domain.retention import TABLE, Done
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import trail
from parkube.parking.services.people import Caller
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

_PAGE = 200


async def account(platform: Platform, caller: Caller) -> Person:
    """The person who asks. Raises NotFound once they are forgotten."""
    async with platform.database.reading() as transaction:
        person = await transaction.person(caller.person_id or "")
    if person is None or person.deleted_at is not None:
        raise NotFound("there is no such account")
    return person


async def export(platform: Platform, caller: Caller) -> dict[str, Any]:
    """All that is kept of the person who asks, as JSON can say it."""
    person = await account(platform, caller)
    async with platform.database.reading() as transaction:
        bookings = []
        after = ""
        while found := await transaction.bookings_of(person.id, after, _PAGE):
            bookings += [await _booking(transaction, booking.id) for booking in found]
            after = found[-1].id
        memberships = await transaction.memberships(person.id)
        noted = await transaction.trail_before(None, 1000, None, person.id)
    async with platform.database.writing() as transaction:
        await trail.note(platform, transaction, "export", person.id, None)
    mine = {"id": person.id, "email": person.email, "name": person.name, "since": rfc3339(person.created_at)}
    roles = [{"role": m.role.value, "organisation": m.organisation_id, "garage": m.garage_id} for m in memberships]
    lines = [{"at": rfc3339(one.at), "action": one.action, "by": one.actor} for one in noted]
    rules = [{"what": rule.what, "why": rule.why, "days": rule.days, "then": rule.then} for rule in TABLE]
    return {"person": mine, "roles": roles, "bookings": bookings, "trail": lines, "kept": rules}


async def forget(platform: Platform, caller: Caller) -> None:
    """Deletes what is personal of the person who asks. Raises Conflict while they are inside, booked, or owe something.

    Bookings stay without plate and person, the ledger stays as it is: it names bookings, not people. An invoice that
    went out names its buyer as long as tax law asks for it.
    """
    person = await account(platform, caller)
    async with platform.database.writing() as transaction:
        after = ""
        while found := await transaction.bookings_of(person.id, after, _PAGE):
            for booking in found:
                if booking.state in HOLDS_A_BAY:
                    raise Conflict("there is a booking that is not over: cancel it, or leave first", code="not_over")
                if booking.state is State.EXITED and booking.due_minor > 0:
                    raise Conflict("there is a stay that is not paid", code="not_paid")
            after = found[-1].id
        await transaction.unname_bookings(person.id)
        await transaction.remove_tokens(person.id)
        for membership in await transaction.memberships(person.id):
            await transaction.remove_membership(membership.id)
        if person.email is not None:
            await transaction.remove_login_code(person.email)
        gone = replace(person, email=None, name="", issuer=None, subject=None, deleted_at=platform.clock())
        await transaction.save_person(gone)
        await trail.note(platform, transaction, "forgotten", person.id, None)


async def obey(platform: Platform) -> list[Done]:
    """Does what the table says for all that is over its time. Again is nothing. Returns what was done."""
    done = []
    now = platform.clock()
    for rule in TABLE:
        if rule.days is None:
            continue
        async with platform.database.writing() as transaction:
            count = await transaction.obey_retention(rule, now, platform.signer.secret_of("plates"))
        if count:
            done.append(Done(rule, count))
    return done


async def _booking(transaction: Transaction, booking_id: str) -> dict[str, Any]:
    booking = await transaction.booking(booking_id)
    assert booking is not None
    session = await transaction.session(booking_id)
    return {
        "id": booking.id,
        "garage": booking.garage_id,
        "state": booking.state.value,
        "from": rfc3339(booking.window.start),
        "to": rfc3339(booking.window.end),
        "plate": booking.plate_raw,
        "entered_at": rfc3339(session.entered_at) if session else None,
        "exited_at": rfc3339(session.exited_at) if session and session.exited_at else None,
        "paid_cents": booking.paid_minor,
        "documents": [
            {"number": one.number, "kind": one.kind, "total_cents": one.total_minor, "currency": one.currency}
            for one in await transaction.receipts(booking_id)
        ],
    }
