"""Affinity and anti-affinity between pods: where a pod may not stand for the sake of others, and where it would rather.

Pure. The slow path: asked only for pods that carry such terms, and, for symmetry, when a placed pod's terms mean the
one to be placed. What is known is counted by topology domain, so that a pod can be taken out and put back, which
preemption does.

Source: API reference, Affinity; KEP-2249 (namespaceSelector), KEP-3633 (matchLabelKeys).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.selectors import LabelSelector, Requirement

APART = "node(s) didn't match pod anti-affinity rules"
TOGETHER = "node(s) didn't match pod affinity rules"
KEPT_AWAY = "node(s) didn't satisfy existing pods anti-affinity rules"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
NamespaceLabels = Callable[[str], Mapping[str, str]]
Domain = tuple[str, str]  # topology key, value


class Term(NamedTuple):
    """A PodAffinityTerm that a pod carries, ready to be asked."""

    key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    everywhere: LabelSelector | None  # over namespaces' labels
    weight: int

    def means(self, pod: PodInfo, labels_of: NamespaceLabels) -> bool:
        """Whether `pod` is one of those that the term speaks of."""
        there = pod.namespace in self.namespaces
        if not there and self.everywhere is not None:
            there = self.everywhere.empty or self.everywhere.matches(labels_of(pod.namespace))
        return there and self.selector.matches(pod.labels)


def narrowed(
    selector: Obj | None, labels: Mapping[str, str], same: Iterable[str], other: Iterable[str]
) -> LabelSelector:
    """A selector with the values of the carrier's own labels added: `matchLabelKeys` and `mismatchLabelKeys`."""
    found = LabelSelector.from_object(selector)
    if found.nothing:
        return found
    more = [Requirement(key, "in", (labels[key],)) for key in same if key in labels]
    more += [Requirement(key, "notin", (labels[key],)) for key in other if key in labels]
    return LabelSelector((*found.requirements, *more)) if more else found


def _term(owner: PodInfo, term: Obj, weight: int) -> Term:
    names = term.get("namespaces") or ()
    if not names and term.get("namespaceSelector") is None:
        names = (owner.namespace,)
    same, other = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    everywhere = term.get("namespaceSelector")
    return Term(
        term.get("topologyKey", ""), narrowed(term.get("labelSelector"), owner.labels, same, other), frozenset(names),
        None if everywhere is None else LabelSelector.from_object(everywhere), weight,
    )  # fmt: skip


def required(pod: PodInfo, kind: str) -> list[Term]:
    """The terms of `podAffinity` or `podAntiAffinity` that must hold."""
    return [_term(pod, t, 0) for t in ((pod.shape.pod_terms or {}).get(kind) or {}).get(_REQUIRED) or ()]


def preferred(pod: PodInfo) -> list[Term]:
    """The terms that count for or, with a negative weight, against a node."""
    found = []
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for each in ((pod.shape.pod_terms or {}).get(kind) or {}).get(_PREFERRED) or ():
            found.append(_term(pod, each.get("podAffinityTerm") or {}, sign * int(each.get("weight", 0))))
    return found


class Between:
    """The verdict on nodes for one pod, given the pods that are placed and the node each is on."""

    def __init__(
        self, pod: PodInfo, placed: Iterable[tuple[PodInfo, NodeInfo]], labels_of: NamespaceLabels,
    ) -> None:  # fmt: skip
        self._pod, self._labels_of = pod, labels_of
        self._apart, self._together = required(pod, "podAntiAffinity"), required(pod, "podAffinity")
        self._wishes = preferred(pod)
        self._foes: Counter[Domain] = Counter()  # domains of pods that it must not meet
        self._friends: Counter[tuple[str, str, int]] = Counter()  # (key, value, number of the term)
        self._away: Counter[Domain] = Counter()  # domains of pods that must not meet it
        self._drawn: Counter[Domain] = Counter()  # what wishes, its own and others', add up to
        self._self = bool(self._together) and all(t.means(pod, labels_of) for t in self._together)
        for other, node in placed:
            self.add(other, node)

    def add(self, other: PodInfo, node: NodeInfo, sign: int = 1) -> None:
        """Count a placed pod in (or out, with `sign` -1)."""
        if other.key == self._pod.key:
            return
        for term in self._apart:
            self._note(self._foes, term, other, node, sign)
        friends = all(term.means(other, self._labels_of) for term in self._together)
        for number, term in enumerate(self._together):
            if friends and term.key in node.labels:
                self._friends[term.key, node.labels[term.key], number] += sign
        for term in self._wishes:
            self._note(self._drawn, term, other, node, sign * term.weight)
        if other.shape.pod_terms is None:
            return
        for term in required(other, "podAntiAffinity"):
            self._note(self._away, term, self._pod, node, sign)
        for term in [*preferred(other), *(t._replace(weight=1) for t in required(other, "podAffinity"))]:
            self._note(self._drawn, term, self._pod, node, sign * term.weight)

    def _note(self, into: Counter[Domain], term: Term, about: PodInfo, node: NodeInfo, amount: int) -> None:
        if term.key in node.labels and term.means(about, self._labels_of):
            into[term.key, node.labels[term.key]] += amount

    @property
    def idle(self) -> bool:
        """Whether nothing here says anything about any node."""
        return not (self._together or self._apart or self._wishes or any(self._away.values()) or self._drawn)

    def reason(self, node: NodeInfo) -> str:
        """Why the pod may not stand there; "" when it may."""
        if self._together and not self._joins(node):
            return TOGETHER
        for term in self._apart:
            if term.key in node.labels and self._foes[term.key, node.labels[term.key]] > 0:
                return APART
        if any(count > 0 and node.labels.get(key) == value for (key, value), count in self._away.items()):
            return KEPT_AWAY
        return ""

    def _joins(self, node: NodeInfo) -> bool:
        if any(term.key not in node.labels for term in self._together):
            return False
        terms = enumerate(self._together)
        if all(self._friends[term.key, node.labels[term.key], number] > 0 for number, term in terms):
            return True
        # nobody is there yet and it means itself: it may begin
        return self._self and not any(count > 0 for count in self._friends.values())

    def wish(self, node: NodeInfo) -> int:
        """What wishes say for a node; only differences between nodes mean anything."""
        return sum(weight for (key, value), weight in self._drawn.items() if node.labels.get(key) == value)


def evened(wishes: Sequence[float]) -> list[float]:
    """Any numbers as 0 to 100, the largest being 100; all 0 where they are equal."""
    low, high = min(wishes, default=0), max(wishes, default=0)
    return [100.0 * (w - low) / (high - low) if high > low else 0.0 for w in wishes]
