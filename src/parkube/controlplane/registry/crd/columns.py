"""Printer columns of a custom resource: `additionalPrinterColumns` turned into the catalogue's columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import seconds_of, since
from parkube.controlplane.registry.crd.jsonpath import Finder, compile_path
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


def columns_of(version: Obj) -> tuple[Column, ...]:
    """NAME and what one version of a definition declares; AGE where it declares nothing."""
    declared = version.get("additionalPrinterColumns")
    if not declared:
        return (NAME, AGE._replace(type="date"))
    return (NAME, *map(_column, declared))


def _column(declared: Obj) -> Column:
    kind = declared["type"]
    path = declared["jsonPath"]
    find = compile_path(path)
    return Column(
        declared["name"], kind, _CELLS.get(kind, _text)(find), declared.get("format") or "",
        declared.get("description") or f"Custom resource definition column (in JSONPath format): {path}",
        declared.get("priority") or 0,
    )  # fmt: skip


def _text(find: Finder) -> Callable[[Obj], Any]:
    def cell(obj: Obj) -> Any:
        found = find(obj)
        return " ".join(map(_shown, found)) if found else None

    return cell


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def _number(find: Finder) -> Callable[[Obj], Any]:
    def cell(obj: Obj) -> Any:
        found = find(obj)
        good = found and isinstance(found[0], (int, float)) and not isinstance(found[0], bool)
        return found[0] if good else None

    return cell


def _integer(find: Finder) -> Callable[[Obj], Any]:
    number = _number(find)

    def cell(obj: Obj) -> Any:
        value = number(obj)
        return None if value is None else int(value)

    return cell


def _boolean(find: Finder) -> Callable[[Obj], Any]:
    def cell(obj: Obj) -> Any:
        found = find(obj)
        return found[0] if found and isinstance(found[0], bool) else None

    return cell


def _date(find: Finder) -> Callable[[Obj], Any]:
    def cell(obj: Obj) -> Any:
        found = find(obj)
        if not found or found[0] is None:
            return None
        return "<invalid>" if seconds_of(found[0]) is None else since(found[0])

    return cell


_CELLS: dict[str, Callable[[Finder], Callable[[Obj], Any]]] = {
    "integer": _integer, "number": _number, "boolean": _boolean, "date": _date, "string": _text,
}  # fmt: skip
