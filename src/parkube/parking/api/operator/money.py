"""The operator's routes about owners, money and rights: each names the right it needs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from parkube.parking.adapters import settlements
from parkube.parking.api.access import Needs
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.etags import check_match
from parkube.parking.api.operator.money_shapes import (
    Books,
    Correction,
    CorrectionAsked,
    Key,
    KeyAsked,
    OpenRefund,
    Organisation,
    OrganisationPut,
    Reconciled,
    RoleAsked,
    SettlementAsked,
    Terms,
    TermsPut,
    Transferred,
)
from parkube.parking.api.owner import views
from parkube.parking.api.owner.shapes import LedgerRow, PayoutRow, Payouts, RefundRow, StaffRow, TrailRow
from parkube.parking.api.paging import Cursor, PageLimit, after, after_number, page
from parkube.parking.api.shapes import Page
from parkube.parking.domain.errors import Invalid, NotFound
from parkube.parking.domain.ledger import Terms as TermsRecord
from parkube.parking.domain.people import Organisation as OrganisationRecord
from parkube.parking.domain.rights import Right, Role
from parkube.parking.services import books, payouts, people, reconciling, refunds
from parkube.parking.services.audit import audit

router = APIRouter()
Id = Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
EntryId = Annotated[int, Path(ge=1, le=2**31 - 1)]
OWNERS = [Depends(Needs(Right.MANAGE_OWNERS))]
MONEY = [Depends(Needs(Right.MOVE_MONEY))]


@router.put("/organisations/{organisation_id}", response_model=Organisation, dependencies=OWNERS)
async def put_organisation(request: Request, organisation_id: Id, wanted: OrganisationPut) -> Response:
    """Keeps an organisation. With If-Match, only where it is as it was looked at."""
    platform = platform_of(request)
    async with platform.database.reading() as transaction:
        known = await transaction.organisation(organisation_id)
    check_match(request, _organisation(known) if known else None)
    made = OrganisationRecord(id=organisation_id, created_at=platform.clock(), **wanted.model_dump())
    return answer(_organisation(await payouts.put_organisation(platform, made)))


@router.get("/organisations/{organisation_id}", response_model=Organisation, dependencies=OWNERS)
async def organisation(request: Request, organisation_id: Id) -> Response:
    """One organisation."""
    async with platform_of(request).database.reading() as transaction:
        known = await transaction.organisation(organisation_id)
    if known is None:
        raise NotFound(f"there is no organisation {organisation_id!r}")
    return answer(_organisation(known))


@router.put("/garages/{garage_id}/terms", response_model=Terms, dependencies=OWNERS)
async def put_terms(request: Request, garage_id: Id, wanted: TermsPut) -> Response:
    """Says who owns a garage and what the platform keeps."""
    vat = Decimal(wanted.vat_percent)
    terms = TermsRecord(wanted.organisation_id, wanted.commission_bp, vat, wanted.country)
    await payouts.put_terms(platform_of(request), garage_id, terms)
    return answer({"garage_id": garage_id, **wanted.model_dump()})


@router.post("/organisations/{organisation_id}/payouts", response_model=Payouts, status_code=201, dependencies=MONEY)
async def pay_out(request: Request, organisation_id: Id) -> Response:
    """Makes the payouts that are due; none where nothing is held."""
    made = await payouts.pay_out(platform_of(request), organisation_id)
    return answer({"items": [views.payout(one) for one in made]}, 201)


@router.post("/payouts/{payout_id}/transferred", response_model=PayoutRow, dependencies=MONEY)
async def transferred(request: Request, payout_id: Id, asked: Transferred) -> Response:
    """The payout has left the bank."""
    return answer(views.payout(await payouts.transferred(platform_of(request), payout_id, asked.bank_reference)))


@router.get("/refunds", response_model=Page[OpenRefund], dependencies=MONEY)
async def open_refunds(request: Request, limit: PageLimit = 50, cursor: Cursor = None) -> Response:
    """Every refund that has not reached its driver."""
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.refunds_open(after(cursor), limit + 1)
    return answer(page(rows, limit, lambda row: row.id, views.open_refund))


@router.post("/refunds/{refund_id}/transferred", response_model=RefundRow, dependencies=MONEY)
async def refund_transferred(request: Request, refund_id: Id, asked: Transferred) -> Response:
    """A refund that the provider refused has left the bank."""
    return answer(views.refund(await refunds.transferred(platform_of(request), refund_id, asked.bank_reference)))


@router.post("/settlements", response_model=Reconciled, dependencies=MONEY)
async def settle(request: Request, asked: SettlementAsked) -> Response:
    """Compares a provider's settlement file with the books; names what does not match."""
    platform = platform_of(request)
    if asked.since.tzinfo is None or asked.until.tzinfo is None or asked.since >= asked.until:
        raise Invalid("the time is from `since` until before `until`, with offsets", [("until", "after since")])
    rows = settlements.parse(asked.csv.encode(), asked.provider)
    found = await reconciling.reconcile(platform, asked.provider, rows, asked.since, asked.until)
    if asked.book:
        await reconciling.book_settlement(platform, asked.provider, asked.settlement_id, found)
    mismatches = [
        {"kind": m.kind, "reference": m.reference, "ours_cents": m.ours_minor, "theirs_cents": m.theirs_minor,
         "text": m.text}
        for m in found.mismatches
    ]  # fmt: skip
    return answer({"matched": found.matched, "mismatches": mismatches})


@router.get("/ledger", response_model=Page[LedgerRow], dependencies=[Depends(Needs(Right.MOVE_MONEY))])
async def ledger(request: Request, limit: PageLimit = 50, cursor: Cursor = None) -> Response:
    """Every entry, in order."""
    begin = after_number(cursor) or 0
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.entries_after(begin, limit + 1, None)
    return answer(page(rows, limit, lambda row: row.id, views.entry))


@router.post("/ledger/{entry_id}/correction", response_model=Correction, status_code=201, dependencies=MONEY)
async def correct(request: Request, entry_id: EntryId, asked: CorrectionAsked) -> Response:
    """Takes an entry back by one that points at it."""
    made = await books.correct(platform_of(request), entry_id, asked.why)
    return answer({"id": made, "corrects": entry_id}, 201)


@router.get("/books", response_model=Books, dependencies=MONEY)
async def check_books(request: Request) -> Response:
    """Whether the books balance."""
    found = await audit(platform_of(request).database)
    return answer(
        {
            "entries": found.entries,
            "bookings": found.bookings,
            "receipts": found.receipts,
            "faults": list(found.faults),
        }
    )


@router.get("/trail", response_model=Page[TrailRow], dependencies=[Depends(Needs(Right.SEE_TRAIL))])
async def trail(
    request: Request,
    subject: Annotated[str | None, Query(max_length=96, pattern="^[^\\x00]*$")] = None,
    limit: PageLimit = 50,
    cursor: Cursor = None,
) -> Response:
    """Everything that opened a gate, moved money or read a plate, the latest first."""
    begin = after_number(cursor)
    async with platform_of(request).database.reading() as transaction:
        rows = await transaction.trail_before(begin, limit + 1, None, subject)
    return answer(page(rows, limit, lambda row: row.id, views.noted))


@router.post("/roles", response_model=StaffRow, status_code=201, dependencies=OWNERS)
async def give_role(request: Request, asked: RoleAsked) -> Response:
    """Gives somebody a role somewhere."""
    platform = platform_of(request)
    made = await people.give_role(
        platform, asked.email, Role(asked.role), asked.organisation_id, asked.garage_id, asked.name
    )
    async with platform.database.reading() as transaction:
        person = await transaction.person(made.person_id)
    assert person is not None
    return answer(views.member(made, person), 201)


@router.post("/organisations/{organisation_id}/keys", response_model=Key, status_code=201, dependencies=OWNERS)
async def new_key(request: Request, organisation_id: Id, asked: KeyAsked) -> Response:
    """An API key for a partner; it is shown once."""
    return answer({"key": await people.new_key(platform_of(request), organisation_id, asked.name)}, 201)


def _organisation(known: OrganisationRecord) -> dict[str, Any]:
    shown = replace(known)
    return {name: getattr(shown, name) for name in Organisation.model_fields}
