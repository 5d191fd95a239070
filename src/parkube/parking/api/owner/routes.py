"""The owner's routes. Each says the right it needs, in the path's garage or organisation."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Request
from starlette.responses import Response

from parkube.parking.api.access import Needs
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.driver.account import booking_row
from parkube.parking.api.driver.shapes import BookingRow
from parkube.parking.api.owner import views
from parkube.parking.api.owner.shapes import (
    DiscountAsked,
    Due,
    LedgerRow,
    OwnGarages,
    PayoutRow,
    RefundAsked,
    RefundRows,
    Staff,
    StaffAsked,
    StaffRow,
    TrailRow,
)
from parkube.parking.api.paging import Cursor, PageLimit, after, after_number, page
from parkube.parking.api.shapes import Page
from parkube.parking.domain.errors import Forbidden, NotFound
from parkube.parking.domain.payouts import Payout
from parkube.parking.domain.rights import Right, Role
from parkube.parking.services import books, owning, people, refunds
from parkube.parking.services.people import Caller

router = APIRouter()
Id = Annotated[str, Path(min_length=1, max_length=64)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


def needs(right: Right, place: str) -> Any:
    """The dependency, as routes take it."""
    return Depends(Needs(right, place))  # type: ignore[arg-type]


@router.get("/garages", response_model=OwnGarages)
async def garages(request: Request, me: Annotated[Caller, needs(Right.SEE_GARAGE, "any")]) -> Response:
    """The garages that one's roles reach."""
    found = await owning.garages_of(platform_of(request), me)
    return answer(
        {
            "items": [
                {
                    "id": garage.id,
                    "name": garage.name,
                    "city": garage.city,
                    "capacity": garage.capacity,
                    "organisation_id": terms.organisation_id if terms else None,
                    "commission_bp": terms.commission_bp if terms else None,
                }
                for garage, terms in found
            ]
        }
    )


@router.get("/garages/{garage_id}/bookings", response_model=Page[BookingRow])
async def bookings(
    request: Request,
    garage_id: Id,
    me: Annotated[Caller, needs(Right.SEE_GARAGE, "garage")],
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Response:
    """A garage's bookings. Plates are there for whom may read them, and reading them is on the trail."""
    rows, plates = await owning.bookings(platform_of(request), me, garage_id, after(cursor), limit + 1)
    shown = page(rows, limit, lambda row: row.id, booking_row)
    if not plates:
        for row in shown["items"]:
            row["plate"] = None
    return answer(shown)


@router.get("/garages/{garage_id}/ledger", response_model=Page[LedgerRow])
async def ledger(
    request: Request,
    garage_id: Id,
    me: Annotated[Caller, needs(Right.SEE_MONEY, "garage")],
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Response:
    """The entries that touch the garage's account, in their order."""
    begin = after_number(cursor) or 0
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.entries_after(begin, limit + 1, [garage_id])
    return answer(page(rows, limit, lambda row: row.id, lambda row: views.entry(owning.of_garage(row, garage_id))))


@router.get("/garages/{garage_id}/trail", response_model=Page[TrailRow])
async def trail(
    request: Request,
    garage_id: Id,
    me: Annotated[Caller, needs(Right.SEE_TRAIL, "garage")],
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Response:
    """What was done in a garage and by whom, the latest first."""
    begin = after_number(cursor)
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.trail_before(begin, limit + 1, [garage_id], None)
    return answer(page(rows, limit, lambda row: row.id, views.noted))


@router.post("/garages/{garage_id}/bookings/{booking_id}/refunds", response_model=RefundRows, status_code=201)
async def give_back(
    request: Request,
    garage_id: Id,
    booking_id: Id,
    asked: RefundAsked,
    me: Annotated[Caller, needs(Right.GIVE_BACK, "garage")],
    idempotency_key: Annotated[str | None, Header(max_length=128)] = None,
) -> Response:
    """Gives money back, with a credit note."""
    platform = platform_of(request)
    await owning.check_booking(platform, garage_id, booking_id)
    key = f"{me.actor}:{idempotency_key}"[:128] if idempotency_key else None
    made = await refunds.give_back(platform, booking_id, asked.amount_cents, asked.reason, key)
    return answer({"items": [views.refund(one) for one in made]}, 201)


@router.post("/garages/{garage_id}/bookings/{booking_id}/discounts", response_model=Due, status_code=201)
async def discount(
    request: Request,
    garage_id: Id,
    booking_id: Id,
    asked: DiscountAsked,
    me: Annotated[Caller, needs(Right.GIVE_DISCOUNT, "garage")],
) -> Response:
    """Takes something off what is due; the garage bears it."""
    platform = platform_of(request)
    await owning.check_booking(platform, garage_id, booking_id)
    reference = f"{booking_id}:{asked.reference}"
    made = await books.discount(platform, booking_id, asked.amount_cents, asked.text, reference)
    return answer({"booking_id": made.id, "due_cents": made.due_minor, "currency": made.price.currency}, 201)


@router.get("/organisations/{organisation_id}/payouts", response_model=Page[PayoutRow])
async def payouts(
    request: Request,
    organisation_id: Id,
    me: Annotated[Caller, needs(Right.SEE_MONEY, "organisation")],
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Response:
    """Every payout with its statement, by number."""
    begin = after_number(cursor) or 0
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.payouts(organisation_id, begin, limit + 1)
    return answer(page(rows, limit, lambda row: row.number, views.payout))


@router.get("/organisations/{organisation_id}/payouts/{number}", response_model=PayoutRow)
async def payout(
    request: Request, organisation_id: Id, number: Number, me: Annotated[Caller, needs(Right.SEE_MONEY, "organisation")]
) -> Response:
    """One payout with its statement."""
    return answer(views.payout(await _payout(request, organisation_id, number)))


@router.get(
    "/organisations/{organisation_id}/payouts/{number}/statement.pdf",
    response_class=Response,
    responses={200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def statement(
    request: Request, organisation_id: Id, number: Number, me: Annotated[Caller, needs(Right.SEE_MONEY, "organisation")]
) -> Response:
    """A payout's statement as PDF."""
    made = await _payout(request, organisation_id, number)
    async with platform_of(request).database.reading() as transaction:
        owner = await transaction.organisation(organisation_id)
    assert owner is not None
    from parkube.parking.adapters.pdf import statement_pdf

    return Response(statement_pdf(made, owner), 200, {"Cache-Control": "private"}, "application/pdf")


@router.get("/organisations/{organisation_id}/staff", response_model=Staff)
async def staff(
    request: Request, organisation_id: Id, me: Annotated[Caller, needs(Right.MANAGE_STAFF, "organisation")]
) -> Response:
    """Everybody with a role here."""
    found = await people.staff_of(platform_of(request), organisation_id)
    return answer({"items": [views.member(*one) for one in found]})


@router.post("/organisations/{organisation_id}/staff", response_model=StaffRow, status_code=201)
async def add_staff(
    request: Request,
    organisation_id: Id,
    asked: StaffAsked,
    me: Annotated[Caller, needs(Right.MANAGE_STAFF, "organisation")],
) -> Response:
    """Gives somebody a role here, or in one of the organisation's garages."""
    platform = platform_of(request)
    if asked.garage_id is not None:
        async with platform.database.reading() as transaction:
            if asked.garage_id not in await transaction.garages_of(organisation_id):
                raise Forbidden("you may not do this here")
    whole = None if asked.garage_id else organisation_id
    made = await people.give_role(platform, asked.email, Role(asked.role), whole, asked.garage_id, asked.name)
    async with platform.database.reading() as transaction:
        person = await transaction.person(made.person_id)
    assert person is not None
    return answer(views.member(made, person), 201)


@router.delete("/organisations/{organisation_id}/staff/{member_id}", status_code=204, response_class=Response)
async def remove_staff(
    request: Request,
    organisation_id: Id,
    member_id: Id,
    me: Annotated[Caller, needs(Right.MANAGE_STAFF, "organisation")],
) -> Response:
    """Takes a role back."""
    await people.take_role(platform_of(request), organisation_id, member_id)
    return Response(status_code=204)


async def _payout(request: Request, organisation_id: str, number: int) -> Payout:
    async with platform_of(request).database.reading() as transaction:
        found = {row.number: row for row in await transaction.payouts(organisation_id)}
    if number not in found:
        raise NotFound("there is no such payout")
    return found[number]
