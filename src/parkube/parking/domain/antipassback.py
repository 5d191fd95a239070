"""Whether a permission that shows itself may pass again: who is in, who is out, of whom nothing is known.

       +--------- out ---------+---------------------+
       |                       |                     v
    neutral ----- in -----> inside <---- in ---- outside
       ^                       |                     |
       +-- reset, one or all --+---------------------+

    in:   refused while inside           out:  never refused; whoever is not known to be inside is marked, not held

Events carry their number in the garage's journal, so they may be replayed in any order and twice. One opening is not
one vehicle: who was let out may stand before the exit again, and is let out again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Where(StrEnum):
    """Of one permission."""

    NEUTRAL = "neutral"
    INSIDE = "inside"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Passed:
    """A gate opened for a permission. number: of the journal line."""

    number: int
    jti: str
    inward: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """From here on nothing is known of one permission, or of any."""

    number: int
    jti: str | None = None


@dataclass(slots=True)
class Passback:
    """What is known. Fold events into it with `heard`."""

    _last: dict[str, tuple[int, Where]] = field(default_factory=dict)
    _reset: int = 0

    @classmethod
    def replay(cls, events: Iterable[Passed | Reset]) -> Passback:
        made = cls()
        for event in events:
            made.heard(event)
        return made

    def heard(self, event: Passed | Reset) -> None:
        """An event, new or old; an older one than what is known changes nothing."""
        if isinstance(event, Reset) and event.jti is None:
            self._reset = max(self._reset, event.number)
            return
        if isinstance(event, Reset):
            where = Where.NEUTRAL
        else:
            where = Where.INSIDE if event.inward else Where.OUTSIDE
        known = self._last.get(event.jti or "")
        if known is None or event.number > known[0]:
            self._last[event.jti or ""] = (event.number, where)

    def where(self, jti: str) -> Where:
        number, where = self._last.get(jti, (0, Where.NEUTRAL))
        return where if number > self._reset else Where.NEUTRAL

    def may_enter(self, jti: str) -> bool:
        return self.where(jti) is not Where.INSIDE

    def inside(self) -> set[str]:
        """Who is known to be inside."""
        return {jti for jti in self._last if self.where(jti) is Where.INSIDE}
