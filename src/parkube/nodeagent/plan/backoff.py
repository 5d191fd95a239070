"""Exponential back-off with kubelet's figures. Pure: every time is given."""

from __future__ import annotations

from dataclasses import dataclass

INITIAL_S = 10.0
LIMIT_S = 300.0
RESET_S = 600.0  # quiet for that long, and counting starts anew


def due(at: float, now: float) -> bool:
    """Whether a planned time has come; one that lies further ahead than anything is planned for was made by a clock
    that has been set back since (a board without one of its own), and has come, too."""
    return now >= at or at - now > RESET_S


@dataclass(slots=True)
class Backoff:
    """How long to wait after the next failure."""

    delay: float = 0.0
    updated_at: float = 0.0

    def until(self, failed_at: float, now: float) -> float:
        """When the next try may be made after a failure at `failed_at`; not after `now` when it may be made."""
        if not self.delay or now - self.updated_at > RESET_S:
            return failed_at
        return min(failed_at, now) + self.delay

    def next(self, now: float) -> None:
        """A try is made now: wait longer after it fails."""
        if not self.delay or now - self.updated_at > RESET_S:
            self.delay = INITIAL_S
        else:
            self.delay = min(self.delay * 2, LIMIT_S)
        self.updated_at = now


def seeded(attempt: int, started_at: float, finished_at: float) -> Backoff:
    """The back-off of a container that was already restarted `attempt` times before this agent knew it."""
    if attempt < 1 or finished_at - started_at > RESET_S:
        return Backoff()
    return Backoff(min(INITIAL_S * 2 ** min(attempt - 1, 10), LIMIT_S), finished_at)
