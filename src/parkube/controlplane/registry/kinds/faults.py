"""Faults of a field in the API's own words (apimachinery's field.Error). Makes causes; judges nothing.

Paths are as the API writes them: `spec.containers[0].image`, `metadata.annotations[foo]`, `spec.ports[1]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from parkube.kubeapi.errors import Cause


def shown(value: Any) -> str:
    """A value inside a message: strings quoted, objects as JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def required(path: str, detail: str = "") -> Cause:
    """`Required value`."""
    return Cause("FieldValueRequired", f"Required value: {detail}" if detail else "Required value", path)


def invalid(path: str, value: Any, detail: str) -> Cause:
    """`Invalid value: "x": detail`."""
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}", path)


def unsupported(path: str, value: Any, supported: Iterable[str]) -> Cause:
    """`Unsupported value: "x": supported values: "a", "b"`."""
    listed = ", ".join(f'"{s}"' for s in sorted(supported))
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}", path)


def duplicate(path: str, value: Any) -> Cause:
    """`Duplicate value: "x"`."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", path)


def forbidden(path: str, detail: str) -> Cause:
    """`Forbidden: detail`."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", path)


def not_found(path: str, value: Any) -> Cause:
    """`Not found: "x"`: the field names something that is not there."""
    return Cause("FieldValueNotFound", f"Not found: {shown(value)}", path)


def too_long(path: str, most: int) -> Cause:
    """`Too long: may not be more than 63 bytes`."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {most} bytes", path)


def too_many(path: str, actual: int, most: int) -> Cause:
    """`Too many: 3: must have at most 2 items`."""
    return Cause("FieldValueTooMany", f"Too many: {actual}: must have at most {most} items", path)


def immutable(path: str, value: Any) -> Cause:
    """`Invalid value: …: field is immutable`."""
    return invalid(path, value, "field is immutable")
