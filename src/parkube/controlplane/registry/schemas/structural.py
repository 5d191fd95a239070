"""Structural schemas of custom resources: pruning, defaulting and validation of values. Judges objects, not schemas.

What a schema may say at all is checked where the definition is accepted (`registry.crd`). Worded as the API words it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from parkube.controlplane.registry.schemas.values import checks
from parkube.kubeapi.errors import Cause, Obj

_ALWAYS = ("apiVersion", "kind", "metadata")
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip


class Structural:
    """One node of a schema and what lies below it. The root keeps `apiVersion`, `kind` and `metadata` untouched."""

    __slots__ = (
        "additional", "alternatives", "checks", "default_json", "fills", "int_or_string", "items", "keeps", "nullable",
        "open_", "properties", "required", "root", "schema_type",
    )  # fmt: skip

    def __init__(self, schema: Obj, *, root: bool = True) -> None:
        self.root = root
        self.schema_type: str = schema.get("type", "")
        self.int_or_string = bool(schema.get("x-kubernetes-int-or-string"))
        self.nullable = bool(schema.get("nullable"))
        self.open_ = bool(schema.get(_PRESERVE))
        self.keeps = _ALWAYS if root or schema.get(_EMBEDDED) else ()
        self.required: tuple[str, ...] = tuple(schema.get("required") or ())
        self.default_json: bytes | None = orjson.dumps(schema["default"]) if "default" in schema else None
        properties = schema.get("properties") or {}
        self.properties = {
            key: Structural(value, root=False) for key, value in properties.items() if not (root and key in _ALWAYS)
        }
        additional = schema.get("additionalProperties")
        if additional is True:
            self.additional: Structural | None = Structural({_PRESERVE: True}, root=False)
        else:
            self.additional = Structural(additional, root=False) if isinstance(additional, dict) else None
        items = schema.get("items")
        self.items = Structural(items, root=False) if isinstance(items, dict) else None
        self.checks: list[Callable[[Any, str], Cause | None]] = checks(schema)
        self.alternatives = _alternatives(schema)
        below = (*self.properties.values(), *filter(None, (self.additional, self.items)))
        self.fills: bool = any(node.fills or node.default_json is not None for node in below)

    # pruning

    def prune(self, value: Any, path: str = "") -> list[str]:
        """Drop fields that the schema does not name; their paths."""
        gone: list[str] = []
        self._prune(value, path, gone)
        return gone

    def _prune(self, value: Any, path: str, gone: list[str]) -> None:
        if isinstance(value, dict):
            dot = path + "." if path else ""
            for key in list(value):
                below = self.properties.get(key)
                if below is not None:
                    below._prune(value[key], dot + key, gone)
                elif self.additional is not None:
                    self.additional._prune(value[key], f"{path}[{key}]", gone)
                elif not self.open_ and key not in self.keeps:
                    del value[key]
                    gone.append(dot + key)
        elif isinstance(value, list) and self.items is not None:
            for at, item in enumerate(value):
                self.items._prune(item, f"{path}[{at}]", gone)

    # defaulting

    def default(self, value: Any) -> None:
        """Put the schema's defaults where fields are absent (or null and may not be)."""
        if isinstance(value, dict):
            for key, below in self.properties.items():
                if below.default_json is not None and (key not in value or (value[key] is None and not below.nullable)):
                    value[key] = orjson.loads(below.default_json)
                if key in value:
                    below.default(value[key])
            if self.additional is not None:
                for key, item in value.items():
                    if key not in self.properties:
                        self.additional.default(item)
        elif isinstance(value, list) and self.items is not None:
            for item in value:
                self.items.default(item)

    # validation

    def validate(self, value: Any, path: str = "") -> list[Cause]:
        """Every fault of `value`."""
        if value is None:
            return [] if self.nullable or not (self.schema_type or self.int_or_string) else [self._wrong(value, path)]
        if not self._fits(value):
            return [self._wrong(value, path)]
        found = [cause for check in self.checks if (cause := check(value, path)) is not None]
        if isinstance(value, dict):
            found += self._validate_object(value, path)
        elif isinstance(value, list) and self.items is not None:
            for at, item in enumerate(value):
                found += self.items.validate(item, f"{path}[{at}]")
        for judge in self.alternatives:
            cause = judge(value, path)
            if cause is not None:
                found.append(cause)
        return found

    def _validate_object(self, value: Obj, path: str) -> list[Cause]:
        dot = path + "." if path else ""
        found = [Cause("FieldValueRequired", "Required value", dot + key) for key in self.required if key not in value]
        for key, item in value.items():
            below = self.properties.get(key)
            if below is not None:
                found += below.validate(item, dot + key)
            elif self.additional is not None:
                found += self.additional.validate(item, dot + key)
        return found

    def _fits(self, value: Any) -> bool:
        if self.int_or_string:
            return isinstance(value, (int, str)) and not isinstance(value, bool)
        if not self.schema_type:
            return True
        if isinstance(value, bool):
            return self.schema_type == "boolean"
        if self.schema_type == "integer" and isinstance(value, float):
            return value.is_integer()
        return isinstance(value, _TYPES.get(self.schema_type, (object,)))

    def _wrong(self, value: Any, path: str) -> Cause:
        actual, wanted = _type_name(value), self.schema_type or "int-or-string"
        text = f'Invalid value: "{actual}": {path or "<root>"} in body must be of type {wanted}: "{actual}"'
        return Cause("FieldValueTypeInvalid", text, path)


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "integer", float: "number", dict: "object", list: "array"}
    return names.get(type(value), "null")


Judge = Callable[[Any, str], Cause | None]


def _alternatives(schema: Obj) -> list[Judge]:
    """`allOf`, `anyOf`, `oneOf` and `not`: they may only restrict values."""
    found: list[Judge] = []
    for word in ("allOf", "anyOf", "oneOf"):
        if schema.get(word):
            found.append(_junction(word, [Structural(one, root=False) for one in schema[word]]))
    if isinstance(schema.get("not"), dict):
        found.append(_junction("not", [Structural(schema["not"], root=False)]))
    return found


def _junction(word: str, parts: list[Structural]) -> Judge:
    sentences = {
        "allOf": "must validate all the schemas (allOf)",
        "anyOf": "must validate at least one schema (anyOf)",
        "oneOf": "must validate one and only one schema (oneOf)",
        "not": "must not validate the schema (not)",
    }

    def judge(value: Any, path: str) -> Cause | None:
        good = sum(not part.validate(value, path) for part in parts)
        right = {"allOf": good == len(parts), "anyOf": good >= 1, "oneOf": good == 1, "not": good == 0}[word]
        if right:
            return None
        shown = orjson.dumps(value).decode()
        more = ". Found none valid" if word == "oneOf" and not good else ""
        more = f". Found {good} valid alternatives" if word == "oneOf" and good > 1 else more
        text = f"Invalid value: {shown}: {path or '<root>'} in body {sentences[word]}{more}"
        return Cause("FieldValueInvalid", text, path)

    return judge
