"""A queue of keys to reconcile: each key once, with delays and per-key exponential back-off. Knows no objects.

The states of a key:

    (absent) --add--> queued --get--> active --done--> (absent)
        \\--add_after--> waiting --due--> queued
    active --add--> active+dirty --done--> queued       (what changes during a reconcile is seen by the next)
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger(__name__)

CallLater = Callable[[float, Callable[[], None]], Any]


class WorkQueue:
    """Keys are strings, `namespace/name` by custom. Everything runs on one event loop."""

    def __init__(
        self,
        *,
        base_delay: float = 0.05,
        max_delay: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
    ) -> None:
        self._base, self._max = base_delay, max_delay
        self._clock, self._call_later = clock, call_later
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._active: set[str] = set()
        self._dirty: set[str] = set()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._failures: dict[str, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, key: str) -> None:
        """Reconcile `key` soon; nothing happens if it already waits to be."""
        if key in self._active:
            self._dirty.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._queue.append(key)
            self._wake()

    def add_after(self, key: str, seconds: float) -> None:
        """Reconcile `key` after that delay; the earliest of several delays counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._arm()

    def add_rate_limited(self, key: str) -> None:
        """Reconcile `key` again after a failure: the delay doubles with each until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_after(key, min(self._max, self._base * 2 ** min(failures, 30)))

    def forget(self, key: str) -> None:
        """The key succeeded: its back-off starts over."""
        self._failures.pop(key, None)

    def failures(self, key: str) -> int:
        """How often the key failed in a row."""
        return self._failures.get(key, 0)

    async def get(self) -> str:
        """The next key; call `done` with it afterwards."""
        while not self._queue:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter.done() and not getter.cancelled():
                    self._wake()
                elif getter in self._getters:
                    self._getters.remove(getter)
                raise
        key = self._queue.popleft()
        self._queued.discard(key)
        self._active.add(key)
        return key

    def done(self, key: str) -> None:
        """The reconcile of `key` ended, well or not; it is queued again if it was added meanwhile."""
        self._active.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    async def run(self, reconcile: Callable[[str], Awaitable[float | None]], workers: int = 1) -> None:
        """Reconcile until cancelled. A number returned asks for another look after so many seconds; an error is
        logged and tried again with back-off."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(reconcile))

    async def _work(self, reconcile: Callable[[str], Awaitable[float | None]]) -> None:
        while True:
            key = await self.get()
            try:
                again = await reconcile(key)
            except Exception as error:
                log.warning("reconciling %s failed, trying again: %s", key, error, exc_info=self.failures(key) == 3)
                self.add_rate_limited(key)
            else:
                self.forget(key)
                if again is not None:
                    self.add_after(key, again)
            finally:
                self.done(key)

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _arm(self) -> None:
        if not self._heap or self._heap[0][0] >= self._timer_at:
            return
        self._timer_at = self._heap[0][0]
        call_later = self._call_later or asyncio.get_running_loop().call_later
        call_later(max(0.0, self._timer_at - self._clock()), self._fire)

    def _fire(self) -> None:
        self._timer_at = float("inf")
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._arm()
