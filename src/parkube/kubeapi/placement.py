"""Which nodes a pod may stand on: taints and tolerations, node selectors and node affinity. Pure.

The scheduler, the DaemonSet and node lifecycle controllers and the agent's own admission ask the same questions here.
Not for resources or ports: those need to know what else stands on the node (scheduler).
Source: Kubernetes API reference, core/v1 Taint, Toleration, NodeSelectorTerm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from parkube.kubeapi.errors import Obj

NO_SCHEDULE, PREFER_NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "PreferNoSchedule", "NoExecute"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE = "node.kubernetes.io/disk-pressure"
PID_PRESSURE = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE = "node.kubernetes.io/network-unavailable"


class Taint(NamedTuple):
    """A node's taint; `added` (RFC 3339) is set on NoExecute taints."""

    key: str
    value: str
    effect: str
    added: str = ""

    def object(self) -> Obj:
        """The API's form."""
        out: Obj = {"key": self.key, "effect": self.effect}
        if self.value:
            out["value"] = self.value
        if self.added:
            out["timeAdded"] = self.added
        return out


class Toleration(NamedTuple):
    """A pod's toleration; `seconds` limits how long a NoExecute taint is borne (None: for ever)."""

    key: str
    operator: str
    value: str
    effect: str
    seconds: int | None

    def tolerates(self, taint: Taint) -> bool:
        """Whether this toleration bears that taint."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


def taints_of(node: Obj) -> tuple[Taint, ...]:
    """The taints in a Node's spec."""
    return tuple(
        Taint(t.get("key", ""), t.get("value") or "", t.get("effect", ""), t.get("timeAdded") or "")
        for t in node.get("spec", {}).get("taints") or ()
    )


def tolerations_of(pod_spec: Obj) -> tuple[Toleration, ...]:
    """The tolerations in a PodSpec."""
    return tuple(
        Toleration(
            t.get("key") or "", t.get("operator") or "Equal", t.get("value") or "", t.get("effect") or "",
            t.get("tolerationSeconds"),
        )
        for t in pod_spec.get("tolerations") or ()
    )  # fmt: skip


def untolerated(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: tuple[str, ...] = (NO_SCHEDULE, NO_EXECUTE)
) -> Taint | None:
    """The first taint of those effects that nothing tolerates."""
    for taint in taints:
        if taint.effect in effects and not any(t.tolerates(taint) for t in tolerations):
            return taint
    return None


def seconds_until_eviction(taints: Iterable[Taint], tolerations: Sequence[Toleration]) -> float | None:
    """How long a pod may stay with these NoExecute taints: 0 is now, None is for ever."""
    shortest: float | None = None
    for taint in taints:
        if taint.effect != NO_EXECUTE:
            continue
        bearing = [t for t in tolerations if t.tolerates(taint)]
        if not bearing:
            return 0.0
        limits = [max(0, t.seconds) for t in bearing if t.seconds is not None]
        if limits:
            shortest = min(limits) if shortest is None else min(shortest, *limits)
    return shortest


def _requirement(operator: str, values: Sequence[str], actual: str | None) -> bool:
    if operator == "In":
        return actual is not None and actual in values
    if operator == "NotIn":
        return actual is None or actual not in values
    if operator == "Exists":
        return actual is not None
    if operator == "DoesNotExist":
        return actual is None
    try:
        number, bound = int(actual or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else operator == "Lt" and number < bound


def term_matches(term: Obj, labels: Mapping[str, str], name: str) -> bool:
    """Whether one NodeSelectorTerm matches; an empty term matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    for e in expressions:
        if not _requirement(e.get("operator", ""), e.get("values") or (), labels.get(e.get("key", ""))):
            return False
    return all(
        f.get("key") == "metadata.name" and _requirement(f.get("operator", ""), f.get("values") or (), name)
        for f in fields
    )


def selects(
    node_selector: Mapping[str, str] | None, affinity: Obj | None, labels: Mapping[str, str], name: str
) -> bool:
    """Whether a pod's nodeSelector and required node affinity (`spec.affinity.nodeAffinity`) allow this node."""
    if node_selector and any(labels.get(k) != v for k, v in node_selector.items()):
        return False
    required = (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(term_matches(term, labels, name) for term in required.get("nodeSelectorTerms") or ())


def preference(affinity: Obj | None, labels: Mapping[str, str], name: str) -> int:
    """The sum of the weights of the preferred node affinity terms that match."""
    preferred = (affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(
        int(p.get("weight", 0))
        for p in preferred
        if not (p.get("preference") or {}) or term_matches(p["preference"], labels, name)
    )
