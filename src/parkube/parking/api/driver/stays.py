"""From a quote to a receipt: the driver's calls around one stay. A booking's calls carry its secret."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from parkube.parking.api import events
from parkube.parking.api.access import driver_of
from parkube.parking.api.answers import answer, bearer, platform_of
from parkube.parking.api.driver import views
from parkube.parking.api.driver.shapes import (
    Booking,
    BookingAsked,
    OpenAnswer,
    OpenAsked,
    Order,
    PayAsked,
    Quote,
    QuoteAsked,
    Receipt,
)
from parkube.parking.domain.payments import Order as OrderRecord
from parkube.parking.domain.tariffs import Asking
from parkube.parking.services import booking as bookings
from parkube.parking.services import gates, paying, people
from parkube.parking.services.live import BOOKING, GARAGE, News

router = APIRouter()


@router.post("/quotes", response_model=Quote, status_code=201)
async def make_quote(request: Request, asked: QuoteAsked) -> Response:
    """A price, pinned for a quarter of an hour."""
    made = await bookings.quote(
        platform_of(request), asked.garage_id, asked.from_, asked.to, Asking(bay_kind=asked.bay_kind),
        asked.vehicle.record(),
    )  # fmt: skip
    return answer(views.quote(made), 201)


@router.post("/bookings", response_model=Booking, status_code=201)
async def book(
    request: Request,
    asked: BookingAsked,
    idempotency_key: Annotated[str | None, Header(max_length=128)] = None,
) -> Response:
    """Takes up a quote. Again with the same Idempotency-Key is the same booking."""
    platform = platform_of(request)
    made = await bookings.book(platform, asked.quote_id, asked.plate, idempotency_key, asked.plate_country)
    driver = driver_of(request)
    if driver is not None:
        await people.adopt(platform, made, driver)
    return answer(await views.shown(platform, made), 201, {"Location": f"/api/v1/driver/bookings/{made.id}"})


@router.get("/bookings/{booking_id}", response_model=Booking)
async def show(request: Request, booking_id: str) -> Response:
    """The booking as it is now."""
    platform = platform_of(request)
    return answer(await views.shown(platform, await bookings.find(platform, booking_id, bearer(request))))


@router.delete("/bookings/{booking_id}", response_model=Booking)
async def cancel(request: Request, booking_id: str) -> Response:
    """Gives the booking up before the stay."""
    platform = platform_of(request)
    made = await bookings.cancel(platform, booking_id, bearer(request))
    await gates.revoke(platform, made)
    return answer(await views.shown(platform, made))


@router.post("/bookings/{booking_id}/open", response_model=OpenAnswer)
async def open_gate(request: Request, booking_id: str, asked: OpenAsked) -> Response:
    """Opens a gate: `sent` when the garage has not answered in time, `refused` with the reason."""
    opening = await gates.open_gate(
        platform_of(request), booking_id, bearer(request), asked.gate, gates.ANSWER_WITHIN_S
    )
    return answer(
        {"command_id": opening.command_id, "state": opening.state, "reason": opening.reason, "code": opening.code}
    )


@router.post("/bookings/{booking_id}/pay", response_model=Receipt, responses={202: {"model": Order}})
async def pay(request: Request, booking_id: str, asked: PayAsked | None = None) -> Response:
    """Pays what is due after the stay. Paid already is the same receipt; 202 where the driver confirms it at `url`."""
    platform, how = platform_of(request), asked or PayAsked()
    made = await paying.pay(platform, booking_id, bearer(request), how.method, how.return_url)
    if isinstance(made, OrderRecord):
        return answer(views.order(made), 202)
    return answer(views.receipt(platform, made))


@router.post("/bookings/{booking_id}/prepay", response_model=Order)
async def prepay(request: Request, booking_id: str, asked: PayAsked | None = None) -> Response:
    """Holds the price before the stay, or takes it where the method cannot hold; what is not needed goes back."""
    how = asked or PayAsked()
    made = await paying.pay_ahead(platform_of(request), booking_id, bearer(request), how.method, how.return_url)
    return answer(views.order(made))


@router.get("/bookings/{booking_id}/receipt", response_model=Receipt)
async def receipt(request: Request, booking_id: str) -> Response:
    """The receipt."""
    platform = platform_of(request)
    return answer(views.receipt(platform, await paying.receipt(platform, booking_id, bearer(request))))


@router.get("/events", response_class=Response, responses=events.DESCRIBED)
async def news(request: Request, booking: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """Server-sent events: `garage` {id, free_bays, verified, online}, and `booking` for the one asked for."""
    platform = platform_of(request)
    first: list[bytes] = []
    secret = ""
    if booking is not None:
        secret = bearer(request)
        bookings.check_secret(platform.signer, booking, secret)
    subscription = platform.live.subscribe(GARAGE, BOOKING, booking=booking)
    try:
        if booking is not None:
            shown = await views.shown(platform, await bookings.find(platform, booking, secret))
            first.append(events.event("booking", shown))
    except BaseException:
        platform.live.unsubscribe(subscription)
        raise

    async def tell(one: News) -> tuple[str, Any] | None:
        if one.topic == GARAGE:
            return "garage", {"id": one.subject, **one.data}
        return "booking", await views.shown(platform, await bookings.find(platform, one.subject, secret))

    return events.stream(platform.live, subscription, first, tell)
