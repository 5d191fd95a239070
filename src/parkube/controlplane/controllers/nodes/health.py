"""Whether a node lives, by its lease; what taints follow; how fast taints may spread. Pure.

                         lease renewed, agent says Ready=True
          +------------------------------------------------------------+
          v                                                            |
       Ready --lease older than 40 s--> Unknown (unreachable) --lease renewed--> as the agent says
          |                                                            |
          +--agent says Ready=False--> NotReady (not-ready) -----------+

    Ready:     no taint
    Unknown:   node.kubernetes.io/unreachable  NoSchedule at once, NoExecute as fast as the eviction pace allows
    NotReady:  node.kubernetes.io/not-ready    the same

When every node is gone at once, the fault is more likely on this side: nothing is evicted.
Source: Kubernetes' documentation of nodes (node lifecycle, taint-based eviction, rate limits on eviction).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from parkube.kubeapi.compact import NodeInfo
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.placement import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    NETWORK_UNAVAILABLE,
    NO_EXECUTE,
    NO_SCHEDULE,
    NOT_READY,
    PID_PRESSURE,
    UNREACHABLE,
    UNSCHEDULABLE,
    Taint,
)

_PRESSURES = {
    "MemoryPressure": MEMORY_PRESSURE, "DiskPressure": DISK_PRESSURE, "PIDPressure": PID_PRESSURE,
    "NetworkUnavailable": NETWORK_UNAVAILABLE,
}  # fmt: skip
_MANAGED_NO_SCHEDULE = frozenset({*_PRESSURES.values(), NOT_READY, UNREACHABLE, UNSCHEDULABLE})
_MANAGED_NO_EXECUTE = frozenset({NOT_READY, UNREACHABLE})
_UNHEALTHY_SHARE, _LARGE = 0.55, 50
_LARGE_PARTIAL_RATE = 0.01


class Times(NamedTuple):
    """When news came, s of this process's clock: never the node's own clock."""

    seen: float  # its lease was renewed, or the node was first seen
    reported: bool  # it ever renewed a lease


def silent(times: Times, now: float, grace: float, startup_grace: float) -> bool:
    """Whether the node has not been heard of for too long."""
    return now - times.seen > (grace if times.reported else startup_grace)


_UNKNOWN = (
    ("Ready", "NodeStatusUnknown", "Kubelet stopped posting node status."),
    ("MemoryPressure", "NodeStatusUnknown", "Kubelet stopped posting node status."),
    ("DiskPressure", "NodeStatusUnknown", "Kubelet stopped posting node status."),
    ("PIDPressure", "NodeStatusUnknown", "Kubelet stopped posting node status."),
)


def unknown_conditions(node: Obj, now: str) -> list[Obj]:
    """The node's conditions with those that its agent reports set to Unknown."""
    status = node.get("status") or {}
    out = [dict(c) for c in status.get("conditions") or ()]
    for kind, reason, message in _UNKNOWN:
        old = next((c for c in out if c.get("type") == kind), None)
        if old is None:
            old = {"type": kind, "lastHeartbeatTime": node["metadata"].get("creationTimestamp") or now}
            out.append(old)
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
        if old.get("status") != "Unknown":
            old.update(status="Unknown", reason=reason, message=message, lastTransitionTime=now)
    return out


def _condition_taint(node: NodeInfo) -> str:
    return {"False": NOT_READY, "": NOT_READY, "Unknown": UNREACHABLE}.get(node.ready, "")


def wanted_taints(node: NodeInfo, *, no_execute: bool, now: str, disrupted: bool = False) -> tuple[Taint, ...]:
    """The taints a node should have: its own, those of its conditions, and NoExecute when `no_execute` allows it.

    A NoExecute taint that is there for the same reason stays as it is, with its time; all go while `disrupted`.
    """
    trouble = _condition_taint(node)
    want = {_PRESSURES[kind] for kind, status in node.conditions if status == "True" and kind in _PRESSURES}
    if trouble:
        want.add(trouble)
    if node.unschedulable:
        want.add(UNSCHEDULABLE)
    out = []
    for taint in node.taints:
        if taint.effect == NO_SCHEDULE and taint.key in _MANAGED_NO_SCHEDULE:
            if taint.key not in want:
                continue
            want.discard(taint.key)
        elif taint.effect == NO_EXECUTE and taint.key in _MANAGED_NO_EXECUTE and (taint.key != trouble or disrupted):
            continue
        out.append(taint)
    out.extend(Taint(key, "", NO_SCHEDULE, now if key == trouble else "") for key in sorted(want))
    if trouble and no_execute and not disrupted and not any(t.effect == NO_EXECUTE and t.key == trouble for t in out):
        out.append(Taint(trouble, "", NO_EXECUTE, now))
    return tuple(out)


def evicting(node: NodeInfo) -> bool:
    """Whether the node carries a NoExecute taint for its health already."""
    return any(t.effect == NO_EXECUTE and t.key in _MANAGED_NO_EXECUTE for t in node.taints)


class Pace(NamedTuple):
    """How many nodes a second may get a NoExecute taint, and whether all nodes are down, so that nothing is evicted."""

    rate: float
    disrupted: bool


def pace(nodes: Iterable[NodeInfo], rate: float) -> Pace:
    """The pace for these nodes: none when all are down, or most of a small cluster."""
    total = sick = 0
    for node in nodes:
        total += 1
        sick += node.ready != "True"
    if sick == total:
        return Pace(0.0, total > 0)
    if sick > 2 and sick / total >= _UNHEALTHY_SHARE:
        return Pace(_LARGE_PARTIAL_RATE if total > _LARGE else 0.0, False)
    return Pace(rate, False)


@dataclass(slots=True)
class Budget:
    """A token bucket of one token, filled at the pace of the moment."""

    tokens: float = 1.0
    then: float = 0.0

    def take(self, now: float, rate: float) -> bool:
        """Whether one more node may be tainted now."""
        self.tokens = min(1.0, self.tokens + (now - self.then) * rate)
        self.then = now
        if rate <= 0 or self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
