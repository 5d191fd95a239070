"""The operator's route about one driver: how many stays may run at once."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response

from parkube.parking.api.access import Needs
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.shapes import Shape
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.plates import plate
from parkube.parking.domain.rights import Right
from parkube.parking.services import trail

router = APIRouter()


class Allowance(Shape):
    """How many stays of an account, or of a plate, may run at once."""

    person_id: str | None = Field(default=None, min_length=1, max_length=64, pattern="^[a-z0-9_]+$")
    plate: str | None = Field(default=None, min_length=1, max_length=16)
    at_once: int = Field(ge=1, le=100)


@router.put("/allowances", response_model=Allowance, dependencies=[Depends(Needs(Right.HELP_PEOPLE))])
async def allow(request: Request, wanted: Allowance) -> Response:
    """Allows it. One of person_id and plate is given."""
    if (wanted.person_id is None) == (wanted.plate is None):
        raise Invalid("person_id or plate, one of them", [("person_id", "or plate, one of them")])
    driver = f"plate:{plate(wanted.plate).normal}" if wanted.plate is not None else f"person:{wanted.person_id}"
    platform = platform_of(request)
    async with platform.database.writing() as transaction:
        await transaction.allow_at_once(driver, wanted.at_once)
        await trail.note(platform, transaction, "allowance", wanted.person_id or "plate", None, at_once=wanted.at_once)
    return answer(wanted.model_dump())
