"""`metadata.managedFields`: the entries of an object's managers, and what an update does to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from parkube.controlplane.registry.managed.fieldset import Fields, difference, intersection, union
from parkube.controlplane.registry.managed.nodes import Node
from parkube.controlplane.registry.managed.walk import compare
from parkube.kubeapi.errors import Obj

Managed = list[Obj]
"""What `metadata.managedFields` holds."""
UPDATE, APPLY = "Update", "Apply"
MOST_UPDATERS, ANCIENT = 10, "ancient-changes"
STRIPPED: Fields = {
    "f:apiVersion": {}, "f:kind": {},
    "f:metadata": {".": {}} | {f"f:{name}": {} for name in (
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion",
    )},
}  # fmt: skip
"""What nobody manages."""
_SERVERS = frozenset(name[2:] for name in STRIPPED["f:metadata"] if name != ".")


class Writer(NamedTuple):
    """Who writes, through what, and when (a `meta/v1` Time)."""

    manager: str
    api_version: str
    subresource: str
    time: str


@dataclass(slots=True)
class Entry:
    """One manager's fields."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    fields: Fields
    time: str = ""

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """An applier is one and the same whatever version it applies in."""
        return (
            self.manager, self.operation, "" if self.operation == APPLY else self.api_version, self.subresource,
        )  # fmt: skip

    def encoded(self) -> Obj:
        """As it is on the wire."""
        found: Obj = {"manager": self.manager, "operation": self.operation, "apiVersion": self.api_version}
        if self.time:
            found["time"] = self.time
        found |= {"fieldsType": "FieldsV1", "fieldsV1": self.fields}
        if self.subresource:
            found["subresource"] = self.subresource
        return found


def decode(managed: Any) -> list[Entry] | None:
    """The entries of `metadata.managedFields`; None when they make no sense."""
    found = []
    for item in managed if isinstance(managed, list) else ():
        good = (
            isinstance(item, dict)
            and item.get("operation") in (UPDATE, APPLY)
            and item.get("apiVersion")
            and item.get("fieldsType") == "FieldsV1"
            and isinstance(item.get("fieldsV1", {}), dict)
        )
        if not good:
            return None
        found.append(Entry(
            item.get("manager") or "unknown", item["operation"], item["apiVersion"], item.get("subresource") or "",
            item.get("fieldsV1") or {}, item.get("time") or "",
        ))  # fmt: skip
    return found


def encode(entries: Iterable[Entry]) -> list[Obj]:
    """Appliers first, then by time."""
    ordered = sorted(
        (entry for entry in entries if entry.fields),
        key=lambda e: (e.operation, e.time, e.manager, e.api_version, e.subresource),
    )
    return [entry.encoded() for entry in ordered]


def base_of(given: Any, live: Sequence[Obj], subresource: str) -> list[Obj]:
    """The entries that an update starts from: those it brings, when they say anything; none when it brings an empty
    list or one empty entry, which is how they are cleared; else those that are there."""
    if subresource or given is None or given == live:
        return list(live)
    if given in ([], [{}]):
        return []
    return given if decode(given) else list(live)


def updated(base: Sequence[Obj], live: Obj, new: Obj, node: Node, writer: Writer, *, create: bool = False) -> list[Obj]:
    """The entries after `new` took the place of `live`. Objects without any stay so until something is applied."""
    if not base and not create:
        return []
    removed, modified, added = compare(_managed(live), _managed(new), node)
    touched = union(modified, added)
    if not touched and not removed:
        return list(base)
    mine = Entry(writer.manager, UPDATE, writer.api_version, writer.subresource, {}, writer.time)
    entries = []
    for entry in decode(base) or ():
        if entry.identity == mine.identity:
            mine.fields = entry.fields
            continue
        entry.fields = difference(difference(entry.fields, touched), removed)
        entries.append(entry)
    mine.fields = union(difference(mine.fields, removed), touched)
    return encode(_capped([*entries, mine]))


def _managed(obj: Obj) -> Obj:
    """The part of an object that can be managed."""
    found = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key not in _SERVERS}
    return {"metadata": metadata, **found} if metadata else found


def _capped(entries: list[Entry]) -> list[Entry]:
    """The oldest updates beyond ten are one entry for each version."""
    updaters = sorted((e for e in entries if e.operation == UPDATE and e.fields), key=lambda e: (e.time, e.manager))
    excess = len(updaters) - MOST_UPDATERS
    if excess <= 0:
        return entries
    buckets: dict[str, Entry] = {}
    gone: list[Entry] = []
    for entry in updaters:
        bucket = buckets.get(entry.api_version)
        if bucket is None:
            buckets[entry.api_version] = Entry(ANCIENT, UPDATE, entry.api_version, "", entry.fields, entry.time)
            gone.append(entry)
            continue
        bucket.fields, bucket.time = union(bucket.fields, entry.fields), entry.time
        gone.append(entry)
        excess -= 1
        if excess <= 0:
            break
    return [entry for entry in entries if entry not in gone] + list(buckets.values())


def touched_by_others(entries: Iterable[Entry], mine: Entry, touched: Fields) -> list[tuple[Entry, Fields]]:
    """Whose fields a change touches."""
    found = []
    for entry in entries:
        if entry is not mine and (both := intersection(entry.fields, touched)):
            found.append((entry, both))
    return found
