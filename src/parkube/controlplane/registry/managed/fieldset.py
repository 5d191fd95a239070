"""Sets of fields in the form `FieldsV1`: trees whose keys are path elements. Pure.

`f:name` is a field, `k:{"name":"web"}` an item of a list by its keys, `v:"x"` an item of a set, `i:0` one by index.
A node without children is itself a member of the set; one with children is a member when it has the key `.`.
Sets are never changed in place: what they share stays true.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

Fields = dict[str, Any]
MEMBER = "."


def is_member(node: Fields) -> bool:
    """Whether the node's own path is in the set."""
    return not node or MEMBER in node


def _children(node: Fields) -> Fields:
    return {key: below for key, below in node.items() if key != MEMBER} if MEMBER in node else node


def _node(member: bool, children: Fields) -> Fields | None:
    """A node, or None when nothing of it is left."""
    if not children:
        return {} if member else None
    return {MEMBER: {}, **children} if member else children


def union(one: Fields, other: Fields) -> Fields:
    """What is in either."""
    if not one or not other:
        return one or other
    out = dict(one)
    for key, node in other.items():
        mine = out.get(key)
        if mine is None:
            out[key] = node
        elif mine is not node and mine != node:
            below = union(_children(mine), _children(node))
            out[key] = _node(is_member(mine) or is_member(node), below) or {}
    return out


def difference(one: Fields, other: Fields) -> Fields:
    """What is in the first alone, path by path: that a parent is in the second takes nothing from its children."""
    if not one or not other:
        return one
    out: Fields = {}
    for key, node in one.items():
        taken = other.get(key)
        if taken is None:
            out[key] = node
            continue
        member = is_member(node) and not is_member(taken)
        left = _node(member, difference(_children(node), _children(taken)))
        if left is not None:
            out[key] = left
    return out


def intersection(one: Fields, other: Fields) -> Fields:
    """What is in both."""
    out: Fields = {}
    for key, node in one.items():
        theirs = other.get(key)
        if theirs is not None:
            both = _node(is_member(node) and is_member(theirs), intersection(_children(node), _children(theirs)))
            if both is not None:
                out[key] = both
    return out


def paths(fields: Fields, before: str = "") -> Iterator[str]:
    """The members as people read them: `.spec.containers[name="web"].image`."""
    for key, node in sorted(fields.items()):
        if key != MEMBER:
            path = before + _shown(key)
            if is_member(node):
                yield path
            yield from paths(node, path)


def _shown(element: str) -> str:
    mark, _, rest = element.partition(":")
    if mark == "f":
        return f".{rest}"
    if mark == "k":
        keys: dict[str, Any] = orjson.loads(rest)
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in sorted(keys.items())) + "]"
    return f"[={rest}]" if mark == "v" else f"[{rest}]"
