"""Who may call what, at the edge: a route says which right it needs and where, and no route decides by itself.

The tests read this off every route, and try each with everyone who must not.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Final, Literal

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from parkube.parking.api.answers import bearer, platform_of
from parkube.parking.domain.errors import Denied, Forbidden, Unavailable
from parkube.parking.domain.rights import TABLE, Right
from parkube.parking.services import people, trail
from parkube.parking.services.booking import secret_of
from parkube.parking.services.people import Caller

Place = Literal["platform", "garage", "organisation", "any"]
SCHEME: Final = HTTPBearer(auto_error=False, scheme_name="bearer")
Shown = Annotated[HTTPAuthorizationCredentials | None, Security(SCHEME)]


class Needs:
    """A dependency: the caller has this right on the platform, at the path's garage or organisation, or anywhere.

    Raises Denied for a token that is not known, Forbidden for one that may not.
    """

    def __init__(self, right: Right, place: Place = "platform") -> None:
        self.right, self.place = right, place

    async def __call__(self, request: Request, _shown: Shown = None) -> Caller:
        caller = await caller_of(request)
        trail.acting(caller.actor)
        if self.place == "any":
            if not any(self.right in TABLE[one.role] for one in caller.memberships):
                raise Forbidden("you may not do this here")
            return caller
        garage_id = request.path_params["garage_id"] if self.place == "garage" else None
        organisation_id = request.path_params["organisation_id"] if self.place == "organisation" else None
        await people.check(platform_of(request), caller, self.right, garage_id, organisation_id)
        return caller


async def caller_of(request: Request) -> Caller:
    """Who asks, by their token: the platform's own operator's, or one of a person."""
    known: str | None = request.app.state.operator_token
    token = bearer(request)
    if known and hmac.compare_digest(token.encode(), known.encode()):
        return people.OPERATOR
    if token.startswith(people.TOKEN_PREFIX):
        return await people.caller_of(platform_of(request), token)
    if not known:
        raise Unavailable("this platform has no operator's token, set PARKUBE_OPERATOR_TOKEN", code="no_operator_token")
    raise Denied("this is not a token of anybody here")


async def as_driver(request: Request) -> None:
    """A dependency of drivers' routes: a booking is reached by its secret, or by its driver's own token.

    Afterwards `bearer` is the booking's secret either way; who asks is on the trail.
    """
    booking_id = request.path_params.get("booking_id") or request.query_params.get("booking")
    trail.acting(f"booking:{booking_id}" if booking_id else "guest")
    try:
        token = bearer(request)
    except Denied:
        return
    if not token.startswith(people.TOKEN_PREFIX):
        return
    platform = platform_of(request)
    caller = await people.caller_of(platform, token)
    trail.acting(caller.actor)
    request.state.caller = caller
    if booking_id is None:
        return
    async with platform.database.reading() as transaction:
        booking = await transaction.booking(booking_id)
    if booking is None or booking.person_id is None or booking.person_id != caller.person_id:
        raise Denied("this is not your booking")
    request.state.bearer = secret_of(platform.signer, booking_id)


def driver_of(request: Request) -> str | None:
    """The person who is logged in on a driver's route, if anybody is."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller.person_id if caller else None
