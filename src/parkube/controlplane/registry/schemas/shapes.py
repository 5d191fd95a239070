"""Shapes: schemas of built-in kinds compiled to checkers, and what strategic merge must know of each field.

`fast` says in one pass whether a value is as it should be, dropping nulls and empty optional lists and maps as the API
does (so that `ports: []` and no ports are one template); only when it says no does
`clean` walk again, with paths, to repair what may be repaired and to name every fault. Rules across fields, defaults
and enums are the strategies'; schemas of custom resources are `structural`'s.
Worded as Go's decoder words it, because that is what clients of the API have learnt to read.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from functools import lru_cache
from typing import Any

from parkube.kubeapi import quantities
from parkube.kubeapi.errors import Cause


class Findings:
    """What is wrong with one object."""

    __slots__ = ("missing", "mistyped", "unknown")

    def __init__(self) -> None:
        self.unknown: list[str] = []  # paths
        self.mistyped: list[Cause] = []
        self.missing: list[Cause] = []


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    words: dict[type, str] = {str: "string", dict: "object", list: "array"}
    return words.get(type(value), "null")


class Shape:
    """A node of a schema; this one takes any value."""

    __slots__ = ("go", "holder", "list_keys", "list_type", "map_type", "patch_key", "patch_strategy", "scalar")

    def __init__(self, go: str = "interface {}") -> None:
        self.go = go  # the type's name in messages
        self.scalar: type | None = None  # the one Python type that is right, when nothing more is to be checked
        self.holder: type | None = None  # list or dict, where an empty one is as good as none
        self.patch_key = self.patch_strategy = self.list_type = self.map_type = ""
        self.list_keys: tuple[str, ...] = ()

    @property
    def fields(self) -> dict[str, Shape]:
        """Shapes of an object's properties."""
        return {}

    @property
    def items(self) -> Shape | None:
        """The shape of a list's items or a map's values."""
        return None

    def marked(self, marks: dict[str, Any]) -> Shape:
        """This shape with a property's own patch and list marks (the `x-kubernetes-…` ones)."""
        keys = ("patch-merge-key", "patch-strategy", "list-type", "list-map-keys", "map-type")
        found = {key: marks["x-kubernetes-" + key] for key in keys if "x-kubernetes-" + key in marks}
        if not found:
            return self
        twin = self.twin()
        twin.patch_key = found.get("patch-merge-key", "")
        twin.patch_strategy = found.get("patch-strategy", "")
        twin.list_type = found.get("list-type", "")
        twin.map_type = found.get("map-type", self.map_type)
        twin.list_keys = tuple(found.get("list-map-keys", ()))
        return twin

    def twin(self) -> Shape:
        """Another shape that checks the same."""
        other = type(self).__new__(type(self))
        for klass in type(self).__mro__:
            for slot in getattr(klass, "__slots__", ()):
                if hasattr(self, slot):
                    setattr(other, slot, getattr(self, slot))
        return other

    def fast(self, value: Any) -> bool:
        """Whether all is well below `value`; nulls are dropped in place."""
        return True

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        """`value` repaired; faults go to `found`. `names` is `path` without indexes, as Go's messages have it."""
        return value

    def mistyped(self, value: Any, path: str, names: str, owner: str, found: Findings) -> None:
        """Note that `value` has another type than this one's."""
        number = f" {value}" if _word(value) == "number" and self.go.startswith("int") else ""
        where = f"Go struct field {owner}.{names}" if names else "Go value"
        text = f"json: cannot unmarshal {_word(value)}{number} into {where} of type {self.go}"
        found.mistyped.append(Cause("FieldValueTypeInvalid", text, path))


class Scalar(Shape):
    """A string or a boolean."""

    __slots__ = ()

    def __init__(self, go: str, kind: type) -> None:
        super().__init__(go)
        self.scalar = kind

    def fast(self, value: Any) -> bool:
        return type(value) is self.scalar

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if type(value) is not self.scalar:
            self.mistyped(value, path, names, owner, found)
        return value


class Number(Shape):
    """An integer of 32 or 64 bits, or a double."""

    __slots__ = ("high", "low", "whole")

    def __init__(self, go: str) -> None:
        super().__init__(go)
        self.whole = go != "float64"
        bits = 31 if go == "int32" else 63
        self.low, self.high = -(1 << bits), (1 << bits) - 1

    def fast(self, value: Any) -> bool:
        if type(value) is int:
            return self.low <= value <= self.high
        return not self.whole and type(value) is float

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if self.whole and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not self.fast(value):
            self.mistyped(value, path, names, owner, found)
        return value


class IntOrString(Shape):
    """A number or a name or a percentage."""

    __slots__ = ()

    def fast(self, value: Any) -> bool:
        return type(value) is int or type(value) is str

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not self.fast(value):
            self.mistyped(value, path, names, owner, found)
        return value


_QUANTITY = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)\Z")
_PLAIN = re.compile(r"(?:0|[1-9][0-9]*)(?:m|Ki|Mi|Gi|Ti)?\Z")


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str | None:
    """The form in which the API answers: `0.5` is `500m`; None when it is no quantity."""
    if not _QUANTITY.match(text):
        return None
    try:
        return str(quantities.canonical(text))
    except ValueError:
        return None


class Quantity(Shape):
    """An amount such as `500m` or `1Gi`; kept in canonical form."""

    __slots__ = ()

    def fast(self, value: Any) -> bool:
        return type(value) is str and (value == "1" or _canonical(value) == value)

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            self.mistyped(value, path, names, owner, found)
            return value
        canonical = _canonical(str(value))
        if canonical is None:
            text = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            found.mistyped.append(Cause("FieldValueTypeInvalid", f"{path}: {text}", path))
        return canonical


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


class Time(Shape):
    """An RFC 3339 time."""

    __slots__ = ()

    def fast(self, value: Any) -> bool:
        return type(value) is str and _TIME.match(value) is not None

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if not isinstance(value, str):
            self.mistyped(value, path, names, owner, found)
        elif not _TIME.match(value):
            text = f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse "{value}" as "2006"'
            found.mistyped.append(Cause("FieldValueTypeInvalid", f"{path}: {text}", path))
        return value


class Bytes(Shape):
    """Base64."""

    __slots__ = ()

    def fast(self, value: Any) -> bool:
        if type(value) is not str:
            return False
        try:
            a2b_base64(value, strict_mode=True) if value else None
        except (Base64Error, ValueError):
            return "\n" in value and self.fast(value.replace("\n", "").replace("\r", ""))
        return True

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if not isinstance(value, str):
            self.mistyped(value, path, names, owner, found)
        elif not self.fast(value):
            good = re.match(r"[A-Za-z0-9+/\r\n]*", value)
            text = f"illegal base64 data at input byte {good.end() if good else 0}"
            found.mistyped.append(Cause("FieldValueTypeInvalid", f"{path}: {text}", path))
        return value


class ListShape(Shape):
    """A list of one shape."""

    __slots__ = ("_items",)

    def __init__(self, items: Shape) -> None:
        super().__init__("[]" + items.go)
        self.holder = list
        self._items = items

    @property
    def items(self) -> Shape:
        return self._items

    def fast(self, value: Any) -> bool:
        if type(value) is not list:
            return False
        items = self._items
        scalar = items.scalar
        if scalar is not None:
            return all(type(item) is scalar for item in value)
        return all(map(items.fast, value))

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if not isinstance(value, list):
            self.mistyped(value, path, names, owner, found)
            return value
        return [
            self._items.clean(_zero(self._items) if item is None else item, f"{path}[{at}]", names, owner, found)
            for at, item in enumerate(value)
        ]


def _zero(shape: Shape) -> Any:
    """What Go makes of a null inside a list or a map."""
    if shape.scalar is not None:
        return shape.scalar()
    return {} if isinstance(shape, (ObjectShape, MapShape)) else None


class MapShape(Shape):
    """Free keys, values of one shape."""

    __slots__ = ("_items",)

    def __init__(self, items: Shape) -> None:
        super().__init__("map[string]" + items.go)
        self.holder = dict
        self._items = items

    @property
    def items(self) -> Shape:
        return self._items

    def fast(self, value: Any) -> bool:
        if type(value) is not dict:
            return False
        items = self._items
        scalar = items.scalar
        if scalar is not None:
            return all(type(item) is scalar for item in value.values())
        return all(map(items.fast, value.values()))

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if not isinstance(value, dict):
            self.mistyped(value, path, names, owner, found)
            return value
        for key, item in value.items():
            value[key] = self._items.clean(
                _zero(self._items) if item is None else item, f"{path}[{key}]", names, owner, found
            )
        return value


class ObjectShape(Shape):
    """Known fields; `open_` ones (a RawExtension) take any."""

    __slots__ = ("_fields", "mandatory", "name", "open_", "required")

    def __init__(self, go: str, name: str) -> None:
        super().__init__(go)
        self.name = name  # `PodSpec`
        self.open_ = False
        self.required: tuple[str, ...] = ()  # whose absence is a fault
        self.mandatory: tuple[str, ...] = ()  # that stay though empty
        self._fields: dict[str, Shape] = {}

    @property
    def fields(self) -> dict[str, Shape]:
        return self._fields

    def fast(self, value: Any) -> bool:
        if type(value) is not dict:
            return False
        if self.open_:
            return True
        fields, nothing = self._fields, False
        for key, item in value.items():
            shape = fields.get(key)
            if shape is None:
                return False
            scalar = shape.scalar
            if scalar is not None and type(item) is scalar:
                continue
            if not item and (item is None or type(item) is shape.holder):
                nothing = True
            elif not shape.fast(item):
                return False
        if nothing:
            self._drop(value)
        return all(map(value.__contains__, self.required))

    def _drop(self, value: Any) -> None:
        """Remove nulls, and empty lists and maps that need not be there."""
        for key, item in list(value.items()):
            if item is None or (not item and type(item) is self._fields[key].holder and key not in self.mandatory):
                del value[key]

    def clean(self, value: Any, path: str, names: str, owner: str, found: Findings) -> Any:
        if not isinstance(value, dict):
            self.mistyped(value, path, names, owner, found)
            return value
        if self.open_:
            return value
        prefix, dotted = (path + ".", names + ".") if path else ("", "")
        for key, item in list(value.items()):
            shape = self._fields.get(key)
            if shape is None:
                found.unknown.append(prefix + key)
                del value[key]
            elif item is not None:
                value[key] = shape.clean(item, prefix + key, dotted + key, self.name, found)
        self._drop(value)
        for key in self.required:
            if key not in value:
                found.missing.append(Cause("FieldValueRequired", "Required value", prefix + key))
        return value
