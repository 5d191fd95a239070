"""Tables and partial metadata: the forms in which kubectl reads lists. Knows no kind; cells are the row's columns'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column, since
from parkube.controlplane.registry.resource import Column, Resource
from parkube.kubeapi.errors import BadRequest, Obj

_DEFAULT = (NAME, AGE)
SCALE = (
    NAME, column("Desired", at("spec", "replicas", default=0), "integer"),
    column("Available", at("status", "replicas", default=0), "integer"), AGE,
)  # fmt: skip
"""The columns of every kind's scale subresource."""


def columns_of(row: Resource) -> tuple[Column, ...]:
    """The row's columns, Name first; Name and Age where it has none."""
    if not row.columns:
        return _DEFAULT
    if not any(column.name.lower() == "name" for column in row.columns):
        return (NAME, *row.columns)
    return row.columns


def definitions(columns: Iterable[Column]) -> list[Obj]:
    """The `columnDefinitions` of a Table."""
    return [
        {"name": c.name, "type": c.type, "format": c.format, "description": c.description or c.name,
         "priority": c.priority}
        for c in columns
    ]  # fmt: skip


def partial(obj: Obj, version: str = "v1") -> Obj:
    """The PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata", "apiVersion": f"meta.k8s.io/{version}", "metadata": obj.get("metadata") or {},
    }  # fmt: skip


def _date(value: object) -> object:
    """A printer column of dates shows how long ago; what is no time stays as it is."""
    text = since(value)
    return value if value and text == "<unknown>" else text


class Tabulator:
    """Makes Tables of one resource for one request. `include`: None, Metadata or Object."""

    def __init__(self, columns: Sequence[Column], version: str, include: str) -> None:
        if include not in ("", "None", "Metadata", "Object"):
            raise BadRequest(f'unrecognized includeObject value: "{include}", must be one of None, Metadata, Object')
        self._columns = columns
        self._version = version or "v1"
        self._include = include or "Metadata"

    def table(self, objects: Iterable[Obj], metadata: Obj, *, headers: bool = True) -> Obj:
        """A Table of `objects`."""
        return {
            "kind": "Table", "apiVersion": f"meta.k8s.io/{self._version}", "metadata": metadata,
            "columnDefinitions": definitions(self._columns) if headers else None,
            "rows": self.lines(objects),
        }  # fmt: skip

    def lines(self, objects: Iterable[Obj]) -> list[Obj]:
        """The rows of `objects`."""
        return [self._line(obj) for obj in objects]

    def _line(self, obj: Obj) -> Obj:
        cells = []
        for each in self._columns:
            try:
                value = each.cell(obj)
            except Exception:  # an object stored before its schema got stricter must not break every list
                value = "<invalid>"
            cells.append(_date(value) if each.type == "date" else value)
        line: Obj = {"cells": cells}
        if self._include == "Object":
            line["object"] = obj
        elif self._include != "None":
            line["object"] = partial(obj, self._version)
        return line
