"""Values walked along a schema: what a configuration sets, what differs between two objects, one merged into another,
and what is taken out again. Pure; arguments are left alone, results may share their parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from parkube.controlplane.registry.managed.fieldset import MEMBER, Fields, is_member
from parkube.controlplane.registry.managed.nodes import LEAF, LIST, MAP, Node, NoKey
from parkube.kubeapi.errors import Obj

_ALWAYS_THERE = ("spec", "status", "metadata", "template", "strategy", "updateStrategy", "containers")
"""Containers that are written though nothing is in them, and so are nobody's."""
_SCALARS = frozenset((str, int, bool, float))


class Unfit(Exception):
    """A configuration does not fit its schema; the message names the place."""


class Difference(NamedTuple):
    """Sets of fields."""

    removed: Fields
    modified: Fields
    added: Fields


def fields_of(value: Obj, node: Node, path: str = "") -> Fields:
    """The fields that a configuration sets. Raises Unfit for what its schema does not know."""
    out: Fields = {}
    for key, item in value.items():
        if item is None:
            continue
        if node.kind == MAP and not node.takes(key):
            raise Unfit(f"{path}.{key}: field not declared in schema")
        below = _set_of(item, node.field(key), f"{path}.{key}")
        if below is not None:
            out[f"f:{key}"] = below
    return out


def _set_of(value: Any, node: Node, path: str) -> Fields | None:
    kind = node.kind_for(value)
    if kind == MAP:
        return fields_of(value, node, path) if value else {}
    if kind != LIST:
        return {}
    out: Fields = {}
    for at, item in enumerate(value):
        try:
            key = node.item_key(item)
        except NoKey as error:
            raise Unfit(f"{path}: element {at}: {error}") from None
        if key in out:
            raise Unfit(f"{path}: duplicate entries for key {key[2:]}")
        below = _set_of(item, node.element, f"{path}[{at}]")
        out[key] = {MEMBER: {}, **below} if below else {}
    return out or None


def compare(old: Obj, new: Obj, node: Node) -> Difference:
    """What is in `old` alone, in both but not the same, in `new` alone."""
    found = Difference({}, {}, {})
    _compare_maps(old, new, node, found)
    return found


def _compare_maps(old: Obj, new: Obj, node: Node, found: Difference) -> None:
    for key, value in new.items():
        before = old.get(key)
        if before is None:
            if value is not None:
                found.added[f"f:{key}"] = _whole(value, node.field(key), key)
        elif value is None:
            found.removed[f"f:{key}"] = _whole(before, node.field(key), key)
        elif before != value:
            _compare_values(f"f:{key}", before, value, node.field(key), found)
    for key, before in old.items():
        if key not in new and before is not None:
            found.removed[f"f:{key}"] = _whole(before, node.field(key), key)


def _compare_values(element: str, old: Any, new: Any, node: Node, found: Difference) -> None:
    kind = node.kind_for(new)
    if kind == LEAF or kind != node.kind_for(old):
        found.modified[element] = {}
        return
    below = Difference({}, {}, {})
    if kind == MAP:
        _compare_maps(old, new, node, below)
    else:
        _compare_lists(old, new, node, below)
    for mine, theirs in zip(found, below, strict=True):
        if theirs:
            mine[element] = theirs


def _compare_lists(old: list[Any], new: list[Any], node: Node, found: Difference) -> None:
    before, after = _indexed(old, node), _indexed(new, node)
    for key, value in after.items():
        if key not in before:
            found.added[key] = _whole(value, node.element, "")
        elif before[key] != value:
            _compare_values(key, before[key], value, node.element, found)
    for key, value in before.items():
        if key not in after:
            found.removed[key] = _whole(value, node.element, "")


def _indexed(items: list[Any], node: Node) -> dict[str, Any]:
    """Items by path element; the first of a kind, as the API has it where keys were not always unique."""
    found: dict[str, Any] = {}
    for item in items:
        try:
            found.setdefault(node.item_key(item), item)
        except NoKey:
            continue
    return found


def _whole(value: Any, node: Node, key: str) -> Fields:
    """A value that is all new, or all gone: its leaves, and the containers that came or went with them."""
    if value.__class__ in _SCALARS:
        return {}
    kind = node.kind_for(value)
    if kind == LEAF or not value:
        return {}
    out: Fields = {} if key in _ALWAYS_THERE else {MEMBER: {}}
    if kind == MAP:
        for name, item in value.items():
            if item is not None:
                out[f"f:{name}"] = _whole(item, node.field(name), name)
    else:
        for element, item in _indexed(value, node).items():
            out[element] = _whole(item, node.element, "")
    return {} if len(out) == 1 and MEMBER in out else out


def merge(live: Any, config: Any, node: Node) -> Any:
    """`config` laid over `live`: maps and keyed lists item by item, all else as a whole."""
    kind = node.kind_for(config)
    if kind == LEAF or kind != node.kind_for(live):
        return _without_nulls(config)
    if kind == MAP:
        out = dict(live)
        for key, value in config.items():
            if value is not None:
                out[key] = merge(live.get(key), value, node.field(key))
        return out
    return _merge_lists(live, config, node)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _merge_lists(live: list[Any], config: list[Any], node: Node) -> list[Any]:
    """The live order where only the live list has an item, the configuration's for what it names."""
    before, wanted = _indexed(live, node), _indexed(config, node)
    out: list[Any] = []
    ordered = iter(wanted.items())
    for item in live:
        try:
            key = node.item_key(item)
        except NoKey:
            key = ""
        if key not in wanted:
            out.append(item)
            continue
        for name, value in ordered:  # up to the next that both have
            out.append(merge(before[name], value, node.element) if name in before else _without_nulls(value))
            if name in before:
                break
    out.extend(
        merge(before[name], value, node.element) if name in before else _without_nulls(value) for name, value in ordered
    )
    return out


def remove(value: Any, gone: Fields, node: Node) -> Any:
    """`value` without the members of `gone` and all below them."""
    kind = node.kind_for(value)
    if kind == MAP:
        out = {}
        for key, item in value.items():
            below = gone.get(f"f:{key}")
            if below is None:
                out[key] = item
            elif not is_member(below):
                out[key] = remove(item, below, node.field(key))
        return out
    if kind != LIST:
        return value
    kept = []
    for item in value:
        try:
            below = gone.get(node.item_key(item))
        except NoKey:
            below = None
        if below is None:
            kept.append(item)
        elif not is_member(below):
            kept.append(remove(item, below, node.element))
    return kept


def with_parents(fields: Fields, node: Node) -> Fields:
    """The set with every field that the schema names and that has members below it."""
    out: Fields = {}
    for key, below in fields.items():
        if key == MEMBER:
            out[key] = below
            continue
        name = key[2:]
        inner = node.field(name) if key.startswith("f:") else node.element
        grown = with_parents(below, inner)
        if grown and MEMBER not in grown and key.startswith("f:") and node.named(name):
            grown = {MEMBER: {}, **grown}
        out[key] = grown
    return out
