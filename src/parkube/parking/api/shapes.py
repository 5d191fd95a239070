"""What the actors' shapes have in common: times, errors. Not the domain: these are the JSON that goes over the wire."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PlainSerializer, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.times import parse_moment, rfc3339

Item = TypeVar("Item")
Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]


class Shape(BaseModel):
    """A body that is read refuses fields it does not know: a misspelt field must not be silently nothing."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _no_zero_characters(cls, given: Any) -> Any:
        # PostgreSQL keeps no text with U+0000 in it, and nobody means it.
        for name, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, str) and "\0" in value:
                raise ValueError("the character U+0000 is not text")
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not re.search("bool|Any", str(field.annotation)):
                # To Python true is a number; to whoever wrote it, it is not.
                raise ValueError(f"{name} is neither true nor false")
        return given


class Timed(Shape):
    """A body with the times `from` and `to` as a driver writes them: text, since the zone is the garage's.

    Where the body is refused for something else, times that are none anywhere are named along with it.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _times_too(cls, given: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return read(given)
        except ValidationError as error:
            faults: list[InitErrorDetails] = [
                {"type": one["type"], "loc": one["loc"], "input": one["input"], "ctx": one.get("ctx", {})}
                for one in error.errors(include_url=False)
            ]
            named = {fault["loc"][:1] for fault in faults}
            faults += [fault for fault in _not_times(given) if fault["loc"] not in named]
            raise ValidationError.from_exception_data(error.title, faults) from error


def _not_times(given: Any) -> Iterator[InitErrorDetails]:
    for field in ("from", "to"):
        text = given.get(field) if isinstance(given, dict) else None
        if isinstance(text, str):
            try:
                parse_moment(text, "UTC", field)
            except Invalid as error:
                message = error.message.removeprefix(f"{field}: ")
                yield {"type": PydanticCustomError("time", "{said}", {"said": message}), "loc": (field,), "input": text}


class Page(BaseModel, Generic[Item]):
    """A page of a list; `next` is the cursor of the page after it, null at the end."""

    items: list[Item]
    next: str | None


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
