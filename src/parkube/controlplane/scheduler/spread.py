"""Topology spread: where one more pod would make the domains of a topology too uneven, and where it evens them out.

Pure. Counted by domain, so that a pod can be taken out and put back, which preemption does.

Source: API reference, TopologySpreadConstraint; KEP-895, KEP-3022 (minDomains), KEP-3094 (node inclusion policies),
KEP-3243 (matchLabelKeys).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log
from typing import NamedTuple

from parkube.controlplane.scheduler.affinity import narrowed
from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.placement import selects, untolerated
from parkube.kubeapi.selectors import LabelSelector

UNEVEN = "node(s) didn't match pod topology spread constraints"
UNLABELLED = f"{UNEVEN} (missing required label)"


class Constraint(NamedTuple):
    """A TopologySpreadConstraint as a pod carries it, ready to be asked."""

    key: str
    selector: LabelSelector
    skew: int
    domains: int  # the least number of them
    hard: bool
    by_affinity: bool
    by_taints: bool

    def counts(self, pod: PodInfo, node: NodeInfo) -> bool:
        """Whether the node is one of those among which this pod is to be spread."""
        shape = pod.shape
        if self.by_affinity:
            if pod.pin and pod.pin != node.name:
                return False
            if not selects(shape.node_selector, shape.node_affinity, node.labels, node.name):
                return False
        return not self.by_taints or untolerated(node.taints, shape.tolerations) is None


def _constraint(pod: PodInfo, obj: Obj) -> Constraint:
    return Constraint(
        obj.get("topologyKey", ""),
        narrowed(obj.get("labelSelector"), pod.labels, obj.get("matchLabelKeys") or (), ()),
        int(obj.get("maxSkew") or 1),
        int(obj.get("minDomains") or 1),
        obj.get("whenUnsatisfiable") != "ScheduleAnyway",
        (obj.get("nodeAffinityPolicy") or "Honor") == "Honor",
        obj.get("nodeTaintsPolicy") == "Honor",
    )


class Spread:
    """The verdict on nodes for one pod, given all nodes, the pods that are placed and the node each is on."""

    def __init__(self, pod: PodInfo, nodes: Iterable[NodeInfo], placed: Iterable[tuple[PodInfo, NodeInfo]]) -> None:
        self._pod = pod
        constraints = [_constraint(pod, obj) for obj in pod.shape.spread]
        self._rules = [(c, dict[str, int]()) for c in constraints]  # how many matching pods are in each domain
        keys = {hard: [c.key for c in constraints if c.hard is hard] for hard in (True, False)}
        for node in nodes:
            for rule, domains in self._rules:
                if all(key in node.labels for key in keys[rule.hard]) and rule.counts(pod, node):
                    domains.setdefault(node.labels[rule.key], 0)
        for other, node in placed:
            self.add(other, node)

    def add(self, other: PodInfo, node: NodeInfo, sign: int = 1) -> None:
        """Count a placed pod in (or out, with `sign` -1)."""
        if other.namespace != self._pod.namespace or other.deleting or other.key == self._pod.key:
            return
        for rule, domains in self._rules:
            domain = node.labels.get(rule.key)
            if domain in domains and rule.selector.matches(other.labels) and rule.counts(self._pod, node):
                domains[domain] += sign

    def reason(self, node: NodeInfo) -> str:
        """Why the pod may not stand there; "" when it may."""
        for rule, domains in self._rules:
            if not rule.hard:
                continue
            domain = node.labels.get(rule.key)
            if domain is None:
                return UNLABELLED
            least = min(domains.values(), default=0) if len(domains) >= rule.domains else 0
            itself = rule.selector.matches(self._pod.labels)
            if domains.get(domain, 0) + itself - least > rule.skew:
                return UNEVEN
        return ""

    def wish(self, node: NodeInfo) -> float:
        """How much evener it gets: the fewer there are already the better. Only differences mean anything."""
        total = 0.0
        for rule, domains in self._rules:
            if rule.hard:
                continue
            most = max(domains.values(), default=0) + rule.skew
            there = domains.get(node.labels.get(rule.key, ""), most)
            total -= there * log(len(domains) + 2)
        return total
