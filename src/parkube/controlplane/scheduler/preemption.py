"""Whom to send away for a pod of higher priority: the least harm on one node, then the node of the least harm. Pure.

Source: Kubernetes documentation, "Pod Priority and Preemption": pods of lower priority only; budgets are honoured
where that is possible; then the lowest priorities, the fewest pods and those that started last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from parkube.controlplane.scheduler.cluster import NodeState
from parkube.controlplane.scheduler.neighbours import Neighbours
from parkube.kubeapi.compact import PodInfo


class Budget(Protocol):
    """What preemption asks of a PodDisruptionBudget."""

    @property
    def allowed(self) -> int: ...

    @property
    def disrupted(self) -> tuple[str, ...]: ...

    def matches(self, pod: PodInfo) -> bool: ...


class Victims(NamedTuple):
    """Who would have to go from one node."""

    node: str
    pods: tuple[PodInfo, ...]  # the most important first
    violations: int  # of budgets

    @property
    def harm(self) -> tuple[float, ...]:
        """The lower the better."""
        priorities = [pod.shape.priority for pod in self.pods]
        highest = max(priorities)
        earliest = min(pod.started or pod.created for pod in self.pods if pod.shape.priority == highest)
        weight = sum(priority + 2**31 for priority in priorities)  # so that fewer pods weigh less
        return (self.violations, highest, weight, len(self.pods), -earliest)


def important_first(pods: Sequence[PodInfo]) -> list[PodInfo]:
    """By priority, then by age."""
    return sorted(pods, key=lambda p: (-p.shape.priority, p.started or p.created or float("inf"), p.key))


def _by_budget(pods: Sequence[PodInfo], budgets: Sequence[Budget]) -> tuple[list[PodInfo], list[PodInfo]]:
    """Those whose going breaks a budget, and the others; both in the order given."""
    left = [budget.allowed for budget in budgets]
    breaking: list[PodInfo] = []
    others: list[PodInfo] = []
    for pod in pods:
        breaks = False
        for number, budget in enumerate(budgets):
            if budget.matches(pod) and pod.name not in budget.disrupted:
                left[number] -= 1
                breaks = breaks or left[number] < 0
        (breaking if breaks else others).append(pod)
    return breaking, others


def victims_on(
    pod: PodInfo, state: NodeState, there: Sequence[PodInfo], neighbours: Neighbours, budgets: Sequence[Budget]
) -> Victims | None:
    """The fewest of `there` (the pods on the node) without whom `pod` may stand on it; None where that helps nothing.

    All of lower priority go first; then one by one, the most important first, come back who may.
    """
    trial, info = state.copy(), state.info
    lower = important_first([p for p in there if p.shape.priority < pod.shape.priority])

    def fits() -> bool:
        return trial.fits(pod.shape) and not neighbours.reason(info)

    def move(other: PodInfo, sign: int) -> None:
        trial.add(other.key, other.shape, sign)
        neighbours.add(other, info, sign)

    for other in lower:
        move(other, -1)
    breaking, rest = _by_budget(lower, budgets)
    gone: list[PodInfo] = []
    violations = 0
    possible = bool(lower) and fits()
    for other in (*breaking, *rest):
        move(other, 1)
        if possible and not fits():
            move(other, -1)
            gone.append(other)
            violations += other in breaking
    for other in gone:
        neighbours.add(other, info, 1)  # only tried: the next node is judged with everybody in place
    return Victims(info.name, tuple(important_first(gone)), violations) if possible else None


def least(offers: Sequence[Victims]) -> Victims | None:
    """The node where the least harm is done; the first of equals."""
    return min(offers, key=lambda v: v.harm, default=None)
