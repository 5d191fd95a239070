"""Strategic merge: lists merged by their items' keys, and the directives `$patch`, `$retainKeys`,
`$deleteFromPrimitiveList/…` and `$setElementOrder/…`. Pure; it knows a schema only through `PatchShape`.

Source: Kubernetes API conventions, "Strategic Merge Patch in the Kubernetes API Server".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from parkube.kubeapi.errors import Obj

_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_NO_FIELDS: Mapping[str, Any] = {}


class StrategicError(ValueError):
    """A directive makes no sense where it stands."""


class PatchShape(Protocol):
    """What merging must know of a field."""

    patch_key: str  # the key by which items of a list are one and the same; empty for primitives
    patch_strategy: str  # "merge", "replace", "retainKeys", "merge,retainKeys"; empty: replace

    @property
    def fields(self) -> Mapping[str, Any]:
        """The shapes of an object's fields."""
        ...

    @property
    def items(self) -> Any:
        """The shape of a list's items or a map's values, or None."""
        ...


def merge(obj: Any, patch: Obj, shape: PatchShape | None) -> Any:
    """`patch` merged into `obj`, which is changed."""
    directive = patch.pop("$patch", None)
    if directive == "replace":
        return _plain(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise StrategicError(f"unknown $patch {directive!r}")
    if not isinstance(obj, dict):
        obj = {}
    retained = patch.pop("$retainKeys", None)
    if retained is not None:
        if not isinstance(retained, list):
            raise StrategicError("$retainKeys must be a list")
        for key in [key for key in obj if key not in retained]:
            del obj[key]
    orders = {key[len(_ORDER) :]: patch.pop(key) for key in list(patch) if key.startswith(_ORDER)}
    for key in [key for key in patch if key.startswith(_DELETE_PRIMITIVE)]:
        _delete_primitives(obj, key[len(_DELETE_PRIMITIVE) :], patch.pop(key))
    for key, value in patch.items():
        _merge_field(obj, key, value, _field(shape, key), orders.get(key))
    for key, order in orders.items():
        if key not in patch and isinstance(obj.get(key), list):
            obj[key] = _ordered(obj[key], order, obj[key], _key_of(_field(shape, key)))
    return obj


def _field(shape: PatchShape | None, key: str) -> PatchShape | None:
    if shape is None:
        return None
    found: PatchShape | None = (shape.fields or _NO_FIELDS).get(key)
    return found if found is not None else shape.items


def _key_of(shape: PatchShape | None) -> str:
    return shape.patch_key if shape is not None else ""


def _merges(shape: PatchShape | None) -> bool:
    return shape is not None and "merge" in shape.patch_strategy.split(",")


def _merge_field(obj: Obj, key: str, value: Any, shape: PatchShape | None, order: Any) -> None:
    if value is None:
        obj.pop(key, None)
    elif isinstance(value, dict):
        if value.get("$patch") == "delete":
            obj.pop(key, None)
        elif shape is not None and "replace" in shape.patch_strategy.split(","):
            obj[key] = _plain(value)
        else:
            obj[key] = merge(obj.get(key) or {}, value, shape)
    elif isinstance(value, list) and _merges(shape) and isinstance(obj.get(key), list):
        obj[key] = _merge_list(obj[key], value, shape, order)
    elif isinstance(value, list):
        obj[key] = _fresh_list(value)
    else:
        obj[key] = value


def _fresh_list(patch: list[Any]) -> list[Any]:
    """A list from a patch where there is none to merge with, or it replaces what is there."""
    return [_plain(item) for item in patch if not (isinstance(item, dict) and item.get("$patch") is not None)]


def _plain(value: Any) -> Any:
    """A value of a patch as it is stored: without directives and nulls."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None and not k.startswith("$")}
    return _fresh_list(value) if isinstance(value, list) else value


def _merge_list(now: list[Any], patch: list[Any], shape: PatchShape | None, order: Any) -> list[Any]:
    key, item_shape = _key_of(shape), shape.items if shape is not None else None
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return _fresh_list(patch)
    if not key or not all(isinstance(item, dict) for item in (*now, *patch)):
        added = [item for at, item in enumerate(patch) if item not in now and item not in patch[:at]]
        return _ordered(now + added, patch if order is None else order, now, "")
    result = list(now)
    for item in patch:
        if key not in item:
            raise StrategicError(f"an item of the list has no merge key {key!r}: {item}")
        at = next((i for i, existing in enumerate(result) if existing.get(key) == item[key]), -1)
        if item.get("$patch") == "delete":
            result = [existing for existing in result if existing.get(key) != item[key]]
        elif at >= 0:
            result[at] = merge(result[at], item, item_shape)
        else:
            result.append(merge({}, item, item_shape))
    wanted = [item for item in patch if item.get("$patch") != "delete"]
    return _ordered(result, wanted if order is None else order, now, key)


def _ordered(items: list[Any], order: Any, before: list[Any], key: str) -> list[Any]:
    """By the patch's order; items of the server's that it does not name go in before the first named one that they
    came before. So what is new comes first, unless the order says otherwise."""
    if not isinstance(order, list):
        raise StrategicError("$setElementOrder must be a list")

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    rank = [identity(item) for item in order]
    named = sorted((item for item in items if identity(item) in rank), key=lambda item: rank.index(identity(item)))
    previous = [identity(item) for item in before]
    result: list[Any] = []
    for item in (one for one in items if identity(one) not in rank):
        place = previous.index(identity(item)) if identity(item) in previous else len(previous)
        while named and not (identity(named[0]) in previous and place < previous.index(identity(named[0]))):
            result.append(named.pop(0))
        result.append(item)
    return result + named


def _delete_primitives(obj: Obj, key: str, gone: Any) -> None:
    if not isinstance(gone, list):
        raise StrategicError(f"{_DELETE_PRIMITIVE}{key} must be a list")
    if isinstance(obj.get(key), list):
        obj[key] = [item for item in obj[key] if item not in gone]
