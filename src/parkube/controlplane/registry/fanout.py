"""Who watches one resource, found by what they ask for: one pod's event finds its one watcher among thousands.

    watching --cancel--> cancelled
        \\--fail (its resource went)--> told ERROR, cancelled

Items of one loop tick reach a sink in one call. Slow readers are the sink's to cut off; nothing waits here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.stored import Stored
from parkube.controlplane.registry.watching import Sink, WatchItem, bookmark, failure
from parkube.kubeapi.errors import ApiError

if TYPE_CHECKING:
    from parkube.controlplane.registry.cache import Event

log = logging.getLogger(__name__)

Bucket = tuple[str, ...]
ALL: Bucket = ()


class Watcher:
    """A running watch; the registry's `Subscription`."""

    __slots__ = ("_fanout", "_revision_of", "bookmarks", "bucket", "match", "pending", "resource", "sink")

    def __init__(
        self, fanout: Fanout, resource: Resource, bucket: Bucket, match: Callable[[Stored], bool] | None, sink: Sink,
        bookmarks: bool, revision_of: Callable[[], int],
    ) -> None:  # fmt: skip
        self._fanout: Fanout | None = fanout
        self.resource, self.bucket, self.match, self.sink = resource, bucket, match, sink
        self.bookmarks, self._revision_of = bookmarks, revision_of
        self.pending: list[WatchItem] = []

    @property
    def cancelled(self) -> bool:
        """Whether the watch ended."""
        return self._fanout is None

    def cancel(self) -> None:
        """No more items from now on."""
        if self._fanout is not None:
            self._fanout.remove(self)
            self._fanout = None
            self.pending = []

    def bookmark(self) -> WatchItem:
        """Where the watch stands: all that the sink has not been told yet comes after it."""
        revision = self.pending[0].revision - 1 if self.pending else self._revision_of()
        return bookmark(self.resource, revision)

    def push(self, items: Iterable[WatchItem]) -> None:
        """Tell the sink with the next flush."""
        if self._fanout is not None:
            if not self.pending:
                self._fanout.dirty(self)
            self.pending.extend(items)

    def flush(self) -> None:
        """Tell the sink now."""
        items, self.pending = self.pending, []
        if items and self._fanout is not None:
            try:
                self.sink(items)
            except Exception:
                log.exception("a watcher of %s failed and is cut off", self.resource.gvr.resource)
                self.cancel()


class Fanout:
    """The watchers of one stored resource."""

    def __init__(self, indexed_at: int) -> None:
        self._indexed_at = indexed_at
        self._buckets: dict[Bucket, dict[Watcher, None]] = {}
        self._dirty: list[Watcher] = []
        self._scheduled = False

    def bucket_for(self, namespace: str, name: str | None, node: str | None) -> Bucket:
        """The narrowest bucket in which a watcher hears all it asks for."""
        if name is not None:
            return ("name", namespace, name)
        if node is not None and self._indexed_at >= 0:
            return ("field", node)
        return ("namespace", namespace) if namespace else ALL

    def add(self, watcher: Watcher) -> None:
        """Tell it from now on."""
        self._buckets.setdefault(watcher.bucket, {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Tell it no more."""
        bucket = self._buckets.get(watcher.bucket)
        if bucket is not None and bucket.pop(watcher, watcher) is None and not bucket:
            del self._buckets[watcher.bucket]

    def watchers(self) -> list[Watcher]:
        """All of them."""
        return [watcher for bucket in self._buckets.values() for watcher in bucket]

    def fail(self, error: ApiError, revision: int, row: Resource | None = None) -> None:
        """End all watches with an ERROR; those of one row, where it is given."""
        for watcher in self.watchers():
            if row is not None and watcher.resource is not row:
                continue
            watcher.push((failure(watcher.resource, revision, error),))
            watcher.flush()
            watcher.cancel()

    def deliver(self, event: Event) -> None:
        """Queue the event for all who ask for it, as each of them sees it."""
        stored, previous, buckets = event.stored, event.previous, self._buckets
        if not buckets:
            return
        namespace, name, at = stored.namespace, stored.name, self._indexed_at
        keys: list[Bucket] = [ALL, ("namespace", namespace), ("name", namespace, name)]
        if namespace:
            keys.append(("name", "", name))
        if at >= 0:
            keys.append(("field", stored.fields[at]))
            if previous is not None and previous.fields[at] != stored.fields[at]:
                keys.append(("field", previous.fields[at]))
        made: dict[tuple[int, str], WatchItem] = {}
        for key in keys:
            for watcher in buckets.get(key, ()):
                item = view(event, watcher, made)
                if item is not None:
                    if not watcher.pending:
                        self.dirty(watcher)
                    watcher.pending.append(item)

    def dirty(self, watcher: Watcher) -> None:
        """It has something to be told with the next flush."""
        self._dirty.append(watcher)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Tell every sink what waits for it."""
        dirty, self._dirty, self._scheduled = self._dirty, [], False
        for watcher in dirty:
            watcher.flush()


def view(event: Event, watcher: Watcher, made: dict[tuple[int, str], WatchItem]) -> WatchItem | None:
    """The event as the watcher's filter sees it: an object that begins to match is ADDED, one that ceases to is
    DELETED (as it last matched). Items in `made` are shared between watchers."""
    kind, stored, previous, match = event.type, event.stored, event.previous, watcher.match
    if match is not None:
        was = previous is not None and match(previous)
        if kind == "DELETED":
            if not was:
                return None
        elif match(stored):
            kind = "MODIFIED" if was else "ADDED"
        elif was:
            kind = "DELETED"
        else:
            return None
    row = watcher.resource
    item = made.get((id(row), kind))
    if item is None:
        if kind == "DELETED" and event.type != "DELETED":
            assert previous is not None
            stored = previous.at(stored.revision)
        item = made[id(row), kind] = WatchItem(kind, row, stored.revision, stored, previous)
    return item
