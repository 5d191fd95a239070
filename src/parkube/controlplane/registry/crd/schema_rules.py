"""What the schema of a custom resource may say: the structural rules, and no contradictions. Names every fault.

Judges the schema itself; objects are judged by `registry.schemas.structural`.
Source: Kubernetes documentation, "Custom Resources", Specifying a structural schema.
"""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.crd.schema_cel import rule_faults
from parkube.controlplane.registry.crd.schema_values import contradictions, default_faults
from parkube.controlplane.registry.kinds import faults
from parkube.kubeapi.errors import Cause, Obj

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_REFUSED = {
    "$ref": "$ref is not supported", "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported", "patternProperties": "patternProperties is not supported",
    "additionalItems": "additionalItems is not supported", "id": "id is not supported",
    "$schema": "$schema is not supported",
}  # fmt: skip
_EMPTY_INSIDE = (
    "description", "type", "default", "title", "nullable", "additionalProperties",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
)  # fmt: skip
_PRESERVE, _EMBEDDED, _INT_OR_STRING = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
)  # fmt: skip
_JUNCTIONS = ("allOf", "anyOf", "oneOf")
_DEEPEST = 64


def schema_faults(schema: Obj, path: str) -> list[Cause]:
    """Every fault of an `openAPIV3Schema` at `path`."""
    found: list[Cause] = []
    if not schema.get("type"):
        found.append(faults.required(f"{path}.type", "must not be empty at the root"))
    elif schema["type"] != "object":
        found.append(faults.invalid(f"{path}.type", schema["type"], "must be object at the root"))
    if schema.get("nullable"):
        found.append(faults.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    if "default" in schema:
        found.append(faults.forbidden(f"{path}.default", "must not be set at the root"))
    found += _metadata(schema, path)
    _walk(schema, path, "root", found, 0)
    if not found:
        found += default_faults(schema, path)
        found += rule_faults(schema, path)
    return found


def _metadata(schema: Obj, path: str) -> list[Cause]:
    declared = (schema.get("properties") or {}).get("metadata")
    if not isinstance(declared, dict):
        return []
    at = f"{path}.properties[metadata]"
    allowed = {"type", "properties", "description", "required"}
    strange = [key for key in declared if key not in allowed]
    strange += [key for key in declared.get("properties") or () if key not in ("name", "generateName")]
    if strange:
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        return [faults.forbidden(at, text)]
    return []


def _walk(schema: Any, path: str, where: str, found: list[Cause], depth: int) -> None:
    """Check one node and those below; `where` is root, field, item or additional."""
    if not isinstance(schema, dict):
        found.append(faults.invalid(path, schema, "must be a schema object"))
        return
    if depth > _DEEPEST:
        found.append(faults.forbidden(path, f"must not be nested deeper than {_DEEPEST} levels"))
        return
    found.extend(faults.forbidden(f"{path}.{word}", text) for word, text in _REFUSED.items() if schema.get(word))
    _type(schema, path, where, found)
    _extensions(schema, path, found)
    _containers(schema, path, found)
    found.extend(contradictions(schema, path))
    for word in _JUNCTIONS:
        for index, part in enumerate(schema.get(word) or ()):
            _restriction(part, schema, f"{path}.{word}[{index}]", found)
    if schema.get("not") is not None:
        _restriction(schema["not"], schema, f"{path}.not", found)
    for name, below in (schema.get("properties") or {}).items():
        if where == "root" and name in ("metadata", "apiVersion", "kind"):
            continue
        _walk(below, f"{path}.properties[{name}]", "field", found, depth + 1)
    if isinstance(schema.get("items"), dict):
        _walk(schema["items"], f"{path}.items", "item", found, depth + 1)
    if isinstance(schema.get("additionalProperties"), dict):
        _walk(schema["additionalProperties"], f"{path}.additionalProperties", "additional", found, depth + 1)


_MISSING_TYPE = {
    "field": "must not be empty for specified object fields", "item": "must not be empty for specified array items",
    "additional": "must not be empty for specified object fields",
}  # fmt: skip


def _type(schema: Obj, path: str, where: str, found: list[Cause]) -> None:
    kind = schema.get("type") or ""
    if kind and kind not in _TYPES:
        found.append(faults.unsupported(f"{path}.type", kind, _TYPES))
    if schema.get(_INT_OR_STRING):
        if kind:
            text = f"must be empty if {_INT_OR_STRING} is true"
            found.append(faults.invalid(f"{path}.type", kind, text))
    elif not kind and not schema.get(_PRESERVE) and where != "root":
        found.append(faults.required(f"{path}.type", _MISSING_TYPE[where]))


def _extensions(schema: Obj, path: str, found: list[Cause]) -> None:
    kind = schema.get("type") or ""
    if _PRESERVE in schema and schema[_PRESERVE] is not True:
        found.append(faults.invalid(f"{path}.{_PRESERVE}", schema[_PRESERVE], "must be true or undefined"))
    if schema.get(_EMBEDDED):
        if kind != "object":
            found.append(faults.invalid(f"{path}.type", kind, f"must be object if {_EMBEDDED} is true"))
        if not schema.get("properties") and not schema.get(_PRESERVE):
            text = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
            found.append(faults.required(f"{path}.properties", text))
    _list_type(schema, path, found)
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None:
        if map_type not in ("granular", "atomic"):
            found.append(faults.unsupported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular")))
        if kind != "object":
            found.append(faults.invalid(f"{path}.type", kind, "must be object if x-kubernetes-map-type is specified"))


def _list_type(schema: Obj, path: str, found: list[Cause]) -> None:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    at_keys = f"{path}.x-kubernetes-list-map-keys"
    if list_type is None:
        if keys:
            found.append(faults.forbidden(at_keys, "must not be set if x-kubernetes-list-type is not map"))
        return
    if list_type not in ("atomic", "set", "map"):
        found.append(faults.unsupported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "map", "set")))
        return
    if schema.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        found.append(faults.invalid(f"{path}.type", schema.get("type") or "", text))
    if list_type != "map":
        if keys:
            found.append(faults.forbidden(at_keys, "must not be set if x-kubernetes-list-type is not map"))
        return
    declared_items = schema.get("items")
    items: Obj = declared_items if isinstance(declared_items, dict) else {}
    if not keys:
        found.append(faults.required(at_keys, "must not be empty if x-kubernetes-list-type is map"))
    if items.get("type") != "object":
        found.append(faults.invalid(f"{path}.items.type", items.get("type") or "", "must be object if parent array's x-kubernetes-list-type is map"))  # noqa: E501  # fmt: skip
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        declared = properties.get(key)
        if not isinstance(declared, dict):
            found.append(faults.invalid(f"{at_keys}[{index}]", key, "entries must all be names of item properties"))
        elif declared.get("type") in ("array", "object"):
            text = "must be a scalar if x-kubernetes-list-map-keys refers to it"
            found.append(faults.invalid(f"{path}.items.properties[{key}].type", declared["type"], text))
        elif key not in (items.get("required") or ()) and "default" not in declared:
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            found.append(faults.required(f"{path}.items.properties[{key}].default", text))
    if len(set(keys)) != len(keys):
        found.append(faults.invalid(at_keys, keys, "entries must be unique"))


def _containers(schema: Obj, path: str, found: list[Cause]) -> None:
    kind = schema.get("type") or ""
    properties, additional, items = schema.get("properties"), schema.get("additionalProperties"), schema.get("items")
    if properties and additional not in (None, False):
        text = "additionalProperties and properties are mutual exclusive"
        found.append(faults.forbidden(f"{path}.additionalProperties", text))
    if additional is False:
        found.append(faults.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false"))
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(faults.forbidden(f"{path}.uniqueItems", text))
    if isinstance(items, list):
        found.append(faults.forbidden(f"{path}.items", "items must be a schema object and not an array"))
    elif kind == "array" and items is None:
        found.append(faults.required(f"{path}.items", "must be specified"))
    if kind and kind != "array" and items is not None:
        found.append(faults.forbidden(f"{path}.items", f"must not be set: the type is {kind}, not array"))
    if kind and kind != "object":
        for word, value in (("properties", properties), ("additionalProperties", additional)):
            if value:
                found.append(faults.forbidden(f"{path}.{word}", f"must not be set: the type is {kind}, not object"))


def _restriction(part: Any, outside: Obj, path: str, found: list[Cause]) -> None:
    """A schema inside allOf, anyOf, oneOf or not: it restricts values of fields that are specified outside of it."""
    if not isinstance(part, dict):
        found.append(faults.invalid(path, part, "must be a schema object"))
        return
    for word in _EMPTY_INSIDE:
        if part.get(word) not in (None, "", False) and not (word == "type" and outside.get(_INT_OR_STRING)):
            found.append(faults.forbidden(f"{path}.{word}", "must be empty to be structural"))
    found.extend(contradictions({**part, "type": part.get("type") or ""}, path, inside=True))
    specified = outside.get("properties") or {}
    for name, below in (part.get("properties") or {}).items():
        at = f"{path}.properties[{name}]"
        if name in specified and isinstance(specified[name], dict):
            _restriction(below, specified[name], at, found)
        elif isinstance(outside.get("additionalProperties"), dict):
            _restriction(below, outside["additionalProperties"], at, found)
        elif not outside.get(_PRESERVE):
            found.append(faults.required(f"{_root_of(path)}.properties[{name}]", f"because it is defined in {at}"))
    items = part.get("items")
    if isinstance(items, dict):
        if isinstance(outside.get("items"), dict):
            _restriction(items, outside["items"], f"{path}.items", found)
        else:
            found.append(faults.required(f"{_root_of(path)}.items", f"because it is defined in {path}.items"))
    for word in _JUNCTIONS:
        for index, nested in enumerate(part.get(word) or ()):
            _restriction(nested, outside, f"{path}.{word}[{index}]", found)
    if part.get("not") is not None:
        _restriction(part["not"], outside, f"{path}.not", found)


def _root_of(path: str) -> str:
    """Where the restriction sits: `….allOf[0]` gives what comes before `.allOf`."""
    for word in (*_JUNCTIONS, "not"):
        head, found, _ = path.rpartition(f".{word}")
        if found:
            return head
    return path
