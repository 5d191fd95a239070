"""Protobuf's wire format over plain dicts, driven by small tables. Knows no message by name.

A table is a string such as `id=1:string labels=5:map envs=6:*KeyValue`: field name, number and type. Types: `string`,
`bytes`, `int` (every varint, two's complement 64 bit), `bool`, `map` (string to string), or the name of another
message; `*` marks a repeated field. Absent fields decode to nothing at all; defaults are not encoded.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

Message = dict[str, Any]
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """Bytes that are not the message they should be."""


class _Field(NamedTuple):
    name: str
    number: int
    type: str
    repeated: bool


class Codec:
    """Encodes and decodes the messages of one set of tables."""

    def __init__(self, tables: dict[str, str]) -> None:
        self._tables = tables
        self._fields = cache(self._parse)

    def _parse(self, message: str) -> tuple[dict[str, _Field], dict[int, _Field]]:
        by_name: dict[str, _Field] = {}
        for word in self._tables[message].split():
            name, _, rest = word.partition("=")
            number, _, kind = rest.partition(":")
            by_name[name] = _Field(name, int(number), kind.removeprefix("*"), kind.startswith("*"))
        return by_name, {field.number: field for field in by_name.values()}

    def encode(self, message: str, values: Message) -> bytes:
        """The bytes of `values`; a name that the table lacks is a `KeyError`."""
        out = bytearray()
        by_name = self._fields(message)[0]
        for name, value in values.items():
            field = by_name[name]
            if field.type == "map":
                for key, item in (value or {}).items():
                    self._put(out, field.number, self._pair(key, item))
            elif field.repeated:
                for item in value or ():
                    self._one(out, field, item)
            elif value is not None and (value or isinstance(value, dict)):
                self._one(out, field, value)
        return bytes(out)

    def _one(self, out: bytearray, field: _Field, value: Any) -> None:
        if field.type in ("int", "bool"):
            _varint(out, field.number << 3 | _VARINT)
            _varint(out, int(value) & 0xFFFFFFFFFFFFFFFF)
        elif field.type == "string":
            self._put(out, field.number, value.encode("utf-8", "surrogateescape"))
        elif field.type == "bytes":
            self._put(out, field.number, value)
        else:
            self._put(out, field.number, self.encode(field.type, value))

    @staticmethod
    def _put(out: bytearray, number: int, data: bytes) -> None:
        _varint(out, number << 3 | _BYTES)
        _varint(out, len(data))
        out += data

    @staticmethod
    def _pair(key: str, value: str) -> bytes:
        out = bytearray()
        Codec._put(out, 1, key.encode())
        Codec._put(out, 2, value.encode("utf-8", "surrogateescape"))
        return bytes(out)

    def decode(self, message: str, data: bytes) -> Message:
        """The fields present in `data`; unknown ones are skipped. Raises `WireError`."""
        try:
            return self._decode(message, memoryview(data))
        except (IndexError, UnicodeDecodeError) as error:
            raise WireError(f"{message}: cut short or not text") from error

    def _decode(self, message: str, data: memoryview) -> Message:
        by_number = self._fields(message)[1]
        result: Message = {}
        at, end = 0, len(data)
        while at < end:
            tag, at = _read_varint(data, at)
            kind = tag & 7
            raw: int | memoryview
            if kind == _VARINT:
                raw, at = _read_varint(data, at)
            elif kind == _BYTES:
                length, at = _read_varint(data, at)
                if at + length > end:
                    raise WireError(f"{message}: cut short")
                raw, at = data[at : at + length], at + length
            elif kind in (_FIXED32, _FIXED64):
                at += 4 if kind == _FIXED32 else 8
                continue
            else:
                raise WireError(f"{message}: wire type {kind}")
            field = by_number.get(tag >> 3)
            if field is not None:
                self._store(result, field, raw)
        return result

    def _store(self, result: Message, field: _Field, raw: int | memoryview) -> None:
        if isinstance(raw, int):
            if field.type not in ("int", "bool"):
                raise WireError(f"{field.name}: a number where {field.type} is due")
            value: Any = bool(raw) if field.type == "bool" else _signed(raw)
        elif field.type == "map":
            pair = _PAIR.decode("Pair", bytes(raw))
            result.setdefault(field.name, {})[pair.get("key", "")] = pair.get("value", "")
            return
        elif field.type == "string":
            value = str(raw, "utf-8", "surrogateescape")
        elif field.type == "bytes":
            value = bytes(raw)
        elif field.type in ("int", "bool"):
            result.setdefault(field.name, []).extend(_packed(raw))
            return
        else:
            value = self._decode(field.type, raw)
        if field.repeated:
            result.setdefault(field.name, []).append(value)
        else:
            result[field.name] = value


_PAIR = Codec({"Pair": "key=1:string value=2:string"})


def _varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise WireError("a number longer than 64 bits")


def _signed(value: int) -> int:
    value &= 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >> 63 else value


def _packed(raw: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(raw):
        value, at = _read_varint(raw, at)
        values.append(_signed(value))
    return values
