"""What time it is at a garage whose clock may be wrong: by a day, by an empty battery, by a jump. Reads clocks only.

    the machine's clock + what the platform last found it to be wrong by, anchored to a clock that only goes on

While the app runs, a jump of the machine's clock changes nothing. After a restart without an uplink, a clock that shows
less than the journal's last line is not believed: then nobody knows the time, and nobody is refused by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

TOLERANCE_S: Final = 30.0
"""Less than this is no fault of a clock, but of the way to it."""


class Timekeeper:
    """Called, it is the time in Unix seconds. `offset_s`: how wrong it was; `not_before`: the last line's time."""

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        offset_s: float = 0.0,
        not_before: float = 0.0,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self.offset_s = offset_s
        self._not_before = not_before
        self._told = False
        self._anchor = wall() + offset_s, monotonic()

    def __call__(self) -> float:
        at, since = self._anchor
        now = at + (self._monotonic() - since)
        if not self.trusted and self._wall() + self.offset_s >= self._not_before - TOLERANCE_S:
            # The machine found the time by itself.
            self._anchor = self._wall() + self.offset_s, self._monotonic()
            return self._anchor[0]
        return now

    @property
    def trusted(self) -> bool:
        """Whether this can be the time."""
        return self._told or self._anchor[0] >= self._not_before - TOLERANCE_S

    def told(self, now: float) -> bool:
        """The platform says what time it is. Returns whether that was news: then the offset is worth remembering."""
        news = abs(now - self()) > TOLERANCE_S
        if news or not self._told:
            self._anchor = (now if news else self()), self._monotonic()
        self._told = True
        if news:
            self.offset_s = now - self._wall()
        return news
