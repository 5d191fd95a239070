"""What a Garage's status says after a synthetic gate cycle. Pure.

               cycle passed
Pending/Deploying ------------> Verified <----------+
     |                              |  step failed  |  cycle passed
     | step failed                  v               |
     +--------------------------> Degraded ---------+
             no link, no platform: Away (condition Verified=Unknown), from and to any of them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]

AWAY_STEPS = {"platform", "link"}
REASONS = {
    "platform": "PlatformAway", "link": "GarageAway", "grant": "GrantRefused", "scanner": "ScannerFailed",
    "journal": "JournalFailed", "relay": "RelayFailed", "readback": "ReadbackFailed", "event": "EventLost",
    "container": "ContainerNotRunning", "node": "NoNode", "garage": "BadGarage",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cycle:
    """How a cycle went; `step` is the one that failed, empty when none did. `at` is RFC 3339 in UTC."""

    ok: bool
    at: str
    duration_ms: int = 0
    step: str = ""
    reason: str = ""


def verified_value(cycle: Cycle) -> str:
    """True, False, or Unknown when the garage is away."""
    if cycle.ok:
        return "True"
    return "Unknown" if cycle.step in AWAY_STEPS else "False"


def phase(cycle: Cycle, node: str | None) -> str:
    """One word for the fleet page."""
    if cycle.ok:
        return "Verified"
    if not node:
        return "Pending"
    return "Away" if cycle.step in AWAY_STEPS else "Degraded"


def after_cycle(old: Mapping[str, Any], generation: int, cycle: Cycle, node: str | None) -> Obj:
    """The status after a cycle; a condition's transition time moves only when its status does."""
    value = verified_value(cycle)
    message = (
        f"the gate cycle passed in {cycle.duration_ms} ms" if cycle.ok else f"step {cycle.step} failed: {cycle.reason}"
    )
    condition: Obj = {
        "type": "Verified", "status": value, "reason": "GateOpens" if cycle.ok else REASONS.get(cycle.step, "Failed"),
        "message": message, "lastTransitionTime": cycle.at, "observedGeneration": generation,
    }  # fmt: skip
    kept = []
    for each in old.get("conditions") or ():
        if each.get("type") != "Verified":
            kept.append(dict(each))
        elif each.get("status") == value:
            condition["lastTransitionTime"] = each.get("lastTransitionTime") or cycle.at
    status: Obj = {
        "phase": phase(cycle, node),
        "observedGeneration": generation,
        "conditions": [*kept, condition],
        "verification": {"at": cycle.at, "durationMs": cycle.duration_ms, "step": cycle.step, "reason": cycle.reason},
    }
    if node:
        status["nodeName"] = node
    return status
