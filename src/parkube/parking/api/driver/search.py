"""Finding a garage: near a place or by name, with the price of a stay and the bays free for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.driver import views
from parkube.parking.api.driver.shapes import GarageDetail, GaragesFound, Places, SearchAsked
from parkube.parking.domain.errors import Invalid, NotFound
from parkube.parking.domain.times import Window
from parkube.parking.services import forecasting
from parkube.parking.services.booking import window_of
from parkube.parking.services.index import Asked
from parkube.parking.services.platform import Platform

router = APIRouter()
_ZONE = "Europe/Amsterdam"
_SHORT_STAY = timedelta(hours=2)

Start = Annotated[str | None, Query(alias="from", max_length=40)]
End = Annotated[str | None, Query(max_length=40)]
Limit = Annotated[int, Query(ge=1, le=200)]
Text = Annotated[str, Query(max_length=100)]


def _query_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    fields = model.model_json_schema()["properties"]
    return [{"in": "query", "name": name, "required": False, "schema": schema} for name, schema in fields.items()]


@router.get("/garages", response_model=GaragesFound, openapi_extra={"parameters": _query_of(SearchAsked)})
async def search(request: Request) -> Response:
    """The nearest garages, or those of a name, with price and free bays, of one kind of bay where it is asked for.

    Without a window: two hours from now.
    """
    # The framework's own reading of a query costs as much as the whole search; one model is a tenth of that.
    try:
        asked = SearchAsked.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    platform = platform_of(request)
    kind = asked.bay_kind
    window = Asked(asked_window(platform, asked.from_, asked.to), kind)
    if asked.q.strip() or asked.lat is None or asked.lon is None:
        hits = platform.index.named(asked.q, asked.limit, asked.lat, asked.lon, kind)
    else:
        hits = platform.index.near(asked.lat, asked.lon, asked.limit, kind)
    return answer({"items": [views.found(platform, known, window, distance) for distance, known in hits]})


@router.get("/garages/{garage_id}", response_model=GarageDetail)
async def one(request: Request, garage_id: str, start: Start = None, to: End = None) -> Response:
    """One garage."""
    platform = platform_of(request)
    known = platform.index.get(garage_id)
    if known is None:
        raise NotFound(f"there is no garage {garage_id[:80]!r}")
    window = asked_window(platform, start, to)
    async with platform.database.reading() as transaction:
        guess = await forecasting.expected(transaction, known.garage, platform.clock(), window.start)
    return answer(views.detail(platform, known, Asked(window)) | {"expected": views.expected(guess)})


@router.get("/places", response_model=Places)
async def places(request: Request, q: Text = "", limit: Limit = 10) -> Response:
    """Cities and garages by name."""
    hits: list[Any] = [views.place(place) for place in platform_of(request).index.places(q, limit)]
    return answer({"items": hits})


def asked_window(platform: Platform, start: str | None, end: str | None) -> Window:
    """The window of a search. Raises Invalid."""
    now = platform.clock().replace(microsecond=0)
    if start is None and end is None:
        # Whole quarters of an hour: every page that is looked at now asks for the same window.
        begin = now.replace(minute=now.minute - now.minute % 15, second=0) + timedelta(minutes=15)
        return Window(begin, begin + _SHORT_STAY)
    if start is None or end is None:
        missing = "to" if end is None else "from"
        raise Invalid(f"{missing} is missing", [(missing, "required with the other end")])
    return window_of(start, end, _ZONE, now)
