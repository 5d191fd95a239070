"""What the actors' shapes have in common: times, errors. Not the domain: these are the JSON that goes over the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer

from parkube.parking.domain.times import rfc3339

Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]


class Shape(BaseModel):
    """A body that is read refuses fields it does not know: a misspelt field must not be silently nothing."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Fault(Shape):
    """One fault of an input: where and what."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details. `code` is for programs, `detail` is one sentence for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    errors: list[Fault] = []
