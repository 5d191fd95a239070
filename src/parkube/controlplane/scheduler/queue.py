"""Pods that wait for a node: the most important first, and those that fit nowhere aside until something helps. Pure.

    (added) --> active --pop--> (tried) --park--> parked --what helps, back-off over--> active
                  ^                                 |  \\--what helps, back-off not over--> due --> active
                  +------------- flush -------------+

A pod that failed again and again is tried less and less often: 1 s after the first failure, doubled up to 10 s. Time
comes in from outside, s of any clock that only goes forward.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from enum import Enum, auto

_FIRST_S, _LONGEST_S = 1.0, 10.0


class Happened(Enum):
    """What may help a pod that fits nowhere."""

    NODE = auto()  # a node came or changed
    ROOM = auto()  # a pod went, and what it used or whom it kept away
    NEIGHBOUR = auto()  # a pod was placed, or labelled anew
    VOLUME = auto()  # a claim, a volume or a class came or changed
    NAMESPACE = auto()  # a namespace was labelled anew


EVERYTHING = frozenset(Happened)


class _Parked:
    __slots__ = ("due", "helps", "priority", "until")

    def __init__(self, priority: int, helps: frozenset[Happened], until: float) -> None:
        self.priority, self.helps, self.until, self.due = priority, helps, until, False


class PodQueue:
    """Keys of pods. A key is in one place at most."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []  # entries that `_active` does not know any more are void
        self._active: dict[str, int] = {}
        self._parked: dict[str, _Parked] = {}
        self._failures: dict[str, int] = {}
        self._serial = 0

    def __len__(self) -> int:
        """How many may be tried now."""
        return len(self._active)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for something to happen."""
        return not self._parked

    def add(self, key: str, priority: int) -> None:
        """A pod to try now."""
        self._parked.pop(key, None)
        if key in self._active:
            return
        self._serial += 1
        self._active[key] = self._serial
        heapq.heappush(self._heap, (-priority, self._serial, key))

    def pop(self) -> str:
        """The one of highest priority that came first. Raises IndexError when there is none."""
        while True:
            _, serial, key = heapq.heappop(self._heap)
            if self._active.get(key) == serial:
                del self._active[key]
                return key

    def park(self, key: str, priority: int, helps: frozenset[Happened], now: float) -> None:
        """It fits nowhere until one of `helps` happens."""
        self._active.pop(key, None)
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        back_off = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
        self._parked[key] = _Parked(priority, helps, now + back_off)

    def forget(self, key: str) -> None:
        """It is bound or gone."""
        self._active.pop(key, None)
        self._parked.pop(key, None)
        self._failures.pop(key, None)

    def wake(self, happened: Collection[Happened], now: float) -> float | None:
        """Try again those that this helps, and those it helped while they backed off. When to come again, if at all."""
        soonest: float | None = None
        for key, parked in list(self._parked.items()):
            parked.due = parked.due or not parked.helps.isdisjoint(happened)
            if not parked.due:
                continue
            if parked.until <= now:
                self.add(key, parked.priority)
            elif soonest is None or parked.until < soonest:
                soonest = parked.until
        return soonest

    def flush(self) -> None:
        """Try all again."""
        for key, parked in list(self._parked.items()):
            self.add(key, parked.priority)
