"""What the pods that are placed say about one that is not: affinity between pods and topology spread as one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parkube.controlplane.scheduler.affinity import Between, evened
from parkube.controlplane.scheduler.cluster import NodeState
from parkube.controlplane.scheduler.rules import room_score, static_score
from parkube.controlplane.scheduler.spread import Spread
from parkube.kubeapi.compact import NodeInfo, PodInfo, PodShape

_WEIGHT = 2.0  # of wishes, against the 100 that an empty node is worth


class Neighbours:
    """The rules between one pod and those that are placed."""

    def __init__(self, between: Between, spread: Spread | None) -> None:
        self.between, self.spread = between, spread

    def add(self, other: PodInfo, node: NodeInfo, sign: int = 1) -> None:
        """Count a placed pod in (or out, with `sign` -1)."""
        self.between.add(other, node, sign)
        if self.spread is not None:
            self.spread.add(other, node, sign)

    def reason(self, node: NodeInfo) -> str:
        """Why the pod may not stand there; "" when it may."""
        return (self.spread.reason(node) if self.spread is not None else "") or self.between.reason(node)


def best_of(
    shape: PodShape, fitting: Sequence[NodeState], neighbours: Neighbours | None, random: Callable[[], float]
) -> NodeState | None:
    """The best of the nodes that may be taken; `random` breaks ties."""
    scores = [static_score(shape, state.info) + room_score(shape, state) for state in fitting]
    if neighbours is not None:
        wishes = [evened([float(neighbours.between.wish(state.info)) for state in fitting])]
        if (spread := neighbours.spread) is not None:
            wishes.append(evened([spread.wish(state.info) for state in fitting]))
        scores = [score + _WEIGHT * sum(w) for score, *w in zip(scores, *wishes, strict=True)]
    ranked = ((score, random(), number) for number, score in enumerate(scores))
    best = max(ranked, default=None)
    return None if best is None else fitting[best[2]]
