"""The catalogue: every resource that is served, one row each, found by GVR or by storage. Holds rows, not objects.

Built-in rows come from `registry.kinds`; rows of CustomResourceDefinitions come and go while the server runs, and
whoever must know (watch caches, discovery, OpenAPI) subscribes with `on_change`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.client import GVR

Listener = Callable[[str, Resource], None]
"""Called with "added" or "removed" and the row."""


class Catalogue:
    """An ordered set of rows. Rows with the same GVR replace each other."""

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self._rows: dict[GVR, Resource] = {}
        self._listeners: list[Listener] = []
        self.generation = 0  # grows with every change, for caches of what is made from the whole
        for row in rows:
            self.add(row)

    def get(self, gvr: GVR) -> Resource | None:
        """The row served at `gvr`."""
        return self._rows.get(gvr)

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """The row whose objects say `apiVersion` and `kind`."""
        for row in self._rows.values():
            if row.kind == kind and row.api_version == api_version and not row.virtual:
                return row
        return None

    def sharing(self, stored_at: GVR) -> list[Resource]:
        """All rows whose objects lie under the keys of `stored_at`'s group and resource."""
        at = (stored_at.group, stored_at.resource)
        return [row for row in self._rows.values() if (row.stored_at.group, row.stored_at.resource) == at]

    def add(self, row: Resource) -> None:
        """Serve `row` from now on, instead of the one with its GVR, if any; listeners hear of both."""
        before = self._rows.get(row.gvr)
        self._rows[row.gvr] = row
        self.generation += 1
        if before is not None and before is not row:
            self._tell("removed", before)
        self._tell("added", row)

    def remove(self, gvr: GVR) -> Resource | None:
        """Stop serving `gvr`; the row that went, or None."""
        row = self._rows.pop(gvr, None)
        if row is not None:
            self.generation += 1
            self._tell("removed", row)
        return row

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Call `listener("added"|"removed", row)` after each change; returns the cancel."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _tell(self, what: str, row: Resource) -> None:
        for listener in list(self._listeners):
            listener(what, row)

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._rows.values()))

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, gvr: object) -> bool:
        return gvr in self._rows
