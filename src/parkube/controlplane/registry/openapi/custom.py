"""OpenAPI definitions of custom resources, made from their rows. Built-in kinds have theirs from the published ones."""

from __future__ import annotations

from collections.abc import Iterable

from parkube.controlplane.registry.openapi.paths import META
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.schemas.definitions import GVK, REF
from parkube.kubeapi.errors import Obj

_API_VERSION = "APIVersion defines the versioned schema of this representation of an object."
_KIND = "Kind is a string value representing the REST resource this object represents."
_HEAD: Obj = {
    "apiVersion": {"description": _API_VERSION, "type": "string"},
    "kind": {"description": _KIND, "type": "string"},
}
_METADATA: Obj = {"$ref": f"{REF}{META}ObjectMeta", "description": "Standard object's metadata."}
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def definition_name(row: Resource) -> str:
    """`io.parkube.v1.Garage` for Garage of parkube.io/v1."""
    return ".".join([*reversed(row.gvr.group.split(".")), row.gvr.version, row.kind])


def definitions(rows: Iterable[Resource]) -> dict[str, Obj]:
    """For each row its kind and its list."""
    found: dict[str, Obj] = {}
    for row in rows:
        name = definition_name(row)
        found[name] = _kind(row)
        found[name + "List"] = _list(row, name)
    return found


def names(rows: Iterable[Resource]) -> dict[tuple[str, str, str], str]:
    """Definition names by (group, version, kind)."""
    found = {}
    for row in rows:
        group, version, _ = row.gvr
        found[group, version, row.kind] = definition_name(row)
        found[group, version, row.list_kind] = definition_name(row) + "List"
    return found


def _typed(row: Resource, kind: str, properties: Obj, more: Obj) -> Obj:
    mark = {"group": row.gvr.group, "kind": kind, "version": row.gvr.version}
    return {**more, "type": "object", "properties": _HEAD | properties, GVK: [mark]}


def _kind(row: Resource) -> Obj:
    schema = _embedding(dict(row.schema or {_PRESERVE: True}))
    properties = {
        key: value for key, value in (schema.get("properties") or {}).items() if key not in ("apiVersion", "kind")
    }
    properties["metadata"] = _METADATA
    found = _typed(row, row.kind, properties, schema)
    if row.fields:
        found["x-kubernetes-selectable-fields"] = [{"fieldPath": field.path} for field in row.fields]
    return found


def _embedding(schema: Obj) -> Obj:
    """The schema, where objects that it embeds say what every object has."""
    new = dict(schema)
    if "properties" in schema:
        new["properties"] = {key: _embedding(below) for key, below in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            new[key] = _embedding(schema[key])
    if schema.get("x-kubernetes-embedded-resource"):
        new["properties"] = {**(new.get("properties") or {}), **_HEAD, "metadata": _METADATA}
        new["required"] = list(dict.fromkeys([*(schema.get("required") or ()), "kind", "apiVersion"]))
    return new


def _list(row: Resource, name: str) -> Obj:
    properties = {
        "items": {"type": "array", "items": {"$ref": REF + name}, "description": f"List of {row.gvr.resource}."},
        "metadata": {"$ref": f"{REF}{META}ListMeta", "description": "Standard list metadata."},
    }
    more = {"description": f"{row.list_kind} is a list of {row.kind}", "required": ["items"]}
    return _typed(row, row.list_kind, properties, more)
