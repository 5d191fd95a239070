"""How many vehicles are inside, from gates, counters and cameras that miss some. Pure, and replayed from all counts.

    passed in: +1      passed out: -1      recount: from here on it is this many

         raw   = the last recount at or before a moment + everything passed since
         drift = a recount - what was thought just before it: visible, dated, never swept away
    published  = raw, clamped to 0..capacity; unknown before the first recount, and unknown is never a number

Each count has a key of its own: the same key again is the same count. Order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

PASSED: Final = "passed"
RECOUNT: Final = "recount"
_ALMOST_FULL_PERCENT: Final = 5
_ALMOST_FULL_BAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Count:
    """One thing that was counted. bays: of a passage +1 in, -1 out; of a recount how many are inside."""

    garage_id: str
    key: str
    at: datetime
    kind: str
    bays: int
    source: str


@dataclass(frozen=True, slots=True)
class Drift:
    """What a recount found that nobody had counted: more (above 0) or fewer inside than was thought."""

    at: datetime
    thought: int
    found: int
    source: str

    @property
    def bays(self) -> int:
        return self.found - self.thought


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What is known at a moment. raw may be below 0 or above the capacity; None where nothing was counted."""

    raw: int | None
    counted_at: datetime | None
    drifts: tuple[Drift, ...] = ()

    def published(self, capacity: int | None) -> int | None:
        """Taken bays as others are told; None where it is not known."""
        if self.raw is None:
            return None
        return max(0, self.raw) if capacity is None else min(max(0, self.raw), capacity)

    def free(self, capacity: int | None) -> int | None:
        """Free bays as others are told; None where it is not known."""
        taken = self.published(capacity)
        return None if taken is None or capacity is None else capacity - taken


def occupancy(counts: Iterable[Count], at: datetime) -> Occupancy:
    """What the counts up to a moment say, whatever their order."""
    known = sorted(
        {count.key: count for count in counts if count.at <= at}.values(),
        # Of one moment, a recount has seen what passed.
        key=lambda count: (count.at, count.kind == RECOUNT, count.key),
    )
    raw: int | None = None
    drifts: list[Drift] = []
    for count in known:
        if count.kind == RECOUNT:
            if raw is not None:
                drifts.append(Drift(count.at, raw, count.bays, count.source))
            raw = count.bays
        elif raw is not None:
            raw += count.bays
    return Occupancy(raw, known[-1].at if known else None, tuple(drifts))


def almost_full(free: int | None, capacity: int | None) -> bool:
    """Whether so few bays are left that who is not near should look elsewhere: 5 in a hundred, at least 2."""
    if free is None or not capacity:
        return False
    return free <= max(_ALMOST_FULL_BAYS, capacity * _ALMOST_FULL_PERCENT // 100)
