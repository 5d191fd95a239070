"""How a module of kinds writes its rows: short, with what nearly all rows share filled in."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.resource import FieldLabel, Resource, Strategy
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj


def row(
    group: str, version: str, plural: str, kind: str, strategy: Strategy, *, namespaced: bool = True, **more: Any
) -> Resource:
    """A row; `short` is a string of short names, columns default to NAME and AGE."""
    short = more.pop("short", "")
    more.setdefault("columns", (NAME, AGE))
    return Resource(
        GVR(group, version, plural), kind, kind.lower(), namespaced, strategy, short_names=tuple(short.split()), **more
    )


def virtual(group: str, version: str, plural: str, kind: str, *, namespaced: bool = False) -> Resource:
    """A row that is only created, and answered by a handler."""
    return Resource(
        GVR(group, version, plural), kind, kind.lower(), namespaced, Strategy(), verbs=("create",), virtual=True
    )


def label(path: str, default: str = "") -> FieldLabel:
    """A field selector on a string field at a dotted path."""
    parts = tuple(path.split("."))

    def of(obj: Obj) -> str:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return default
        return str(value).lower() if isinstance(value, bool) else str(value)

    return FieldLabel(path, of)
