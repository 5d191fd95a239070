"""The store's port: a revisioned key-value store with etcd's contract.

One global revision, compare-and-set on a key's revision, ranged list at a revision, watch from a revision,
compaction. Values are opaque bytes. Nothing here knows Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class StoreError(Exception):
    """Anything the store cannot do."""


class RevisionMismatch(StoreError):
    """The key's revision is not the expected one; `actual` is it (0: the key is absent)."""

    def __init__(self, key: str, actual: int) -> None:
        super().__init__(f"{key} is at revision {actual}")
        self.key, self.actual = key, actual


class Compacted(StoreError):
    """The revision asked for is gone; `oldest` is the first still held."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"compacted up to {oldest}")
        self.oldest = oldest


class StoreFull(StoreError):
    """There is no room to write; nothing was changed."""


class KeyValue(NamedTuple):
    """A key at the revision of its last change."""

    key: str
    value: bytes
    revision: int


class Change(NamedTuple):
    """One change, in revision order. A deletion carries `value=None` and always the previous value; a put carries it
    only where the store has it at hand."""

    revision: int
    key: str
    value: bytes | None
    previous: bytes | None = None


class Page(NamedTuple):
    """Part of a range; `more`: there are keys after the last of `items`."""

    items: list[KeyValue]
    revision: int
    more: bool


Listener = Callable[[Sequence[Change]], None]


class Store(Protocol):
    """Implemented by the in-memory store and by SQLite; etcd will be the third."""

    @property
    def revision(self) -> int:
        """The last revision that was acknowledged."""
        ...

    @property
    def oldest(self) -> int:
        """The first revision that ranges and watches may ask for."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def get(self, key: str) -> KeyValue | None: ...

    async def put(self, key: str, value: bytes, *, expected: int | None = None, volatile: bool = False) -> int:
        """Write and return the new revision, once it is durable.

        `expected`: the key's revision before (0: must be absent; None: whatever it is), else `RevisionMismatch`, which
        is raised when that other revision can be read.
        `volatile`: seen by everyone at once, written to disk seldom; may be lost with the process, never undone.
        """
        ...

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """Delete an existing key; the revision of the deletion. Raises `RevisionMismatch` (actual 0 if absent)."""
        ...

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Keys under `prefix`, sorted, those after `after`, as of `revision` (0: now). Raises `Compacted`."""
        ...

    def watch(self, prefix: str, listener: Listener, *, after_revision: int | None = None) -> Callable[[], None]:
        """Call `listener` on the event loop with changes under `prefix`, in order, gap-free after `after_revision`
        (None: from now); of volatile puts that were superseded since, only the last is told. What is past is told
        before this returns. Returns the cancel. Raises `Compacted`."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget history before `revision`."""
        ...
