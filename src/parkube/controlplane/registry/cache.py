"""The watch cache of one stored resource: its objects as bytes, the recent events, and who watches them.

It is fed by the store's changes in order, and answers lists (now, or a little in the past) and watches without the
store. It does no I/O, and knows no kind.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import orjson

from parkube.controlplane.registry.fanout import Fanout
from parkube.controlplane.registry.resource import FieldLabel, Resource
from parkube.controlplane.registry.stored import Stored, fields_of, share, splice, unsplice
from parkube.controlplane.storage.port import Change, KeyValue
from parkube.kubeapi.errors import BadRequest, Obj
from parkube.kubeapi.selectors import FieldSelector, LabelSelector

INDEXED = "spec.nodeName"  # every node asks for its own pods
RING_EVENTS = 4096
RING_BYTES = 4 << 20

Match = Callable[[Stored], bool]


class Event(NamedTuple):
    """What one change did to one object. For DELETED `stored` is its last state at the deletion's revision."""

    type: str
    stored: Stored
    previous: Stored | None


class Hint(NamedTuple):
    """What a writer in this process knows of bytes that it just wrote, so that they need not be decoded again."""

    labels: dict[str, str]
    fields: tuple[str, ...]


class ResourceCache:
    """All objects under one prefix of the store."""

    def __init__(self, row: Resource, revision: int, *, ring_events: int = RING_EVENTS) -> None:
        self.prefix, self.namespaced = row.prefix, row.namespaced
        self.labels: tuple[FieldLabel, ...] = tuple(f for f in row.fields if not f.path.startswith("metadata."))
        self._paths = {label.path: at for at, label in enumerate(self.labels)}
        self._indexed_at = self._paths.get(INDEXED, -1)
        self.items: dict[str, Stored] = {}
        self._order: list[str] = []
        self._by_field: dict[str, dict[str, Stored]] = {}
        self._ring: deque[Event] = deque()
        self._ring_bytes = 0
        self._ring_events = ring_events
        self.floor = revision  # watches can start at this revision or later
        self._rewindable = revision  # lists can be put back to this revision or later
        self.fanout = Fanout(self._indexed_at)
        self.hints: dict[int, Hint] = {}

    # -- feeding

    def load(self, items: list[KeyValue]) -> None:
        """Take over what the store holds."""
        for item in sorted(items):
            self._set(self._stored(item.key, item.value, item.revision, None))

    def recall(self, changes: Sequence[Change], oldest: int) -> None:
        """Take over what happened after `oldest` until the objects were loaded, so that watches survive a restart."""
        self.floor = oldest
        for change in changes:
            before = None
            if change.previous is not None:
                before = self._stored(change.key, change.previous, 0, None)
            if change.value is not None:
                stored = self._stored(change.key, change.value, change.revision, None)
                self._remember(Event("MODIFIED" if before else "ADDED", stored, before))
            elif before is not None:
                self._remember(Event("DELETED", before.at(change.revision), before))

    def apply(self, change: Change) -> None:
        """One change of the store; watchers get it with the next flush."""
        before = self.items.get(change.key)
        if change.value is None:
            if before is None:
                return
            self._unset(before)
            event = Event("DELETED", before.at(change.revision), before)
        else:
            stored = self._stored(change.key, change.value, change.revision, before)
            self._set(stored, before)
            event = Event("MODIFIED" if before else "ADDED", stored, before)
        self._remember(event)
        self.fanout.deliver(event)

    def _stored(self, key: str, value: bytes, revision: int, before: Stored | None) -> Stored:
        hint = self.hints.pop(id(value), None)
        if hint is None:
            obj: Obj = orjson.loads(value)
            labels, fields = (obj.get("metadata") or {}).get("labels") or {}, fields_of(obj, self.labels)
        else:
            labels, fields = hint
        if before is not None:
            labels = before.labels if before.labels == labels else share(labels)
            fields = before.fields if before.fields == fields else fields
            return Stored(before.key, before.namespace, before.name, revision, splice(value, revision), labels, fields)
        namespace, _, name = key[len(self.prefix) :].rpartition("/")
        return Stored(key, namespace, name, revision, splice(value, revision), share(labels), fields)

    def _set(self, stored: Stored, before: Stored | None = None) -> None:
        key = stored.key
        self.items[key] = stored
        if before is None:
            insort(self._order, key)
        if self._indexed_at >= 0:
            field = stored.fields[self._indexed_at]
            if before is not None and before.fields[self._indexed_at] != field:
                self._unindex(before)
            self._by_field.setdefault(field, {})[key] = stored

    def _unset(self, stored: Stored) -> None:
        del self.items[stored.key]
        del self._order[bisect_left(self._order, stored.key)]
        if self._indexed_at >= 0:
            self._unindex(stored)

    def _unindex(self, stored: Stored) -> None:
        field = stored.fields[self._indexed_at]
        group = self._by_field[field]
        del group[stored.key]
        if not group:
            del self._by_field[field]

    def _remember(self, event: Event) -> None:
        ring = self._ring
        ring.append(event)
        self._ring_bytes += len(event.stored.value)
        while len(ring) > self._ring_events or (self._ring_bytes > RING_BYTES and len(ring) > 1):
            dropped = ring.popleft()
            self._ring_bytes -= len(dropped.stored.value)
            self.floor = dropped.stored.revision

    def decode(self, item: KeyValue) -> Stored:
        """An object as the store gave it, from the past perhaps."""
        return self._stored(item.key, item.value, item.revision, None)

    def unspliced(self) -> list[KeyValue]:
        """All objects as the store holds them."""
        return [KeyValue(key, unsplice(stored.value), stored.revision) for key, stored in self.items.items()]

    # -- asking

    def matcher(self, namespace: str, labels: LabelSelector, fields: FieldSelector) -> Match | None:
        """The filter for a query, None when everything matches. Raises BadRequest for an unknown field."""
        for term in fields.terms:
            if term.path not in self._paths and term.path not in ("metadata.name", "metadata.namespace"):
                raise BadRequest(f"field label not supported: {term.path}")
        if not namespace and labels.empty and fields.empty:
            return None
        terms = [(self._reader(term.path), term.value, term.equal) for term in fields.terms]

        def match(stored: Stored) -> bool:
            if namespace and stored.namespace != namespace:
                return False
            for read, value, equal in terms:
                if (read(stored) == value) is not equal:
                    return False
            return labels.empty or labels.matches(stored.labels)

        return match

    def _reader(self, path: str) -> Callable[[Stored], str]:
        if path == "metadata.name":
            return lambda stored: stored.name
        if path == "metadata.namespace":
            return lambda stored: stored.namespace
        at = self._paths[path]
        return lambda stored: stored.fields[at]

    def select(self, namespace: str, fields: FieldSelector, after: str = "") -> Iterator[Stored]:
        """What may match, by key, from after a key on: narrowed by namespace, name and the indexed field. Filter it."""
        name, node = fields.required("metadata.name"), fields.required(INDEXED)
        if name is not None and (namespace or not self.namespaced):
            key = f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"
            found = self.items.get(key)
            return iter((found,) if found is not None and key > after else ())
        if node is not None and self._indexed_at >= 0:
            group = self._by_field.get(node, {})
            return iter([group[key] for key in sorted(group) if key > after])
        return self._span(namespace, after)

    def _span(self, namespace: str, after: str) -> Iterator[Stored]:
        order, start, stop = self._order, 0, len(self._order)
        if namespace and self.namespaced:
            start = bisect_left(order, f"{self.prefix}{namespace}/")
            stop = bisect_left(order, f"{self.prefix}{namespace}0")  # "0" follows "/"
        if after:
            start = max(start, bisect_right(order, after))
        items = self.items
        return iter([items[key] for key in order[start:stop]])

    def since(self, revision: int) -> list[Event] | None:
        """The events after `revision`; None when they are no longer all held."""
        if revision < self.floor:
            return None
        found: list[Event] = []
        for event in reversed(self._ring):
            if event.stored.revision <= revision:
                break
            found.append(event)
        found.reverse()
        return found

    def as_of(self, revision: int) -> dict[str, Stored | None] | None:
        """What differs from now: keys changed after `revision`, with what they held then (None: absent then).
        None when the events are no longer all held."""
        events = self.since(revision) if revision >= self._rewindable else None
        if events is None:
            return None
        past: dict[str, Stored | None] = {}
        for event in events:
            past.setdefault(event.stored.key, event.previous)
        return past

    def __len__(self) -> int:
        return len(self.items)
