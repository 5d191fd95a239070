"""A driver's account: a code by mail, then their own bookings, documents, and all that is kept. Guests need none."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import Response

from parkube.parking.api.access import Needs
from parkube.parking.api.answers import answer, bearer, platform_of
from parkube.parking.api.driver import views
from parkube.parking.api.driver.shapes import (
    Account,
    BookingRow,
    Buyer,
    BuyerAsked,
    CodeAsked,
    CodeShown,
    Documents,
    LoggedIn,
    Receipt,
)
from parkube.parking.api.paging import Cursor, PageLimit, after, page
from parkube.parking.api.shapes import Page
from parkube.parking.domain.bookings import Booking
from parkube.parking.domain.errors import NotFound
from parkube.parking.domain.rights import Right
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import logins, paying, people, privacy, receipting
from parkube.parking.services.booking import find
from parkube.parking.services.people import Caller

router = APIRouter()
Mine = Annotated[Caller, Depends(Needs(Right.OWN_ACCOUNT, "any"))]


@router.post("/login", status_code=202, response_class=Response)
async def ask_code(request: Request, asked: CodeAsked) -> Response:
    """Sends a code to the address. 202 whether somebody has it or not."""
    await logins.ask(platform_of(request), asked.email)
    return Response(status_code=202)


@router.post("/login/code", response_model=LoggedIn)
async def log_in(request: Request, shown: CodeShown) -> Response:
    """A code for a token."""
    token, person = await logins.take(platform_of(request), shown.email, shown.code)
    return answer({"token": token, "person_id": person.id})


@router.post("/logout", status_code=204, response_class=Response)
async def log_out(request: Request, me: Mine) -> Response:
    """The token is worth nothing any more."""
    await people.log_out(platform_of(request), bearer(request))
    return Response(status_code=204)


@router.get("/me", response_model=Account)
async def show_me(request: Request, me: Mine) -> Response:
    """Who is logged in."""
    person = await privacy.account(platform_of(request), me)
    return answer({"id": person.id, "email": person.email, "name": person.name, "since": rfc3339(person.created_at)})


@router.get("/me/bookings", response_model=Page[BookingRow])
async def my_bookings(request: Request, me: Mine, limit: PageLimit = 50, cursor: Cursor = None) -> Response:
    """One's own bookings."""
    begin = after(cursor)
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.bookings_of(me.person_id or "", begin, limit + 1)
    return answer(page(rows, limit, lambda row: row.id, booking_row))


@router.get("/me/export")
async def export(request: Request, me: Mine) -> dict[str, Any]:
    """Everything that is kept of one, to take along (GDPR, articles 15 and 20)."""
    return await privacy.export(platform_of(request), me)


@router.delete("/me", status_code=204, response_class=Response)
async def forget_me(request: Request, me: Mine) -> Response:
    """Deletes what is personal (GDPR, article 17). The ledger keeps its entries, without a person."""
    await privacy.forget(platform_of(request), me)
    return Response(status_code=204)


@router.get("/bookings/{booking_id}/documents", response_model=Documents)
async def documents(request: Request, booking_id: str) -> Response:
    """Every receipt and credit note of a booking."""
    platform = platform_of(request)
    found = await paying.documents(platform, booking_id, bearer(request))
    return answer({"items": [views.receipt(platform, one) for one in found]})


@router.get(
    "/bookings/{booking_id}/documents/{number}.pdf",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def document_pdf(request: Request, booking_id: str, number: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> Response:
    """One of them as PDF."""
    platform = platform_of(request)
    found = {one.number: one for one in await paying.documents(platform, booking_id, bearer(request))}
    if number not in found:
        raise NotFound("there is no such document")
    # Only where one is asked for: the library takes a while to load.
    from parkube.parking.adapters.pdf import document_pdf as drawn

    papers = await receipting.papers(platform, found[number])
    return Response(drawn(papers), 200, {"Cache-Control": "private"}, "application/pdf")


@router.post("/bookings/{booking_id}/invoice", response_model=Buyer)
async def invoice(request: Request, booking_id: str, asked: BuyerAsked) -> Response:
    """Makes the latest receipt a VAT invoice to this buyer, under the same number. Once."""
    platform = platform_of(request)
    await find(platform, booking_id, bearer(request))
    made = await receipting.name_buyer(platform, booking_id, asked.name, asked.address, asked.country, asked.vat_number)
    return answer(
        {
            "number": made.receipt_number,
            "name": made.name,
            "address": made.address,
            "country": made.country,
            "vat_number": made.vat_number,
        }
    )


def booking_row(made: Booking) -> dict[str, Any]:
    """shapes.BookingRow"""
    return {
        "id": made.id,
        "garage_id": made.garage_id,
        "state": made.state.value,
        "from": rfc3339(made.window.start),
        "to": rfc3339(made.window.end),
        "charged_cents": made.charged_minor - made.credited_minor,
        "due_cents": made.due_minor,
        "currency": made.price.currency,
        "plate": made.plate_raw,
    }


__all__ = ["Receipt", "booking_row", "router"]
