"""How many bays are taken when: a step function over time that answers for a window in microseconds.

Not the judge of a booking: the database decides that under a lock. This is what search shows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class Profile:
    """Taken bays over time, as sorted breakpoints and the level from each on. Times are Unix seconds."""

    __slots__ = ("_levels", "_times")

    def __init__(self) -> None:
        self._times: list[float] = [float("-inf")]
        self._levels: list[int] = [0]

    def add(self, start: float, end: float, bays: int = 1) -> None:
        """Takes bays from start (inclusive) to end (exclusive); negative bays give them back."""
        if end <= start:
            return
        first, last = self._break(start), self._break(end)
        for position in range(first, last):
            self._levels[position] += bays
        self._join(last)
        self._join(first)

    def most(self, start: float, end: float) -> int:
        """The most bays taken at any moment of the window."""
        first = bisect_right(self._times, start) - 1
        last = bisect_left(self._times, end)
        if last - first <= 1:
            return self._levels[first]
        return max(self._levels[first:last])

    def _break(self, moment: float) -> int:
        position = bisect_left(self._times, moment)
        if position == len(self._times) or self._times[position] != moment:
            self._times.insert(position, moment)
            self._levels.insert(position, self._levels[position - 1])
        return position

    def _join(self, position: int) -> None:
        # Without this, bookings that came and went would leave their breakpoints behind for ever.
        if self._levels[position] == self._levels[position - 1]:
            del self._times[position], self._levels[position]


def most_at_once(intervals: Iterable[tuple[float, float]]) -> int:
    """The most half-open intervals that overlap at any moment."""
    edges: list[tuple[float, int]] = []
    for start, end in intervals:
        if end > start:
            edges.append((start, 1))
            edges.append((end, -1))
    edges.sort()  # at one moment an end (-1) sorts before a start: half open
    level = most = 0
    for _, step in edges:
        level += step
        most = max(most, level)
    return most
