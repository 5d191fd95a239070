"""An OpenAPI v2 document in protobuf, as gnostic's `OpenAPIv2.proto` numbers its fields. Writes; does not read.

Two documents written one after the other are one document with the paths and definitions of both: that is what
protobuf says of repeated fields, and how custom resources are added to the built-in kinds without parsing those.
Source: https://github.com/google/gnostic, openapiv2/OpenAPIv2.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import orjson

from parkube.kubeapi.errors import Obj

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _string(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _bool(number: int, value: bool) -> bytes:
    return _varint(number << 3) + b"\x01" if value else b""


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value & (1 << 64) - 1)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", float(value))


def _any(value: Any) -> bytes:
    """gnostic's Any, whose readers look at its YAML; JSON is YAML."""
    return _string(2, orjson.dumps(value).decode() + "\n")


def _named(number: int, name: str, body: bytes) -> bytes:
    return _message(number, _string(1, name) + _message(2, body))


_Writer = Callable[[int, Any], bytes]


def _strings(number: int, values: list[str]) -> bytes:
    return b"".join(_string(number, value) for value in values)


def _type(number: int, value: Any) -> bytes:
    return _message(number, _strings(1, [value] if isinstance(value, str) else value))


def _additional(number: int, value: Any) -> bytes:
    body = _varint(2 << 3) + (b"\x01" if value else b"\x00") if isinstance(value, bool) else _message(1, schema(value))
    return _message(number, body)


def _properties(number: int, value: Obj) -> bytes:
    return _message(number, b"".join(_named(1, name, schema(body)) for name, body in value.items()))


_SCHEMA: dict[str, tuple[int, _Writer]] = {
    "$ref": (1, _string), "format": (2, _string), "title": (3, _string), "description": (4, _string),
    "default": (5, lambda number, value: _message(number, _any(value))), "multipleOf": (6, _double),
    "maximum": (7, _double), "exclusiveMaximum": (8, _bool), "minimum": (9, _double), "exclusiveMinimum": (10, _bool),
    "maxLength": (11, _int), "minLength": (12, _int), "pattern": (13, _string), "maxItems": (14, _int),
    "minItems": (15, _int), "uniqueItems": (16, _bool), "maxProperties": (17, _int), "minProperties": (18, _int),
    "required": (19, _strings),
    "enum": (20, lambda number, values: b"".join(_message(number, _any(value)) for value in values)),
    "additionalProperties": (21, _additional), "type": (22, _type),
    "items": (23, lambda number, value: _message(number, _message(1, schema(value)))),
    "allOf": (24, lambda number, values: b"".join(_message(number, schema(value)) for value in values)),
    "properties": (25, _properties),
}  # fmt: skip


def _extensions(number: int, node: Obj) -> bytes:
    found = [(key, value) for key, value in node.items() if key.startswith("x-")]
    return b"".join(_named(number, key, _any(value)) for key, value in found)


def schema(node: Obj) -> bytes:
    """A Schema message."""
    parts = [write(number, node[key]) for key, (number, write) in _SCHEMA.items() if key in node]
    return b"".join(parts) + _extensions(31, node)


def _parameter(node: Obj) -> bytes:
    if node["in"] == "body":
        body = _string(2, node["name"]) + _string(3, "body") + _bool(4, node.get("required", False))
        parameter = _message(1, body + _message(5, schema(node["schema"])))
    else:
        rest = _string(2, node["in"]) + _string(3, node.get("description", "")) + _string(4, node["name"])
        required = _bool(1, node.get("required", False))
        if node["in"] == "path":
            parameter = _message(2, _message(4, required + rest + _string(5, node["type"])))
        else:
            parameter = _message(2, _message(3, required + rest + _string(6, node["type"])))
    return _message(1, parameter)  # ParametersItem.parameter


def _responses(node: Obj) -> bytes:
    out = b""
    for code, answer in node.items():
        body = _string(1, answer.get("description", ""))
        if "schema" in answer:
            body += _message(2, _message(1, schema(answer["schema"])))
        out += _named(1, code, _message(1, body))
    return out


def _operation(node: Obj) -> bytes:
    return b"".join((
        _string(5, node["operationId"]), _strings(6, node["produces"]), _strings(7, node["consumes"]),
        b"".join(_message(8, _parameter(one)) for one in node["parameters"]),
        _message(9, _responses(node["responses"])),
        _strings(10, node["schemes"]), _extensions(13, node),
    ))  # fmt: skip


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path_item(node: Obj) -> bytes:
    out = b"".join(_message(number, _operation(node[method])) for method, number in _METHODS.items() if method in node)
    return out + b"".join(_message(9, _parameter(one)) for one in node.get("parameters", ()))


def head(node: Obj) -> bytes:
    """The beginning of a Document: its version and info."""
    info = node["info"]
    return _string(1, node["swagger"]) + _message(2, _string(1, info["title"]) + _string(2, info["version"]))


def body(paths: dict[str, Obj], definitions: dict[str, Obj]) -> bytes:
    """The rest of a Document: paths and definitions."""
    named = b"".join(_named(2, path, _path_item(item)) for path, item in paths.items())
    schemas = b"".join(_named(1, name, schema(one)) for name, one in definitions.items())
    return _message(8, named) + _message(9, schemas)
