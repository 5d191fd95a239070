"""All watch caches: filled from the store at start, fed by its changes, one for each stored resource of the catalogue.

Objects whose resource nobody serves (their definition is not there yet) wait unread. It writes nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from parkube.controlplane.registry.cache import ResourceCache
from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.fanout import Watcher, view
from parkube.controlplane.registry.listing import expired, revision_of, too_large
from parkube.controlplane.registry.options import WatchOptions
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.watching import Sink, WatchItem, bookmark
from parkube.controlplane.storage.port import Change, KeyValue, Store
from parkube.kubeapi.errors import Expired, NotFound

_LOAD = 1000
_RECALL = 10_000  # changes of the time before the start that are looked at
BOOKMARK_PERIOD = 60  # seconds between the bookmarks of one watch


class Caches:
    """Lists and watches are answered from here."""

    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store, self._catalogue = store, catalogue
        self._by_prefix: dict[str, ResourceCache] = {}
        self._unclaimed: dict[str, dict[str, KeyValue]] = {}
        self._past: dict[str, list[Change]] = {}  # from before the start, by prefix
        self._recalled = 0  # that past is known from this revision on
        self._known: set[str] = set()  # prefixes that were served since the start
        self._bookmarked: deque[Watcher] = deque()
        self._stop: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.revision = 0

    async def start(self) -> None:
        """Read everything the store holds, and follow it from there."""
        after, revision = "", 0
        while True:
            page = await self._store.range("/", after=after, limit=_LOAD, revision=revision)
            revision = page.revision
            for item in page.items:
                self._unclaimed.setdefault(prefix_of(item.key), {})[item.key] = item
            if not page.more:
                break
            after = page.items[-1].key
        self.revision = revision
        past: list[Change] = []
        self._store.watch("/", past.extend, after_revision=self._store.oldest)()
        for change in past[-_RECALL:]:
            self._past.setdefault(prefix_of(change.key), []).append(change)
        self._recalled = max(past[-_RECALL - 1].revision if len(past) > _RECALL else 0, self._store.oldest)
        for row in self._catalogue:
            self._claim(row)
        self._stop.append(self._store.watch("/", self._changed, after_revision=revision))
        self._stop.append(self._catalogue.on_change(self._row_changed))
        self._tick()

    def close(self) -> None:
        """End all watches, and stop following."""
        for stop in self._stop:
            stop()
        self._stop = []
        if self._timer is not None:
            self._timer.cancel()
        for cache in self._by_prefix.values():
            for watcher in cache.fanout.watchers():
                watcher.cancel()

    def of(self, row: Resource) -> ResourceCache:
        """The row's cache. Raises NotFound when it is not served any more."""
        cache = self._by_prefix.get(row.prefix)
        if cache is None:
            raise NotFound("the server could not find the requested resource")
        return cache

    # -- following

    def _changed(self, changes: Sequence[Change]) -> None:
        caches = self._by_prefix
        for change in changes:
            prefix = prefix_of(change.key)
            cache = caches.get(prefix)
            self.revision = change.revision
            if cache is not None:
                cache.apply(change)
            elif change.value is None:
                self._unclaimed.get(prefix, {}).pop(change.key, None)
            else:
                item = KeyValue(change.key, change.value, change.revision)
                self._unclaimed.setdefault(prefix, {})[change.key] = item

    def _row_changed(self, what: str, row: Resource) -> None:
        if what == "added":
            self._claim(row)
        elif (cache := self._by_prefix.get(row.prefix)) is not None:
            gone = Expired(f"{row.gvr.resource} are not served any more, or not as they were")
            if self._catalogue.sharing(row.stored_at) and not self._indexed_anew(row):
                cache.fanout.fail(gone, self.revision, row)
                return
            del self._by_prefix[row.prefix]
            if cache.items:
                self._unclaimed[row.prefix] = {item.key: item for item in cache.unspliced()}
            cache.fanout.fail(gone, self.revision)

    def _indexed_anew(self, row: Resource) -> bool:
        """Whether what took the row's place has other fields to select by, and its cache must be made again."""
        now = self._catalogue.get(row.gvr)
        return now is not None and [label.path for label in now.fields] != [label.path for label in row.fields]

    def _claim(self, row: Resource) -> None:
        if row.virtual or row.prefix in self._by_prefix:
            return
        cache = ResourceCache(self._catalogue.get(row.stored_at) or row, self.revision)
        cache.load(list(self._unclaimed.pop(row.prefix, {}).values()))
        if row.prefix not in self._known:
            self._known.add(row.prefix)
            cache.recall(self._past.pop(row.prefix, ()), self._recalled)
        self._by_prefix[row.prefix] = cache

    # -- watching

    def watch(self, row: Resource, namespace: str, options: WatchOptions, sink: Sink) -> Watcher:
        """Tell `sink` of what happens from the revision asked for. Raises Expired, BadRequest, Timeout."""
        cache, current = self.of(row), self.revision
        match = cache.matcher(namespace, options.label_selector, options.field_selector)
        asked = revision_of(options.resource_version)
        initial = options.send_initial_events
        if asked > current:
            raise too_large(asked, current)
        wants_state = initial or (initial is None and not asked)
        start = current if wants_state or not asked else asked
        events = cache.since(start)
        if events is None:
            raise expired(asked, cache.floor)
        fields = options.field_selector
        bucket = cache.fanout.bucket_for(namespace, fields.required("metadata.name"), fields.required("spec.nodeName"))
        watcher = Watcher(cache.fanout, row, bucket, match, sink, options.bookmarks, lambda: self.revision)
        cache.fanout.add(watcher)
        items: list[WatchItem] = []
        if wants_state:
            for stored in cache.select(namespace, fields):
                if match is None or match(stored):
                    items.append(WatchItem("ADDED", row, stored.revision, stored))
            if initial and options.bookmarks:
                items.append(bookmark(row, current, initial_events_end=True))
        else:
            made: dict[tuple[int, str], WatchItem] = {}
            for event in events:
                made.clear()
                item = view(event, watcher, made)
                if item is not None:
                    items.append(item)
        if items:
            watcher.push(items)
        if options.bookmarks:
            self._bookmarked.append(watcher)
        return watcher

    def send_bookmarks(self, count: int) -> None:
        """Give a bookmark to the `count` watchers whose last one is longest ago."""
        made: dict[int, WatchItem] = {}
        for _ in range(min(count, len(self._bookmarked))):
            watcher = self._bookmarked.popleft()
            if watcher.cancelled:
                continue
            self._bookmarked.append(watcher)
            item = made.get(id(watcher.resource))
            if item is None:
                item = made[id(watcher.resource)] = bookmark(watcher.resource, self.revision)
            watcher.push((item,))

    def _tick(self) -> None:
        """Every second, a sixtieth of the watchers: a flood once a minute would delay everyone."""
        self.send_bookmarks(-(-len(self._bookmarked) // BOOKMARK_PERIOD))
        self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)


def prefix_of(key: str) -> str:
    """`/apps/deployments/` of a key under it."""
    return key[: key.index("/", key.index("/", 1) + 1) + 1]
