"""The wire format: an object, a list or a watch event into bytes. Pure.

Each message is compiled once, when first needed, into a function over the object's JSON form; what the message has no
field for is left out, as `kind` and `apiVersion` are: those stand in the envelope.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import orjson

from parkube.controlplane.apiserver.protobuf.tables import MAGIC, Field, fields_of, message_of
from parkube.kubeapi.errors import Obj

Write = Callable[[Any], bytes]
"""A value to the bytes of its field's content."""
Put = Callable[[list[bytes], Any], None]
"""Appends a field, its tag included."""


def encode(obj: Obj) -> bytes:
    """An object in the body form of `application/vnd.kubernetes.protobuf`. Raises KeyError when its kind has no
    message; ask `message_of` first."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
    return _envelope(api_version, kind, _message(message_of(api_version, kind))(obj))


def encode_items(api_version: str, kind: str, objects: Iterable[Obj]) -> bytes:
    """Some items of a list."""
    write = _message(message_of(api_version, kind))
    return b"".join([_bytes_field(2, write(obj)) for obj in objects])


def encode_list(api_version: str, kind: str, metadata: Obj, items: bytes) -> bytes:
    """A list around its items as `encode_items` wrote them."""
    return _envelope(api_version, kind, _bytes_field(1, _message("meta.ListMeta")(metadata)) + items)


def encode_event(kind: str, obj: Obj) -> bytes:
    """A watch event as one frame: its length in four bytes, then the event with the object in its envelope."""
    body = _bytes_field(1, kind.encode()) + _bytes_field(2, _bytes_field(1, encode(obj)))
    return len(body).to_bytes(4, "big") + body


def _envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    about = _bytes_field(1, api_version.encode()) + _bytes_field(2, kind.encode())
    return b"".join((MAGIC, _bytes_field(1, about), _bytes_field(2, raw), b"\x1a\x00\x22\x00"))


def _varint(number: int) -> bytes:
    if 0 <= number < 0x80:
        return number.to_bytes(1, "little")
    number &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes_field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


# -- values


def _text(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else str(value).encode()


def _base64(value: Any) -> bytes:
    return base64.b64decode(value)


def _int(value: Any) -> bytes:
    return _varint(int(value))


def _bool(value: Any) -> bytes:
    return b"\x01" if value else b"\x00"


def _double(value: Any) -> bytes:
    return struct.pack("<d", value)


def _time(value: Any) -> bytes:
    try:
        moment = datetime.fromisoformat(value)
        seconds = int(moment.replace(microsecond=0).timestamp())
    except (ValueError, OverflowError):  # a day that no calendar has, stored before it was refused: no time
        return b""
    return b"\x08" + _varint(seconds) + b"\x10" + _varint(moment.microsecond * 1000)


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _bytes_field(3, value.encode())
    return b"\x08\x00\x10" + _varint(int(value)) + b"\x1a\x00"


def _quantity(value: Any) -> bytes:
    return _bytes_field(1, _text(value))


def _raw(value: Any) -> bytes:
    return _bytes_field(1, orjson.dumps(value))


def _fields(value: Any) -> bytes:
    """A set of fields, in the order in which Go's clients write one that they have read as JSON."""
    return _bytes_field(1, orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def _strings(value: Any) -> bytes:
    return b"".join([_bytes_field(1, item.encode()) for item in value])


def _schema(number: int, value: Any) -> bytes:
    return _bytes_field(number, _message("apiextensions.JSONSchemaProps")(value))


def _schema_or_bool(value: Any) -> bytes:
    return b"\x08" + _bool(value) if isinstance(value, bool) else b"\x08\x01" + _schema(2, value)


def _schema_or_schemas(value: Any) -> bytes:
    return _schema(1, value) if isinstance(value, dict) else b"".join([_schema(2, one) for one in value])


def _schema_or_names(value: Any) -> bytes:
    if isinstance(value, dict):
        return _schema(1, value)
    return b"".join([_bytes_field(2, name.encode()) for name in value])


_SCALAR: dict[str, tuple[int, Write]] = {
    "s": (2, _text), "y": (2, _base64), "i": (0, _int), "b": (0, _bool), "d": (1, _double),
}  # fmt: skip
_SPECIAL: dict[str, Write] = {
    "meta.Time": _time, "meta.MicroTime": _time, "intstr.IntOrString": _int_or_string, "resource.Quantity": _quantity,
    "runtime.RawExtension": _raw, "meta.FieldsV1": _fields, "apiextensions.JSON": _raw, "meta.Verbs": _strings,
    "authentication.ExtraValue": _strings, "authorization.ExtraValue": _strings, "certificates.ExtraValue": _strings,
    "apiextensions.JSONSchemaPropsOrBool": _schema_or_bool,
    "apiextensions.JSONSchemaPropsOrArray": _schema_or_schemas,
    "apiextensions.JSONSchemaPropsOrStringArray": _schema_or_names,
}  # fmt: skip


# -- messages

_compiled: dict[str, Write] = {}


def _message(name: str) -> Write:
    """The writer of a message; one that is being compiled is looked up again when it is used (schemas nest)."""
    found = _compiled.get(name)
    if found is not None:
        return found
    puts: dict[str, Put] = {}
    inlined: list[tuple[bytes, Write]] = []

    def write(obj: Any) -> bytes:
        out: list[bytes] = []
        for key, value in obj.items():
            if value is not None:
                put = puts.get(key)
                if put is not None:
                    put(out, value)
        for tag, inner in inlined:
            content = inner(obj)
            if content:
                out += (tag, _varint(len(content)), content)
        return b"".join(out)

    _compiled[name] = write
    for number, field in fields_of(name).items():
        if field.inline:
            inlined.append((_varint(number << 3 | 2), _message(field.type)))
        else:
            puts[field.name] = _put(number, field)
    return write


def _put(number: int, field: Field) -> Put:
    wire, write = _SCALAR.get(field.type) or (2, _SPECIAL.get(field.type) or _message(field.type))
    if field.mark == "%":
        return _put_map(number, wire, write)
    one = _put_bytes(number, write) if wire == 2 else _put_plain(number, wire, write)
    if not field.mark:
        return one

    def many(out: list[bytes], values: Any) -> None:
        for value in values:
            one(out, {} if value is None else value)

    return many


def _put_bytes(number: int, write: Write) -> Put:
    tag = _varint(number << 3 | 2)
    if write is _text:

        def put_text(out: list[bytes], value: Any) -> None:
            content = value.encode()
            out += (tag, _varint(len(content)), content)

        return put_text

    def put(out: list[bytes], value: Any) -> None:
        content = write(value)
        out += (tag, _varint(len(content)), content)

    return put


def _put_plain(number: int, wire: int, write: Write) -> Put:
    tag = _varint(number << 3 | wire)

    def put(out: list[bytes], value: Any) -> None:
        out += (tag, write(value))

    return put


def _put_map(number: int, wire: int, write: Write) -> Put:
    tag, value_tag = _varint(number << 3 | 2), _varint(2 << 3 | wire)

    def put(out: list[bytes], values: Any) -> None:
        for key, value in values.items():
            name, content = key.encode(), b"" if value is None else write(value)
            size = _varint(len(content)) if wire == 2 else b""
            entry = b"".join((b"\x0a", _varint(len(name)), name, value_tag, size, content))
            out += (tag, _varint(len(entry)), entry)

    return put
