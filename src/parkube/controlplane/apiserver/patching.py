"""PATCH: from a body and its media type to a change of an object. Pure; the registry runs it until it fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi import patches
from parkube.kubeapi.client import PatchType
from parkube.kubeapi.errors import BadRequest, Obj, UnsupportedMediaType


def kind_of(content_type: str, row: Resource) -> PatchType:
    """The patch type of a Content-Type, if this resource takes it. Raises UnsupportedMediaType."""
    text = content_type.partition(";")[0].strip().lower()
    taken = [PatchType.JSON, PatchType.MERGE, *([] if row.crd else [PatchType.STRATEGIC]), PatchType.APPLY]
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
    if kind in (PatchType.MERGE, PatchType.APPLY):  # a Scale is applied as it is merged
        return lambda obj: patches.merge_patch(obj, patch)
    shape = schemas.shape(row)
    return lambda obj: patches.strategic_merge(obj, patch, shape)


def configuration(row: Resource, name: str, value: Any) -> Obj:
    """The configuration that an apply brings, with its type and name. Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("an applied configuration is an object")
    found = {"apiVersion": row.api_version, "kind": row.kind, **value}
    if found["kind"] != row.kind:
        raise BadRequest(f"the kind in the data ({found['kind']}) does not match the expected kind ({row.kind})")
    if found["apiVersion"] != row.api_version:
        raise BadRequest(
            "Incorrect version specified in apply patch. Specified patch version: "
            f"{found['apiVersion']}, expected: {row.api_version}"
        )
    metadata = found.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    given = metadata.get("name") or name
    if given != name:
        raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
    found["metadata"] = {**metadata, "name": name}
    return found
