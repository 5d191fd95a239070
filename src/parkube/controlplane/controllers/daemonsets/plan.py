"""Which nodes a DaemonSet's pods belong on, which to make and delete now, and its status. Pure.

node:   no pod --create--> new pod --template changed--> old pod --delete, within maxUnavailable--> no pod
                              ^                             |
                              +--- with maxSurge: new beside old, old deleted once new is available
        a failed pod, and a pod on a node that no longer fits, is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from parkube.controlplane.controllers.history import HASH_LABEL
from parkube.kubeapi.compact import NodeInfo, PodInfo, available
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
    selects,
    tolerations_of,
    untolerated,
)

_BORNE = (
    (NOT_READY, NO_EXECUTE),
    (UNREACHABLE, NO_EXECUTE),
    (DISK_PRESSURE, NO_SCHEDULE),
    (MEMORY_PRESSURE, NO_SCHEDULE),
    (PID_PRESSURE, NO_SCHEDULE),
    (UNSCHEDULABLE, NO_SCHEDULE),
)


def standard_tolerations(spec: Obj) -> list[Obj]:
    """The tolerations that every pod of a DaemonSet gets beside its template's."""
    borne = [*_BORNE, *([(NETWORK_UNAVAILABLE, NO_SCHEDULE)] if spec.get("hostNetwork") else [])]
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in borne]


def pinned_spec(spec: Obj, node: str) -> Obj:
    """The template's PodSpec with the standard tolerations, and affinity to just this node."""
    given = list(spec.get("tolerations") or ())
    extra = [t for t in standard_tolerations(spec) if t not in given]
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    affinity = dict(spec.get("affinity") or {})
    node_affinity = dict(affinity.get("nodeAffinity") or {})
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = (node_affinity.get(key) or {}).get("nodeSelectorTerms") or [{}]
    node_affinity[key] = {"nodeSelectorTerms": [{**term, "matchFields": fields} for term in terms]}
    return {**spec, "tolerations": given + extra, "affinity": {**affinity, "nodeAffinity": node_affinity}}


def _share(value: Any, total: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return ceil(int(value[:-1]) * total / 100)
    return int(value or 0)


class Fit:
    """Which nodes one pod template may run on; answers are kept until the node changes."""

    def __init__(self, template_spec: Obj) -> None:
        self._spec = template_spec
        self._selector = template_spec.get("nodeSelector")
        self._affinity = (template_spec.get("affinity") or {}).get("nodeAffinity")
        borne = [*(template_spec.get("tolerations") or ()), *standard_tolerations(template_spec)]
        self._tolerations = tolerations_of({"tolerations": borne})
        self._name = template_spec.get("nodeName") or ""
        self._known: dict[str, tuple[NodeInfo, bool, bool]] = {}

    def of(self, node: NodeInfo) -> tuple[bool, bool]:
        """Whether a pod should be started there, and whether one that runs there may go on."""
        known = self._known.get(node.name)
        if known is not None and known[0] is node:
            return known[1], known[2]
        start = stay = False
        if (not self._name or self._name == node.name) and selects(
            self._selector, self._affinity, node.labels, node.name
        ):
            start = untolerated(node.taints, self._tolerations) is None
            stay = start or untolerated(node.taints, self._tolerations, (NO_EXECUTE,)) is None
        self._known[node.name] = (node, start, stay)
        return start, stay

    def forget(self, names: set[str]) -> None:
        """Drop nodes that are gone: all but `names`."""
        if len(self._known) > len(names):
            self._known = {name: known for name, known in self._known.items() if name in names}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A DaemonSet's spec, read."""

    hash: str
    min_ready: int
    on_delete: bool
    max_unavailable: Any
    max_surge: Any


def wanted(daemonset: Obj, revision_hash: str) -> Wanted:
    """Read a DaemonSet."""
    spec = daemonset.get("spec") or {}
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    return Wanted(
        revision_hash,
        int(spec.get("minReadySeconds") or 0),
        strategy.get("type") == "OnDelete",
        rolling.get("maxUnavailable", 1),
        rolling.get("maxSurge", 0),
    )


@dataclass(slots=True)
class Plan:
    """What to do now, and the counts of the status."""

    create: list[str] = field(default_factory=list)  # node names
    delete: list[PodInfo] = field(default_factory=list)
    failed: list[PodInfo] = field(default_factory=list)  # deleted with back-off
    counts: dict[str, int] = field(default_factory=dict)
    soon: float | None = None  # seconds until a pod will have been ready for minReadySeconds


@dataclass(slots=True)
class _Node:
    """The pods of one node, sorted out."""

    start: bool
    old: PodInfo | None = None
    new: PodInfo | None = None
    busy: bool = False  # something is still ending here


def plan(want: Wanted, nodes: Iterable[NodeInfo], pods: Iterable[PodInfo], fit: Fit, now: float) -> Plan:
    """One step for one DaemonSet, from all nodes and its pods."""
    step = Plan()
    by_node: dict[str, list[PodInfo]] = {}
    for pod in pods:
        if not (pod.deleting and pod.finished):
            by_node.setdefault(pod.node or pod.pin, []).append(pod)
    states: list[_Node] = []
    counts = dict.fromkeys(("desired", "current", "misscheduled", "ready", "available", "updated"), 0)
    for node in nodes:
        start, stay = fit.of(node)
        here = by_node.pop(node.name, None)
        if here is None:
            if start:
                counts["desired"] += 1
                states.append(_Node(True))
                step.create.append(node.name)
            continue
        state = _sort(want, start, stay, here, step)
        _count(want, state, here, counts, now, step)
        if start:
            states.append(state)
            if not here:
                step.create.append(node.name)
    step.delete.extend(p for lost in by_node.values() for p in lost if not p.node and not p.deleting)  # no such node
    step.counts = counts
    if not want.on_delete:
        _update(want, states, counts["desired"], step, now)
    return step


def _sort(want: Wanted, start: bool, stay: bool, here: list[PodInfo], step: Plan) -> _Node:
    state = _Node(start)
    for pod in sorted(here, key=lambda p: (p.created, p.name)):
        if pod.deleting:
            state.busy = True
        elif not stay:
            step.delete.append(pod)
        elif pod.phase == "Failed" or (pod.phase == "Succeeded" and start):
            step.failed.append(pod)
            state.busy = True
        else:
            slot = "new" if pod.labels.get(HASH_LABEL) == want.hash else "old"
            if getattr(state, slot) is not None:
                step.delete.append(pod)
            else:
                setattr(state, slot, pod)
    if state.old and state.new and not want.max_surge:
        extra = state.new if state.new.created > state.old.created else state.old
        step.delete.append(extra)
        if extra is state.new:
            state.new = None
        else:
            state.old = None
    return state


def _count(want: Wanted, state: _Node, here: list[PodInfo], counts: dict[str, int], now: float, step: Plan) -> None:
    if not state.start:
        counts["misscheduled"] += any(not p.deleting for p in here)
        return
    counts["desired"] += 1
    shown = state.new or state.old
    if shown is None:
        return
    counts["current"] += 1
    counts["updated"] += state.new is not None
    ready = [p for p in (state.new, state.old) if p is not None and p.ready]
    counts["ready"] += bool(ready)
    counts["available"] += any(available(p, want.min_ready, now) for p in ready)
    for pod in ready:
        if not available(pod, want.min_ready, now):
            left = max(0.1, pod.ready_at + want.min_ready - now)
            step.soon = left if step.soon is None else min(step.soon, left)


def _update(want: Wanted, states: list[_Node], desired: int, step: Plan, now: float) -> None:
    """Replace old pods: broken ones at once, the others within maxUnavailable; or beside new ones, within maxSurge."""
    surge = _share(want.max_surge, desired)
    budget = surge or max(1, _share(want.max_unavailable, desired))
    candidates: list[PodInfo] = []
    for state in states:
        up = state.new is not None and available(state.new, want.min_ready, now)
        if state.old is None:
            budget -= not up and not surge
        elif state.new is not None:  # surging here
            if up:
                step.delete.append(state.old)
            else:
                budget -= 1
        elif not available(state.old, want.min_ready, now):
            if surge:
                step.create.append(state.old.node or state.old.pin)
            else:
                step.delete.append(state.old)
        else:
            candidates.append(state.old)
    for pod in candidates[: max(0, budget)]:
        if surge:
            step.create.append(pod.node)
        else:
            step.delete.append(pod)


def status(daemonset: Obj, step: Plan) -> Obj:
    """The DaemonSet's status."""
    c, old = step.counts, daemonset.get("status") or {}
    new: Obj = {
        "currentNumberScheduled": c["current"],
        "desiredNumberScheduled": c["desired"],
        "numberMisscheduled": c["misscheduled"],
        "numberReady": c["ready"],
        "observedGeneration": daemonset["metadata"].get("generation", 0),
    }
    for key, value in (
        ("updatedNumberScheduled", c["updated"]),
        ("numberAvailable", c["available"]),
        ("numberUnavailable", c["desired"] - c["available"]),
        ("collisionCount", old.get("collisionCount")),
    ):
        if value:
            new[key] = value
    if old.get("conditions"):
        new["conditions"] = old["conditions"]
    return new
