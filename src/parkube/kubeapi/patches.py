"""PATCH on objects: JSON patch, merge patch, strategic merge patch. Pure; each returns a new object and leaves its
arguments alone. Apply (server-side) is not here.

Sources: RFC 6902, RFC 7396; Kubernetes API conventions, "Strategic Merge Patch".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from parkube.kubeapi.errors import ApiError, BadRequest, Cause, Invalid, Obj
from parkube.kubeapi.objects import copy
from parkube.kubeapi.strategic import PatchShape, StrategicError, merge

_MAX_OPERATIONS = 10_000


def json_patch(obj: Obj, patch: Sequence[Obj]) -> Obj:
    """RFC 6902. Raises BadRequest for a patch that is none, Invalid for one that does not fit the object."""
    import jsonpatch  # on the server alone, and seldom used

    if len(patch) > _MAX_OPERATIONS:
        raise BadRequest(f"the allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, got {len(patch)}")
    try:
        result = jsonpatch.JsonPatch(list(patch)).apply(copy(obj), in_place=True)
    except (jsonpatch.InvalidJsonPatch, TypeError, AttributeError) as error:
        raise BadRequest(f"error decoding patch: {error}") from None
    except jsonpatch.JsonPatchTestFailed as error:
        raise _unfit(f"testing value failed: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise _unfit(str(error)) from None
    if not isinstance(result, dict):
        raise _unfit("the result is not an object")
    return result


def merge_patch(obj: Obj, patch: Obj) -> Obj:
    """RFC 7396: null removes, objects merge, everything else replaces."""
    result: Obj = _merged(copy(obj), patch)
    return result


def _merged(into: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result: Obj = into if isinstance(into, dict) else {}
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


def _unfit(words: str) -> ApiError:
    return Invalid(f"the server rejected our request due to an error in our request: {words}",
                   causes=[Cause("FieldValueInvalid", words, "")])  # fmt: skip
