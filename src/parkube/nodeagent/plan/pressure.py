"""Node pressure: when a node has too little memory or disk, and which pod has to go. Pure.

    enough ──below the threshold──> pressure ──above it for the transition period──> enough

The pod that goes first uses most beyond what it asked for, of those of the lowest priority.
Source: Kubernetes documentation, "Node-pressure Eviction".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.model import Usage
from parkube.nodeagent.plan.resources import pod_requests, qos_class

MEMORY, DISK = "MemoryPressure", "DiskPressure"
TRANSITION_S = 300.0
_MEMORY_FLOOR = 100 << 20  # bytes, kubelet's memory.available
_DISK_SHARE = 0.05  # of bytes and of inodes
_CRITICAL = 2_000_000_000  # priorities from here on are the system's own


class Signals(NamedTuple):
    """What the node has. Bytes and inodes."""

    memory_available: int
    disk_available: int
    disk_capacity: int
    inodes_free: int = 0
    inodes: int = 0


class Shortage(NamedTuple):
    """What there is too little of."""

    condition: str
    resource: str  # memory, ephemeral-storage, inodes
    threshold: int
    available: int


def shortages(now: Signals) -> list[Shortage]:
    """What is below its threshold; memory first."""
    found = []
    if now.memory_available < _MEMORY_FLOOR:
        found.append(Shortage(MEMORY, "memory", _MEMORY_FLOOR, now.memory_available))
    if now.disk_available < now.disk_capacity * _DISK_SHARE:
        floor = int(now.disk_capacity * _DISK_SHARE)
        found.append(Shortage(DISK, "ephemeral-storage", floor, now.disk_available))
    if now.inodes_free < now.inodes * _DISK_SHARE:
        found.append(Shortage(DISK, "inodes", int(now.inodes * _DISK_SHARE), now.inodes_free))
    return found


@dataclass(slots=True)
class Conditions:
    """Which pressures the node says it has: one that was seen stays for the transition period."""

    seen_at: dict[str, float] = field(default_factory=dict)

    def update(self, found: Iterable[Shortage], now: float) -> frozenset[str]:
        """The pressures from now on."""
        for shortage in found:
            self.seen_at[shortage.condition] = now
        self.seen_at = {name: at for name, at in self.seen_at.items() if 0 <= now - at < TRANSITION_S}
        return frozenset(self.seen_at)


def refused_under(pod: Obj, pressures: Iterable[str]) -> str:
    """The pressure under which a node takes no such pod, or nothing: without memory none that asks for nothing,
    without disk none at all, but what is critical."""
    if critical(pod):
        return ""
    for pressure in sorted(pressures):
        if pressure == DISK or qos_class(pod) == "BestEffort":
            return pressure
    return ""


def critical(pod: Obj) -> bool:
    """A static pod, or one of the system's priority."""
    kept = (pod["metadata"].get("annotations") or {}).get("kubernetes.io/config.source") == "file"
    return kept or (pod["spec"].get("priority") or 0) >= _CRITICAL


def victim(shortage: Shortage, running: Iterable[Obj], used: Mapping[str, int]) -> Obj | None:
    """Which of the running pods has to go; `used`: bytes (or inodes) by pod uid."""

    def rank(pod: Obj) -> tuple[bool, int, int]:
        over = used.get(pod["metadata"]["uid"], 0) - _requested(pod, shortage.resource)
        return over <= 0, pod["spec"].get("priority") or 0, -over

    return min((pod for pod in running if not critical(pod)), key=rank, default=None)


def _requested(pod: Obj, resource: str) -> int:
    return int(pod_requests(pod).get(resource, 0))


def reason(shortage: Shortage, pod: Obj, by_container: Mapping[str, int]) -> str:
    """Kubelet's words for an eviction; `by_container`: what each container uses."""
    threshold, available = _quantity(shortage.threshold), _quantity(shortage.available)
    text = (
        f"The node was low on resource: {shortage.resource}. Threshold quantity: {threshold}, available: {available}. "
    )
    for container in pods.containers(pod):
        requested = _requested({"spec": {"containers": [container]}}, shortage.resource)
        using = by_container.get(container["name"], 0)
        if using > requested:
            text += (
                f"Container {container['name']} was using {_quantity(using)}, request is {_quantity(requested)}, "
                f"has larger consumption of {shortage.resource}. "
            )
    return text


def _quantity(amount: int) -> str:
    return f"{amount // 1024}Ki" if amount >= 1024 else str(amount)


def amount_of(usage: Usage, resource: str) -> int:
    """How much of what is short a container uses."""
    if resource == "memory":
        return usage.memory_working_set
    return usage.inodes if resource == "inodes" else usage.disk
