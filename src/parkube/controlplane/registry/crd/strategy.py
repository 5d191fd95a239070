"""The rules of every custom resource: what its definition's schema says, and status apart from spec."""

from __future__ import annotations

import re

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.schemas.rules import Rules
from parkube.kubeapi.errors import Cause, MethodNotAllowed, Obj

_BLOCKING = ("FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
_UNCHECKED = Cause(
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
    "<nil>",
)
_SHARED = ("apiVersion", "kind", "metadata")


class CustomStrategy(KindStrategy):
    """One served version with the status subresource. `closed`: its definition is going, nothing new is made."""

    generation = True
    first_status = None
    unconditional = False

    def __init__(self, schema: Obj) -> None:
        self._schema = schema
        self._rules = Rules(schema)
        self.closed = False

    def default(self, obj: Obj) -> None:
        """The schema's defaults; absent is filled, null too where it may not be null."""
        schemas.structural(self._schema).default(obj)

    def prepare_create(self, obj: Obj) -> None:
        """See `Strategy`."""
        if self.closed:
            raise MethodNotAllowed("create not allowed while custom resource definition is terminating")
        super().prepare_create(obj)

    def moved(self, new: Obj, old: Obj) -> bool:
        """Anything but metadata and status counts."""
        apart = {*_SHARED, "status"} if self.status else set(_SHARED)
        return _without(new, apart) != _without(old, apart)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        """Every fault of values. What was wrong before and stays as it was is let pass: schemas tighten."""
        structural = schemas.structural(self._schema)
        found = structural.validate(obj)
        if subresource == "status":
            found = [cause for cause in found if re.match(r"status(?![^.\[])", cause.field)]
        if found and old is not None:
            known = set(structural.validate(old))
            found = [cause for cause in found if cause not in known]
        if not self._rules:
            return found
        if any(cause.reason in _BLOCKING for cause in found):
            return [*found, _UNCHECKED]
        return found + self._rules.faults(obj, old)


class PlainCustomStrategy(CustomStrategy):
    """One served version without the status subresource: status is a field as any other."""

    status = False


def _without(obj: Obj, keys: set[str]) -> Obj:
    return {key: value for key, value in obj.items() if key not in keys}
