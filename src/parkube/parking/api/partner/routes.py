"""A partner's routes: what can be booked, and the bookings they made for their own customers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel
from starlette.responses import Response

from parkube.parking.api.access import Needs
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.driver import views
from parkube.parking.api.driver.account import booking_row
from parkube.parking.api.driver.shapes import BookingAsked, BookingRow, Quote, QuoteAsked
from parkube.parking.api.paging import Cursor, PageLimit, after, page
from parkube.parking.api.shapes import Page
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.rights import Right
from parkube.parking.domain.tariffs import Asking
from parkube.parking.services import booking as bookings
from parkube.parking.services import people
from parkube.parking.services.people import Caller

router = APIRouter()
Seller = Annotated[Caller, Depends(Needs(Right.SELL, "any"))]


class GarageRow(BaseModel):
    """A garage that can be booked."""

    id: str
    name: str
    city: str
    latitude: float | None
    longitude: float | None
    currency: str
    capacity: int | None


class Booked(BookingRow):
    """A booking made for a customer; `secret` is what the customer's calls carry, `grant` what the QR code holds."""

    secret: str
    grant: str


@router.get("/garages", response_model=Page[GarageRow])
async def garages(request: Request, me: Seller, limit: PageLimit = 100, cursor: Cursor = None) -> Response:
    """Every garage that can be booked, by id."""
    begin = after(cursor)
    known = sorted((k.garage for k in platform_of(request).index.all() if k.bookable), key=lambda garage: garage.id)
    rows = [garage for garage in known if garage.id > begin][: limit + 1]
    return answer(page(rows, limit, lambda row: row.id, _garage))


@router.post("/quotes", response_model=Quote, status_code=201)
async def quote(request: Request, me: Seller, asked: QuoteAsked) -> Response:
    """A price, pinned for a quarter of an hour."""
    made = await bookings.quote(
        platform_of(request), asked.garage_id, asked.from_, asked.to, Asking(bay_kind=asked.bay_kind),
        asked.vehicle.record(),
    )  # fmt: skip
    return answer(views.quote(made), 201)


@router.post("/bookings", response_model=Booked, status_code=201)
async def book(
    request: Request,
    me: Seller,
    asked: BookingAsked,
    idempotency_key: Annotated[str | None, Header(max_length=90)] = None,
) -> Response:
    """Takes up a quote for a customer."""
    platform = platform_of(request)
    key = f"{(me.person_id or '')[-30:]}:{idempotency_key}" if idempotency_key else None
    made = await bookings.book(platform, asked.quote_id, asked.plate, key)
    await people.adopt(platform, made, me.person_id or "")
    secret = bookings.secret_of(platform.signer, made.id)
    return answer({**booking_row(made), "secret": secret, "grant": made.grant}, 201)


@router.get("/bookings", response_model=Page[BookingRow])
async def mine(request: Request, me: Seller, limit: PageLimit = 50, cursor: Cursor = None) -> Response:
    """The bookings that were made with this key."""
    begin = after(cursor)
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.bookings_of(me.person_id or "", begin, limit + 1)
    return answer(page(rows, limit, lambda row: row.id, booking_row))


def _garage(garage: Garage) -> dict[str, Any]:
    return {
        "id": garage.id,
        "name": garage.name,
        "city": garage.city,
        "latitude": garage.latitude,
        "longitude": garage.longitude,
        "currency": garage.tariff.currency,
        "capacity": garage.capacity,
    }
