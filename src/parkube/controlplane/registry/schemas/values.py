"""Checks of single values that a structural schema asks for: enums, patterns, bounds, formats. One closure each."""

from __future__ import annotations

import ipaddress
import re
import uuid
from base64 import b64decode
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson

from parkube.controlplane.registry.schemas.patterns import compile_pattern
from parkube.kubeapi.errors import Cause, Obj

Check = Callable[[Any, str], Cause | None]


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()


def _invalid(path: str, value: Any, sentence: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {_shown(value)}: {path} in body {sentence}", path)


def checks(schema: Obj) -> list[Check]:
    """The checks of one node, in the order in which faults are named."""
    found: list[Check] = []
    for word, make in _MAKERS.items():
        if schema.get(word) is not None:
            check = make(schema[word], schema)
            if check is not None:
                found.append(check)
    return found


def _enum(values: list[Any], schema: Obj) -> Check:
    listed = ", ".join(_shown(value) for value in values)

    def check(value: Any, path: str) -> Cause | None:
        if value in values:
            return None
        text = f"Unsupported value: {_shown(value)}: supported values: {listed}"
        return Cause("FieldValueNotSupported", text, path)

    return check


def _pattern(pattern: str, schema: Obj) -> Check | None:
    try:
        compiled = compile_pattern(pattern)
    except re.error:
        return None  # the definition's own check has refused what Go would refuse

    def check(value: Any, path: str) -> Cause | None:
        if not isinstance(value, str) or compiled.search(value):
            return None
        return _invalid(path, value, f"should match '{pattern}'")

    return check


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _minimum(low: Any, schema: Obj) -> Check:
    strict = bool(schema.get("exclusiveMinimum"))
    words = f"should be greater than {low}" if strict else f"should be greater than or equal to {low}"

    def check(value: Any, path: str) -> Cause | None:
        wrong = _number(value) and (value <= low if strict else value < low)
        return _invalid(path, value, words) if wrong else None

    return check


def _maximum(high: Any, schema: Obj) -> Check:
    strict = bool(schema.get("exclusiveMaximum"))
    words = f"should be less than {high}" if strict else f"should be less than or equal to {high}"

    def check(value: Any, path: str) -> Cause | None:
        wrong = _number(value) and (value >= high if strict else value > high)
        return _invalid(path, value, words) if wrong else None

    return check


def _multiple(of: Any, schema: Obj) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        if not _number(value) or abs(value / of - round(value / of)) < 1e-9:
            return None
        return _invalid(path, value, f"should be a multiple of {of}")

    return check


def _min_length(least: int, schema: Obj) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        wrong = isinstance(value, str) and len(value) < least
        return _invalid(path, value, f"should be at least {least} chars long") if wrong else None

    return check


def _max_length(most: int, schema: Obj) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        if not isinstance(value, str) or len(value) <= most:
            return None
        return Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", path)

    return check


def _at_least(kind: type[list[Any]] | type[dict[str, Any]], noun: str) -> Callable[[int, Obj], Check]:
    def make(least: int, schema: Obj) -> Check:
        def check(value: Any, path: str) -> Cause | None:
            wrong = isinstance(value, kind) and len(value) < least
            return _invalid(path, len(value), f"should have at least {least} {noun}") if wrong else None

        return check

    return make


def _at_most(kind: type[list[Any]] | type[dict[str, Any]]) -> Callable[[int, Obj], Check]:
    def make(most: int, schema: Obj) -> Check:
        def check(value: Any, path: str) -> Cause | None:
            if not isinstance(value, kind) or len(value) <= most:
                return None
            return Cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items", path)

        return check

    return make


def _duplicate(path: str, at: int, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {_shown(value)}", f"{path}[{at}]")


def _unique(wanted: bool, schema: Obj) -> Check | None:
    return _set("set", schema) if wanted else None


def _set(kind: str, schema: Obj) -> Check | None:
    keys: list[str] = schema.get("x-kubernetes-list-map-keys") or []
    if kind not in ("set", "map"):
        return None
    defaults = {
        key: below["default"]
        for key, below in ((schema.get("items") or {}).get("properties") or {}).items()
        if "default" in below
    }

    def identity(item: Any) -> Any:
        if kind == "map" and isinstance(item, dict):
            return {key: item.get(key, defaults.get(key)) for key in keys}
        return item

    def check(value: Any, path: str) -> Cause | None:
        if not isinstance(value, list):
            return None
        seen: set[bytes] = set()
        for at, item in enumerate(value):
            mark = orjson.dumps(identity(item), option=orjson.OPT_SORT_KEYS)
            if mark in seen:
                return _duplicate(path, at, identity(item))
            seen.add(mark)
        return None

    return check


_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\Z")
_HOST = re.compile(r"(?=.{1,253}\Z)([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.?)+\Z")
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:\S*\Z|/\S*\Z")
_DURATION = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*\Z")


def _takes(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return fits


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: _DATE_TIME.match(text) is not None,
    "datetime": lambda text: _DATE_TIME.match(text) is not None,
    "date": _takes(date.fromisoformat),
    "email": lambda text: _EMAIL.match(text) is not None,
    "hostname": lambda text: _HOST.match(text) is not None,
    "ipv4": _takes(ipaddress.IPv4Address),
    "ipv6": _takes(ipaddress.IPv6Address),
    "cidr": _takes(lambda text: ipaddress.ip_network(text, strict=False)),
    "uri": lambda text: _URI.match(text) is not None,
    "uuid": _takes(uuid.UUID),
    "byte": _takes(lambda text: b64decode(text, validate=True)),
    "duration": lambda text: text == "0" or _DURATION.match(text) is not None,
}

_BITS = {"int32": 31, "int64": 63}


def _format(name: str, schema: Obj) -> Check | None:
    fits = _FORMATS.get(name)
    bits = _BITS.get(name, 0)

    def check(value: Any, path: str) -> Cause | None:
        wrong = fits is not None and isinstance(value, str) and not fits(value)
        if bits and isinstance(value, int):
            wrong = not -(1 << bits) <= value < 1 << bits
        return _invalid(path, value, f"must be of type {name}: {_shown(str(value))}") if wrong else None

    return check if fits is not None or bits else None


_MAKERS: dict[str, Callable[[Any, Obj], Check | None]] = {
    "enum": _enum, "pattern": _pattern, "format": _format,
    "minimum": _minimum, "maximum": _maximum, "multipleOf": _multiple,
    "minLength": _min_length, "maxLength": _max_length,
    "minItems": _at_least(list, "items"), "maxItems": _at_most(list), "uniqueItems": _unique,
    "minProperties": _at_least(dict, "properties"), "maxProperties": _at_most(dict),
    "x-kubernetes-list-type": _set,
}  # fmt: skip
