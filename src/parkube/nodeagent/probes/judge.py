"""Counts a probe's answers against its thresholds. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from parkube.kubeapi.errors import Obj


@dataclass(frozen=True, slots=True)
class Timing:
    """When a probe is asked and how often it must agree with itself. Seconds."""

    initial_delay: float
    period: float
    success: int
    failure: int

    @classmethod
    def of(cls, probe: Obj) -> Timing:
        """With the API's defaults."""
        return cls(
            float(probe.get("initialDelaySeconds") or 0), float(probe.get("periodSeconds") or 10),
            int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3),
        )  # fmt: skip


@dataclass(slots=True)
class Judge:
    """`verdict` is None until a threshold was reached the first time."""

    timing: Timing
    verdict: bool | None = None
    last: bool | None = None
    run: int = 0

    def add(self, ok: bool) -> bool:
        """Count one answer; True when the verdict changed by it."""
        self.run = self.run + 1 if ok == self.last else 1
        self.last = ok
        if self.run < (self.timing.success if ok else self.timing.failure) or self.verdict == ok:
            return False
        self.verdict = ok
        return True
