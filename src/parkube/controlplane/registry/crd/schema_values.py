"""Whether a schema's demands on values can be met: bounds, enums, patterns, required fields and defaults agree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.schemas.patterns import compile_pattern
from parkube.kubeapi.errors import Cause, Obj
from parkube.kubeapi.objects import copy

_BOUNDS = (
    ("minimum", "maximum"),
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
)
_SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip


def contradictions(schema: Obj, path: str, *, inside: bool = False) -> Iterator[Cause]:
    """Faults of one node by itself. `inside` allOf and the like, the fields are specified elsewhere."""
    for word in _SIZES:
        if isinstance(schema.get(word), int) and schema[word] < 0:
            yield faults.invalid(f"{path}.{word}", schema[word], "must be greater than or equal to 0")
    for low, high in _BOUNDS:
        yield from _bounds(schema, path, low, high)
    if schema.get("multipleOf") is not None and not schema["multipleOf"] > 0:
        yield faults.invalid(f"{path}.multipleOf", schema["multipleOf"], "must be greater than 0")
    if schema.get("pattern"):
        yield from _pattern(schema["pattern"], f"{path}.pattern")
    yield from _enum(schema, path)
    if not inside:
        yield from _required(schema, path)


def _bounds(schema: Obj, path: str, low: str, high: str) -> Iterator[Cause]:
    least, most = schema.get(low), schema.get(high)
    if least is None or most is None:
        return
    if least > most:
        yield faults.invalid(
            f"{path}.{low}", least, f"must not be greater than {high} ({most}): no value can satisfy both"
        )
    elif least == most and low == "minimum" and (schema.get("exclusiveMinimum") or schema.get("exclusiveMaximum")):
        yield faults.invalid(f"{path}.{low}", least, f"must be less than {high} ({most}) where a bound is exclusive")


def _pattern(pattern: str, path: str) -> Iterator[Cause]:
    try:
        compile_pattern(pattern)
    except re.error as error:
        yield faults.invalid(path, pattern, f"must be a valid regular expression, but isn't: {error}")


def _enum(schema: Obj, path: str) -> Iterator[Cause]:
    values = schema.get("enum")
    if values is None:
        return
    if not values:
        yield faults.required(f"{path}.enum", "must have at least one value")
    kind = schema.get("type") or ""
    for index, value in enumerate(values):
        if value is None and schema.get("nullable"):
            continue
        if not fits(value, kind):
            yield faults.invalid(f"{path}.enum[{index}]", value, f"must be of type {kind}: no value can satisfy both")
        elif value in values[:index]:
            yield faults.duplicate(f"{path}.enum[{index}]", value)


def fits(value: Any, kind: str) -> bool:
    """Whether the value has that JSON type; the empty type takes any."""
    if not kind or kind not in _KINDS:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS[kind])


def _required(schema: Obj, path: str) -> Iterator[Cause]:
    properties = schema.get("properties") or {}
    opened = schema.get("additionalProperties") or schema.get("x-kubernetes-preserve-unknown-fields")
    kept = ("apiVersion", "kind", "metadata") if path.endswith("openAPIV3Schema") else ()
    for index, name in enumerate(schema.get("required") or ()):
        if name not in properties and not opened and name not in kept:
            text = "must be one of the properties: any other field is pruned, so no object could satisfy this"
            yield faults.invalid(f"{path}.required[{index}]", name, text)
    most = schema.get("maxProperties")
    if isinstance(most, int) and len(set(schema.get("required") or ())) > most:
        yield faults.invalid(f"{path}.maxProperties", most, "must not be less than the number of required properties")


def default_faults(schema: Obj, path: str) -> list[Cause]:
    """Defaults that their own schema would refuse or prune."""
    found: list[Cause] = []
    if "default" in schema:
        value = copy({"": schema["default"]})[""]
        node = schemas.Structural(schema, root=False)
        if not (value is None and schema.get("nullable")):
            at = f"{path}.default"
            pruned = node.prune(value)
            found += [
                faults.invalid(at, schema["default"], f"must not have unknown fields: {field}") for field in pruned
            ]
            node.default(value)
            for cause in node.validate(value):
                found.append(Cause(cause.reason, cause.message, f"{at}.{cause.field}" if cause.field else at))
    for name, below in (schema.get("properties") or {}).items():
        if isinstance(below, dict):
            found += default_faults(below, f"{path}.properties[{name}]")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            found += default_faults(schema[word], f"{path}.{word}")
    return found
