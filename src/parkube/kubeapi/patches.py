"""PATCH on objects: JSON patch, merge patch, strategic merge patch. Pure; each returns a new object and leaves its
arguments alone; what a merge patch did not touch, its result shares with them. Apply (server-side) is not here.

Sources: RFC 6902, RFC 7396; Kubernetes API conventions, "Strategic Merge Patch".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parkube.kubeapi.errors import BadRequest, Invalid, Obj, RequestEntityTooLarge
from parkube.kubeapi.objects import copy
from parkube.kubeapi.strategic import PatchShape, StrategicError, merge

_MAX_OPERATIONS = 10_000


class Unfit(Invalid):
    """A JSON patch that does not fit the object; the API tells its clients no more than that. `why`: for logs."""

    def __init__(self, why: str) -> None:
        super().__init__("the server rejected our request due to an error in our request", details={})
        self.why = why


def json_patch(obj: Obj, patch: Sequence[Obj]) -> Obj:
    """RFC 6902. Raises BadRequest for a patch that is none, RequestEntityTooLarge, `Unfit`."""
    import jsonpatch  # on the server alone, and seldom used

    if len(patch) > _MAX_OPERATIONS:
        words = f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(patch)}"
        raise RequestEntityTooLarge(f"Request entity is too large: {words}")
    try:
        result = jsonpatch.JsonPatch(list(patch)).apply(copy(obj), in_place=True)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError) as error:
        raise BadRequest(f"error decoding patch: {error}") from None
    except jsonpatch.JsonPatchTestFailed as error:
        raise Unfit(f"testing value failed: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise Unfit(str(error)) from None
    if not isinstance(result, dict):
        raise Unfit("the result is not an object")
    return result


def merge_patch(obj: Obj, patch: Obj) -> Obj:
    """RFC 7396: null removes, objects merge, everything else replaces. The result is new along the paths that the
    patch names; the rest it shares with `obj` and `patch`."""
    result: Obj = _merged(obj, patch)
    return result


def _merged(into: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result: Obj = dict(into) if isinstance(into, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def strategic_merge(obj: Obj, patch: Obj, shape: PatchShape | None) -> Obj:
    """Lists with a merge key merge by item, others replace; the `$…` directives are obeyed. `shape`: what the schema
    says of each field, None where it says nothing. Raises BadRequest for directives that make no sense."""
    try:
        result: Obj = merge(copy(obj), copy(patch), shape)
    except StrategicError as error:
        raise BadRequest(f"invalid strategic merge patch: {error}") from None
    return result
