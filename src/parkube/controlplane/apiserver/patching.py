"""PATCH: from a body and its media type to a change of an object. Pure; the registry runs it until it fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi import patches
from parkube.kubeapi.client import PatchType
from parkube.kubeapi.errors import BadRequest, Obj, UnsupportedMediaType

NO_APPLY = "server-side apply is not in this version"


def kind_of(content_type: str, row: Resource) -> PatchType:
    """The patch type of a Content-Type, if this resource takes it. Raises UnsupportedMediaType."""
    text = content_type.partition(";")[0].strip().lower()
    if text in (PatchType.APPLY, "application/apply-patch+cbor"):
        raise UnsupportedMediaType(NO_APPLY)
    taken = [PatchType.JSON, PatchType.MERGE] + ([] if row.crd else [PatchType.STRATEGIC])
    for kind in taken:
        if text == kind.value:
            return kind
    raise UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: " + ", ".join(taken)
    )


def change(row: Resource, kind: PatchType, patch: Any) -> Callable[[Obj], Obj]:
    """The function that applies `patch`; it leaves its argument alone. Raises BadRequest for a patch of the wrong
    shape, and what `kubeapi.patches` raises for one that does not fit."""
    if kind is PatchType.JSON:
        if not isinstance(patch, list):
            raise BadRequest("a JSON patch is a list of operations")
        return lambda obj: patches.json_patch(obj, patch)
    if not isinstance(patch, dict):
        raise BadRequest("a merge patch is an object")
    if kind is PatchType.MERGE:
        return lambda obj: patches.merge_patch(obj, patch)
    shape = schemas.shape(row)
    return lambda obj: patches.strategic_merge(obj, patch, shape)
