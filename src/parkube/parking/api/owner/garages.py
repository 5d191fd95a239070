"""An owner's calls about one garage: its terms, its state, its counts. Under /api/v1/owner."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.etags import check_match
from parkube.parking.api.owner.garage_shapes import Occupancy, PassbackReset, Recount, Site, SiteOrder, Terms
from parkube.parking.api.owner.routes import Id, needs
from parkube.parking.domain import counting
from parkube.parking.domain.errors import NotFound
from parkube.parking.domain.garages import Garage
from parkube.parking.domain.rights import Right
from parkube.parking.domain.sharing_written import write_terms
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import counting as counts
from parkube.parking.services import passback, terms, trail
from parkube.parking.services.platform import Platform

router = APIRouter()
_SEE_GARAGE = [needs(Right.SEE_GARAGE, "garage")]
_RUN_SITE = [needs(Right.RUN_SITE, "garage")]
_SET_TERMS = [needs(Right.SET_TERMS, "garage")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=64)]


@router.get("/garages/{garage_id}/terms", response_model=Terms, dependencies=_SEE_GARAGE)
async def show_terms(request: Request, garage_id: Id) -> Response:
    """The terms as they hold."""
    platform = platform_of(request)
    async with platform.database.reading() as transaction:
        garage = await transaction.garage(garage_id)
        if garage is None:
            raise NotFound(f"there is no garage {garage_id[:80]!r}")
        held = await terms.terms_of(transaction, garage)
    return answer(write_terms(held))


@router.put("/garages/{garage_id}/terms", response_model=Terms, dependencies=_SET_TERMS)
async def put_terms(request: Request, garage_id: Id, wanted: Terms) -> Response:
    """Keeps the terms, all of them anew; with If-Match, where they are as looked at. Bookings keep their bays."""
    written = wanted.model_dump(exclude_unset=True)
    held = await terms.put_terms(
        platform_of(request), garage_id, written, lambda now: check_match(request, write_terms(now))
    )
    return answer(write_terms(held))


@router.get("/garages/{garage_id}/site", response_model=Site, dependencies=_SEE_GARAGE)
async def show_site(request: Request, garage_id: Id) -> Response:
    """The state of the garage as a whole."""
    platform = platform_of(request)
    await _known(platform, garage_id)
    async with platform.database.reading() as transaction:
        return answer({"state": await terms.site_of(transaction, garage_id)})


@router.post("/garages/{garage_id}/site", response_model=Site, dependencies=_RUN_SITE)
async def order_site(request: Request, garage_id: Id, order: SiteOrder, key: Key = None) -> Response:
    """Switches a state on or off. Evacuated: all gates go up and stay up."""
    state = await terms.order(platform_of(request), garage_id, order.state, order.on, trail.actor(), key)
    return answer({"state": state})


@router.get("/garages/{garage_id}/occupancy", response_model=Occupancy, dependencies=_SEE_GARAGE)
async def show_occupancy(request: Request, garage_id: Id) -> Response:
    """What was counted, and what the recounts found."""
    platform = platform_of(request)
    garage = await _known(platform, garage_id)
    async with platform.database.reading() as transaction:
        found = await counts.occupancy_of(transaction, garage_id, platform.clock())
    return answer(_occupancy(garage, found))


@router.post(
    "/garages/{garage_id}/recounts",
    response_model=Occupancy,
    status_code=201,
    dependencies=_RUN_SITE,
)
async def recount(request: Request, garage_id: Id, made: Recount, key: Key = None) -> Response:
    """From now on this many are inside; what is found besides what was thought is its drift."""
    platform = platform_of(request)
    found = await counts.recount(platform, garage_id, made.occupied, made.source, key)
    return answer(_occupancy(await _known(platform, garage_id), found), 201)


@router.post("/garages/{garage_id}/passback-resets", status_code=202, dependencies=_RUN_SITE)
async def reset_passback(request: Request, garage_id: Id, wanted: PassbackReset) -> Response:
    """Tells the garage to forget who is in and who is out."""
    await passback.reset(platform_of(request), garage_id, wanted.booking_id)
    return answer({"sent": True}, 202)


async def _known(platform: Platform, garage_id: str) -> Garage:
    async with platform.database.reading() as transaction:
        garage = await transaction.garage(garage_id)
    if garage is None:
        raise NotFound(f"there is no garage {garage_id[:80]!r}")
    return garage


def _occupancy(garage: Garage, found: counting.Occupancy) -> dict[str, Any]:
    free = found.free(garage.capacity)
    return {
        "raw": found.raw,
        "counted_at": rfc3339(found.counted_at) if found.counted_at else None,
        "taken": found.published(garage.capacity),
        "free": free,
        "almost_full": counting.almost_full(free, garage.capacity),
        "drifts": [
            {"at": rfc3339(d.at), "thought": d.thought, "found": d.found, "bays": d.bays, "source": d.source}
            for d in found.drifts
        ],
    }
