"""The store on SQLite: an append-only log in one file, written by one thread, many puts a commit.

A put on its way:

    put --revision given--> queued --batch--> in flight --committed--> told to listeners, acknowledged
      \\--volatile, nothing before it--> told, acknowledged          \\--failed--> StoreFull; so are all queued

Revisions are given out in the order in which listeners hear of them, so a volatile put waits for the durable ones
before it. Volatile values live in memory and are flushed now and then; a durable ceiling above all revisions given
out keeps them from ever going back, even after kill -9. It knows nothing of Kubernetes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from parkube.controlplane.storage.listeners import Listeners
from parkube.controlplane.storage.port import (
    Change,
    Compacted,
    KeyValue,
    Listener,
    Page,
    RevisionMismatch,
    StoreError,
)
from parkube.controlplane.storage.sqlite_file import File, Reader, Row
from parkube.controlplane.storage.worker import Worker

log = logging.getLogger(__name__)

RESERVE = 100_000  # revisions that one durable ceiling allows
_BATCH = 2000  # puts of one commit
_COMPACT_STEP = 2000  # revisions compacted at a time, so that writers wait milliseconds
_TICK = 60.0  # seconds between looks at what to compact and flush


class Write(NamedTuple):
    """A change on its way. `row` is what goes to disk; `head` and `disk` undo the books when that fails."""

    key: str
    value: bytes | None
    revision: int
    row: Row | None
    head: int  # the key's revision before (0: absent)
    disk: int | None  # the books' entry for a key whose last value was only in memory
    future: asyncio.Future[int] | None  # None: a flush, which nobody is told of


class SqliteStore:
    """`history`: seconds for which the past can be read; `flush_every`: seconds for which volatile puts may stay in
    memory."""

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Callable[[], float] = time.monotonic,
        history: float = 300.0,
        flush_every: float = 600.0,
        max_pages: int = 0,
    ) -> None:
        self._path, self._clock, self._max_pages = Path(path), clock, max_pages
        self._history, self._flush_every = history, flush_every
        self._listeners = Listeners()
        self._heads: dict[str, int] = {}  # every key's last revision, given out if not yet committed
        self._volatile: dict[str, KeyValue] = {}  # values that are newer than those on disk
        self._disk: dict[str, int] = {}  # for keys whose head is not on disk: the revision that is
        self._pending: dict[str, asyncio.Future[int]] = {}  # the last of each key's writes on their way
        self._queue: deque[Write] = deque()
        self._in_flight: list[Write] = []
        self._scheduled = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._revision = self._given = self._ceiling = self._compacted = 0
        self._marks: deque[tuple[float, int]] = deque()
        self._flushed_at = 0.0
        self._keeper: asyncio.Task[None] | None = None
        self._open = False

    @property
    def revision(self) -> int:
        """The last revision that was acknowledged."""
        return self._revision

    @property
    def oldest(self) -> int:
        """Where history starts."""
        return self._compacted

    async def start(self) -> None:
        """Open or create the file, and read its index. Raises StoreError."""
        self._worker = Worker("parkube-store")
        try:
            await self._worker.call(self._load)
        except BaseException:
            await self._worker.stop()
            raise
        self._open = True
        self._flushed_at = self._clock()
        self._marks.append((self._clock(), self._revision))
        self._keeper = asyncio.create_task(self._keep())

    def _load(self) -> None:
        self._file = File(self._path, self._max_pages)
        self._heads = dict(self._file.index())
        self._compacted = self._file.meta("compacted")
        self._revision = self._given = max(self._file.last_revision(), self._file.meta("ceiling"), self._compacted)
        self._ceiling = self._given + RESERVE
        self._file.set_meta("ceiling", self._ceiling)
        self._reader = Reader(self._path)

    async def close(self) -> None:
        """Write what is only in memory, and close the file."""
        if not self._open:
            return
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        try:
            await self.flush()
        except StoreError as error:
            log.error("the last heartbeats are not written: %s", error)
        self._open = False
        await self._idle.wait()
        await self._worker.call(self._shut)
        await self._worker.stop()

    def _shut(self) -> None:
        self._reader.close()
        try:
            self._file.set_meta("ceiling", self._revision)
        except StoreError as error:
            log.error("%s", error)
        self._file.close()

    # -- reading

    async def get(self, key: str) -> KeyValue | None:
        """As the port says."""
        found = self._volatile.get(key)
        if found is None and key in self._heads:
            found = await asyncio.to_thread(self._reader.get, key, self._revision)
        return found

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """As the port says; of volatile puts the past holds only what was flushed."""
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        at = revision or self._revision
        newer = {key: item for key, item in self._volatile.items() if item.revision <= at and key.startswith(prefix)}
        items, more = await asyncio.to_thread(self._reader.range, prefix, after, limit, at)
        if newer:
            items = [newer.get(item.key, item) for item in items]
        return Page(items, at, more)

    def watch(self, prefix: str, listener: Listener, *, after_revision: int | None = None) -> Callable[[], None]:
        """As the port says; the past is read at once, which may take milliseconds."""
        if after_revision is not None and after_revision < self._revision:
            if after_revision < self._compacted:
                raise Compacted(self._compacted)
            past = self._reader.changes(prefix, after_revision, self._revision)
            past += [
                Change(item.revision, key, item.value) for key, item in self._volatile.items()
                if item.revision > after_revision and key.startswith(prefix)
            ]  # fmt: skip
            if past:
                listener(sorted(past, key=lambda change: change.revision))
        return self._listeners.add(prefix, listener)

    # -- writing

    async def put(self, key: str, value: bytes, *, expected: int | None = None, volatile: bool = False) -> int:
        """As the port says. The first put of a key is never volatile."""
        head = await self._check(key, expected)
        self._given = revision = self._given + 1
        if volatile and head:
            if not self._queue and not self._in_flight and revision <= self._ceiling:
                self._disk.setdefault(key, head)
                self._heads[key] = revision
                self._tell_volatile(key, value, revision)
                return revision
            return await self._enqueue(key, value, revision, head, on_disk=False)
        return await self._enqueue(key, value, revision, head, on_disk=True)

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """As the port says."""
        head = await self._check(key, expected)
        if not head:
            raise RevisionMismatch(key, 0)
        self._given += 1
        return await self._enqueue(key, None, self._given, head, on_disk=True)

    async def _check(self, key: str, expected: int | None) -> int:
        """The key's revision; it waits only for a faster writer's commit, so that who lost can read what won."""
        if not self._open:
            raise StoreError("the store is closed")
        head = self._heads.get(key, 0)
        if expected is not None and expected != head:
            faster = self._pending.get(key)
            if faster is not None:
                await asyncio.wait((faster,))
                while self._pending.get(key) is faster:  # its writer went away, its commit did not
                    await asyncio.sleep(0.001)
            raise RevisionMismatch(key, self._heads.get(key, 0))
        return head

    def _tell_volatile(self, key: str, value: bytes, revision: int) -> None:
        self._volatile[key] = KeyValue(key, value, revision)
        self._revision = revision
        self._listeners.tell((Change(revision, key, value),))

    def _enqueue(
        self, key: str, value: bytes | None, revision: int, head: int, *, on_disk: bool
    ) -> asyncio.Future[int]:
        disk = self._disk.get(key)
        row = None
        if on_disk:
            row = Row(revision, key, value, head if disk is None else disk)
            self._disk.pop(key, None)
        else:
            self._disk.setdefault(key, head)
        if value is None:
            del self._heads[key]
        else:
            self._heads[key] = revision
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending[key] = future
        self._add(Write(key, value, revision, row, head, disk, future))
        return future

    def _add(self, write: Write) -> None:
        self._queue.append(write)
        self._idle.clear()
        if not self._in_flight and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Hand the next batch to the writing thread."""
        self._scheduled = False
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
        self._in_flight = batch
        rows = [write.row for write in batch if write.row is not None]
        dropped = [
            write.row.previous for write in batch
            if write.row is not None and write.future is None and write.revision <= self._compacted
        ]  # fmt: skip
        ceiling = self._given + RESERVE if self._given > self._ceiling - RESERVE // 2 else 0
        known = {write.key: self._volatile[write.key].value for write in batch if write.key in self._volatile}

        def work() -> dict[int, bytes]:
            if ceiling:
                self._file.set_meta("ceiling", ceiling)
            previous = _previous(batch, known, self._file)
            self._file.append(rows, dropped)
            return previous

        self._worker.submit(work, lambda previous, error: self._committed(batch, ceiling, previous, error))

    def _committed(
        self, batch: list[Write], ceiling: int, previous: dict[int, bytes] | None, error: BaseException | None
    ) -> None:
        self._in_flight = []
        if error is not None or previous is None:
            self._failed(batch, error or StoreError("no answer"))
        else:
            self._ceiling = ceiling or self._ceiling
            self._tell(batch, previous)
        if self._queue and not self._scheduled:
            self._begin()
        elif not self._queue:
            self._idle.set()

    def _tell(self, batch: list[Write], previous: dict[int, bytes]) -> None:
        changes = []
        for write in batch:
            if write.row is None and write.value is not None:
                self._volatile[write.key] = KeyValue(write.key, write.value, write.revision)
            elif (newer := self._volatile.get(write.key)) is not None and newer.revision <= write.revision:
                del self._volatile[write.key]
            if write.future is not None:
                changes.append(Change(write.revision, write.key, write.value, previous.get(write.revision)))
        if changes:
            self._revision = changes[-1].revision
            self._listeners.tell(changes)
        for write in batch:
            if write.future is not None:
                self._settle(write, write.future)
                if not write.future.done():
                    write.future.set_result(write.revision)

    def _failed(self, batch: list[Write], error: BaseException) -> None:
        """Nothing of the batch happened, and what was queued behind it may rest on it."""
        batch = [*batch, *self._queue]
        self._queue.clear()
        for write in reversed(batch):
            if write.head:
                self._heads[write.key] = write.head
            else:
                self._heads.pop(write.key, None)
            if write.disk is None:
                self._disk.pop(write.key, None)
            else:
                self._disk[write.key] = write.disk
        log.error("%d writes failed: %s", len(batch), error)
        for write in batch:
            if write.future is not None:
                self._settle(write, write.future)
                if not write.future.done():
                    write.future.set_exception(error)

    def _settle(self, write: Write, future: asyncio.Future[int]) -> None:
        if self._pending.get(write.key) is future:
            del self._pending[write.key]

    # -- housekeeping

    async def compact(self, revision: int) -> None:
        """As the port says."""
        start, self._compacted = self._compacted, max(self._compacted, min(revision, self._revision))
        for after in range(start, self._compacted, _COMPACT_STEP):
            upto = min(after + _COMPACT_STEP, self._compacted)
            await self._worker.call(partial(self._file.compact_part, after, upto))

    async def flush(self) -> None:
        """Write volatile values to disk."""
        for key, item in list(self._volatile.items()):
            disk = self._disk.get(key)
            if disk is not None and self._heads.get(key) == item.revision:
                row = Row(item.revision, key, item.value, disk)
                del self._disk[key]
                self._add(Write(key, item.value, item.revision, row, item.revision, disk, None))
        await self._idle.wait()

    async def tick(self) -> None:
        """Compact what is older than the history kept, and flush when it is time."""
        now = self._clock()
        self._marks.append((now, self._revision))
        target = 0
        while self._marks and self._marks[0][0] <= now - self._history:
            target = self._marks.popleft()[1]
        if target > self._compacted:
            await self.compact(target)
        if now - self._flushed_at >= self._flush_every:
            self._flushed_at = now
            await self.flush()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                await self.tick()
            except StoreError as error:
                log.warning("housekeeping is put off: %s", error)


def _previous(batch: list[Write], known: dict[str, bytes], file: File) -> dict[int, bytes]:
    """The values that the batch's deletions remove, by the deletion's revision."""
    found = {}
    for write in batch:
        if write.value is not None:
            known[write.key] = write.value
        elif write.row is not None:
            value = known.pop(write.key, None)
            found[write.revision] = file.value_at(write.row.previous) if value is None else value
    return found
