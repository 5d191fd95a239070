"""The wire format: bytes into the object that the same client would have sent as JSON. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from parkube.controlplane.apiserver.protobuf.tables import MAGIC, fields_of, message_of
from parkube.kubeapi.errors import Obj

_DEPTH = 64
_GO_ZERO = datetime(1, 1, 1, tzinfo=UTC)  # what Go's clients write for no time
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ZERO: dict[str, Any] = {"s": "", "i": 0, "b": False, "d": 0.0, "y": ""}


class ProtobufError(Exception):
    """The bytes are not such an object; the message says why."""


def decode(body: bytes) -> Obj:
    """The object in a body of `application/vnd.kubernetes.protobuf`. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("it does not begin with the Kubernetes prefix")
    api_version = kind = ""
    raw = b""
    for number, value in _walk(body[len(MAGIC) :]):
        if number == 1:
            parts = {n: _text(v) for n, v in _walk(_bytes(value))}
            api_version, kind = parts.get(1, ""), parts.get(2, "")
        elif number == 2:
            raw = _bytes(value)
    name = message_of(api_version, kind)
    if not name:
        raise ProtobufError(f"{kind} in version {api_version!r} is not read in this encoding: send JSON")
    return {"apiVersion": api_version, "kind": kind, **_message(name, raw, 0)}


def _message(name: str, data: bytes, depth: int) -> Obj:
    if depth > _DEPTH:
        raise ProtobufError("it is nested too deeply")
    fields = fields_of(name)
    found: Obj = {}
    for number, value in _walk(data):
        field = fields.get(number)
        if field is None:
            continue  # a newer client's field
        if field.mark == "%":
            entry = dict(_walk(_bytes(value)))
            item = entry.get(2)
            decoded = _value(field.type, item, depth) if item is not None else _ZERO.get(field.type, {})
            found.setdefault(field.name, {})[_text(entry.get(1, b""))] = decoded
        elif field.mark == "*":
            found.setdefault(field.name, []).extend(_many(field.type, value, depth))
        else:
            decoded = _value(field.type, value, depth)
            if field.inline:
                found.update(decoded)
            elif decoded is not None and not (field.droppable and decoded in ("", 0, {})):
                found[field.name] = decoded
    return found


def _many(kind: str, value: int | bytes, depth: int) -> list[Any]:
    """One entry of a repeated field, or several where numbers are packed."""
    if kind in ("i", "b") and isinstance(value, bytes):
        packed, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            packed.append(_value(kind, number, depth))
        return packed
    return [_value(kind, value, depth)]


def _value(kind: str, value: int | bytes, depth: int) -> Any:
    if kind == "s":
        return _text(value)
    if kind == "y":
        return base64.b64encode(_bytes(value)).decode()
    if kind in ("i", "b"):
        if not isinstance(value, int):
            raise ProtobufError("a number is expected where bytes are")
        return bool(value) if kind == "b" else value - (1 << 64) if value >> 63 else value
    if kind == "d":
        return struct.unpack("<d", struct.pack("<Q", value))[0] if isinstance(value, int) else 0.0
    data = _bytes(value)
    special = _SPECIAL.get(kind)
    return special(data) if special is not None else _message(kind, data, depth + 1)


def _time(data: bytes, micro: bool = False) -> str | None:
    parts = dict(_walk(data))
    seconds, nanos = _value("i", parts.get(1, 0), 0), _value("i", parts.get(2, 0), 0)
    if not seconds and not nanos:
        return None
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    except OverflowError:
        raise ProtobufError("a time is out of range") from None
    if moment == _GO_ZERO and not nanos:
        return None
    return moment.isoformat(timespec="seconds")[:19] + (f".{nanos // 1000:06d}Z" if micro else "Z")


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_walk(data))
    if parts.get(1):
        return _text(parts.get(3, b""))
    return int(_value("i", parts.get(2, 0), 0))


def _raw(data: bytes) -> Any:
    raw = _bytes(dict(_walk(data)).get(1, b""))
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError as error:
        raise ProtobufError(f"an embedded object is not JSON: {error}") from None


def _micro_time(data: bytes) -> str | None:
    return _time(data, micro=True)


def _quantity(data: bytes) -> str:
    return _text(dict(_walk(data)).get(1, b"")) or "0"


def _extra(data: bytes) -> list[str]:
    return [_text(value) for number, value in _walk(data) if number == 1]


def _schema_or_bool(data: bytes) -> Any:
    parts = dict(_walk(data))
    return _message("apiextensions.JSONSchemaProps", _bytes(parts[2]), 1) if 2 in parts else bool(parts.get(1))


def _schema_or_schemas(data: bytes) -> Any:
    parts = list(_walk(data))
    many = [_message("apiextensions.JSONSchemaProps", _bytes(value), 1) for number, value in parts if number == 2]
    one = next((value for number, value in parts if number == 1), None)
    return _message("apiextensions.JSONSchemaProps", _bytes(one), 1) if one is not None else many


def _schema_or_names(data: bytes) -> Any:
    parts = list(_walk(data))
    one = next((value for number, value in parts if number == 1), None)
    if one is not None:
        return _message("apiextensions.JSONSchemaProps", _bytes(one), 1)
    return [_text(value) for number, value in parts if number == 2]


_SPECIAL: dict[str, Callable[[bytes], Any]] = {
    "meta.Time": _time, "meta.MicroTime": _micro_time, "intstr.IntOrString": _int_or_string,
    "resource.Quantity": _quantity, "runtime.RawExtension": _raw, "meta.FieldsV1": _raw, "apiextensions.JSON": _raw,
    "authentication.ExtraValue": _extra, "authorization.ExtraValue": _extra, "certificates.ExtraValue": _extra,
    "meta.Verbs": _extra, "apiextensions.JSONSchemaPropsOrBool": _schema_or_bool,
    "apiextensions.JSONSchemaPropsOrArray": _schema_or_schemas,
    "apiextensions.JSONSchemaPropsOrStringArray": _schema_or_names,
}  # fmt: skip


def _walk(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message as they stand: number, and an int or bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ProtobufError(f"wire type {wire} is not known")
        if at + size > end:
            raise ProtobufError("it is cut short")
        piece = data[at : at + size]
        at += size
        yield number, piece if wire == _BYTES else int.from_bytes(piece, "little")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtobufError("it is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ProtobufError("bytes are expected where a number is")


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        raise ProtobufError("a text is not UTF-8") from None
