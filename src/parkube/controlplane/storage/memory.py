"""The store in memory: the port's contract in its plainest form, for tests and for throw-away servers. Loses all."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.storage.listeners import Listeners
from parkube.controlplane.storage.port import Change, Compacted, KeyValue, Listener, Page, RevisionMismatch


class MemoryStore:
    """Keeps every change until it is compacted."""

    def __init__(self) -> None:
        self._current: dict[str, KeyValue] = {}
        self._changes: list[Change] = []
        self._listeners = Listeners()
        self._compacted = 0
        self._revision = 0

    @property
    def revision(self) -> int:
        """The last revision."""
        return self._revision

    @property
    def oldest(self) -> int:
        """Where history starts."""
        return self._compacted

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def get(self, key: str) -> KeyValue | None:
        """The key, if it exists."""
        return self._current.get(key)

    async def put(self, key: str, value: bytes, *, expected: int | None = None, volatile: bool = False) -> int:
        """As the port says; here everything is volatile."""
        before = self._check(key, expected)
        return self._apply(key, value, before)

    async def delete(self, key: str, *, expected: int | None = None) -> int:
        """As the port says."""
        before = self._check(key, expected)
        if before is None:
            raise RevisionMismatch(key, 0)
        return self._apply(key, None, before)

    def _check(self, key: str, expected: int | None) -> KeyValue | None:
        before = self._current.get(key)
        actual = before.revision if before else 0
        if expected is not None and expected != actual:
            raise RevisionMismatch(key, actual)
        return before

    def _apply(self, key: str, value: bytes | None, before: KeyValue | None) -> int:
        self._revision += 1
        change = Change(self._revision, key, value, before.value if before else None)
        self._changes.append(change)
        if value is None:
            del self._current[key]
        else:
            self._current[key] = KeyValue(key, value, self._revision)
        self._listeners.tell((change,))
        return change.revision

    async def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """As the port says; the past is found by undoing what came after it."""
        if revision and revision < self._compacted:
            raise Compacted(self._compacted)
        at = revision or self._revision
        state = {key: item for key, item in self._current.items() if key.startswith(prefix)}
        if at < self._revision:
            state = {}
            for change in self._changes:
                if change.revision <= at and change.key.startswith(prefix):
                    state[change.key] = KeyValue(change.key, change.value or b"", change.revision)
                    if change.value is None:
                        del state[change.key]
        keys = sorted(key for key in state if key > after)
        chosen = keys[:limit] if limit else keys
        return Page([state[key] for key in chosen], at, len(keys) > len(chosen))

    def watch(self, prefix: str, listener: Listener, *, after_revision: int | None = None) -> Callable[[], None]:
        """As the port says."""
        if after_revision is not None:
            if after_revision < self._compacted:
                raise Compacted(self._compacted)
            past = [c for c in self._changes if c.revision > after_revision and c.key.startswith(prefix)]
            if past:
                listener(past)
        return self._listeners.add(prefix, listener)

    async def compact(self, revision: int) -> None:
        """Forget changes that later ones up to `revision` superseded."""
        self._compacted = max(self._compacted, min(revision, self._revision))
        last: dict[str, int] = {c.key: c.revision for c in self._changes if c.revision <= self._compacted}
        self._changes = [
            c for c in self._changes
            if c.revision > self._compacted or (last[c.key] == c.revision and c.value is not None)
        ]  # fmt: skip
