"""Required affinity and anti-affinity between pods: which topology domains a pod may or may not join. Pure.

The slow path: asked only for pods that carry such terms, and, for symmetry, when a running pod keeps others away.
Preferred terms between pods are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.selectors import LabelSelector

APART = "node(s) didn't match pod anti-affinity rules"
TOGETHER = "node(s) didn't match pod affinity rules"
KEPT_AWAY = "node(s) didn't satisfy existing pods anti-affinity rules"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NodeOf = Callable[[str], NodeInfo | None]


def _terms(pod: PodInfo, kind: str) -> Sequence[Obj]:
    return ((pod.shape.pod_terms or {}).get(kind) or {}).get(_REQUIRED) or ()


def _selects(term: Obj, owner: PodInfo, other: PodInfo) -> bool:
    """Whether `other` is meant by a term that `owner` carries."""
    namespaces = term.get("namespaces") or []
    if "namespaceSelector" not in term and not namespaces:
        namespaces = [owner.namespace]
    everywhere = term.get("namespaceSelector") == {}
    if not everywhere and other.namespace not in namespaces:
        return False
    return LabelSelector.from_object(term.get("labelSelector")).matches(other.labels)


def _domains(term: Obj, owner: PodInfo, placed: Iterable[tuple[PodInfo, NodeInfo]]) -> set[str]:
    key = term.get("topologyKey", "")
    return {node.labels[key] for other, node in placed if key in node.labels and _selects(term, owner, other)}


class Between:
    """The verdict on nodes for one pod, given every pod that is placed and the node it is on."""

    def __init__(self, pod: PodInfo, placed: Sequence[tuple[PodInfo, NodeInfo]]) -> None:
        self._apart = [(t.get("topologyKey", ""), _domains(t, pod, placed)) for t in _terms(pod, "podAntiAffinity")]
        self._together: list[tuple[str, set[str] | None]] = []
        for term in _terms(pod, "podAffinity"):
            found = _domains(term, pod, placed)
            first = not found and _selects(term, pod, pod)  # nobody there yet and it means itself: it may begin
            self._together.append((term.get("topologyKey", ""), None if first else found))
        self._away: set[tuple[str, str]] = set()
        for other, node in placed:
            for term in _terms(other, "podAntiAffinity"):
                key = term.get("topologyKey", "")
                if key in node.labels and _selects(term, other, pod):
                    self._away.add((key, node.labels[key]))

    def reason(self, node: NodeInfo) -> str:
        """Why the pod may not stand there; "" when it may."""
        for key, domains in self._together:
            if key not in node.labels or (domains is not None and node.labels[key] not in domains):
                return TOGETHER
        if any(node.labels.get(key) in domains for key, domains in self._apart if key in node.labels):
            return APART
        if any(node.labels.get(key) == value for key, value in self._away):
            return KEPT_AWAY
        return ""
