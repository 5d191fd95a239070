"""The driver's calls that begin or change a stay: drive-up, another end or plate, credentials, the guarantee."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from parkube.parking.api.access import driver_of
from parkube.parking.api.answers import answer, bearer, platform_of
from parkube.parking.api.driver import views
from parkube.parking.api.driver.shapes import (
    Booking,
    BookingChanged,
    ChangeAsked,
    Credential,
    CredentialAsked,
    GuaranteeAsked,
    StayAsked,
)
from parkube.parking.api.etags import check_match
from parkube.parking.api.problems import StaleCopy
from parkube.parking.domain.bookings import Booking as BookingRecord
from parkube.parking.services import booking as bookings
from parkube.parking.services import changing, gates, guarantee, starting

router = APIRouter()


@router.post("/stays", response_model=Booking, status_code=201)
async def start(
    request: Request, asked: StayAsked, idempotency_key: Annotated[str | None, Header(max_length=128)] = None
) -> Response:
    """A stay without a booking: the gate opens, or it is an error and no stay. Paid at the end, by the tariff now."""
    platform = platform_of(request)
    made = await starting.start(
        platform, asked.garage_id, asked.gate, asked.plate, asked.bay_kind, asked.vehicle.record(), idempotency_key,
        gates.ANSWER_WITHIN_S, driver_of(request), asked.plate_country,
    )  # fmt: skip
    return answer(await views.shown(platform, made), 201, {"Location": f"/api/v1/driver/bookings/{made.id}"})


@router.patch("/bookings/{booking_id}", response_model=BookingChanged)
async def change(request: Request, booking_id: str, asked: ChangeAsked, preview: bool = False) -> Response:
    """Another end or another plate. `preview` says what it would cost and changes nothing.

    With If-Match, only where the booking is as it was looked at.
    """
    platform, held = platform_of(request), None
    if "if-match" in request.headers:
        held = await bookings.find(platform, booking_id, bearer(request))
        check_match(request, await views.shown(platform, held))

    def seen(now: BookingRecord) -> None:
        if held is not None and now != held:
            raise StaleCopy("it has changed since you looked at it: look again")

    made, more = await changing.change(
        platform, booking_id, bearer(request), asked.to, asked.plate, asked.plate_country, preview=preview, seen=seen
    )
    return answer({"booking": await views.shown(platform, made), "difference_cents": more, "preview": preview})


@router.post("/bookings/{booking_id}/credentials", response_model=Credential, status_code=201)
async def add_credential(request: Request, booking_id: str, asked: CredentialAsked) -> Response:
    """A PIN (made here), or a card of the driver's, that opens the booking's gates."""
    made = await changing.add_credential(platform_of(request), booking_id, bearer(request), asked.kind, asked.value)
    return answer({"kind": made.kind, "value": made.value}, 201)


@router.post("/bookings/{booking_id}/guarantee", response_model=Booking)
async def claim(request: Request, booking_id: str, asked: GuaranteeAsked) -> Response:
    """No bay where one was booked: another garage, or the money back."""
    platform = platform_of(request)
    return answer(await views.shown(platform, await guarantee.claim(platform, booking_id, bearer(request), asked.wish)))
