"""The best node for pods of one shape, found without looking at every node for every pod. Pure.

Nodes that fit lie in a heap by score. An entry names the version of the node it was made from: when the node changed
since, the entry is void and a fresh one lies elsewhere in the heap. Only nodes that changed are looked at again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from parkube.controlplane.scheduler.cluster import Cluster, NodeState
from parkube.controlplane.scheduler.rules import reasons, room_score, static_reason, static_score
from parkube.kubeapi.compact import PodShape


class _Entry(NamedTuple):
    cost: float  # the lowest is best
    tie: float
    version: int
    name: str


class Candidates:
    """Nodes for one shape. `random` breaks ties, so that equal nodes share."""

    def __init__(self, shape: PodShape, cluster: Cluster, random: Callable[[], float]) -> None:
        self.shape = shape
        self._cluster, self._random = cluster, random
        self._static: dict[str, float] = {}  # nodes that suit, and their fixed part of the score
        self._heap: list[_Entry] = []
        self.stale: dict[str, bool] = dict.fromkeys(cluster.names(), True)
        self._failure: tuple[int, dict[str, int]] | None = None

    def best(self) -> NodeState | None:
        """The best node with room, or None. It stays in the heap until something is placed there."""
        self._refresh()
        while self._heap:
            top = self._heap[0]
            state = self._cluster.get(top.name)
            if state is not None and state.version == top.version and state.fits(self.shape):
                return state
            heapq.heappop(self._heap)
        return None

    def _refresh(self) -> None:
        for name, whole in self.stale.items():
            state = self._cluster.get(name)
            if state is None:
                self._static.pop(name, None)
                continue
            if whole:
                if static_reason(self.shape, state.info):
                    self._static.pop(name, None)
                    continue
                self._static[name] = static_score(self.shape, state.info)
            fixed = self._static.get(name)
            if fixed is not None and state.fits(self.shape):
                cost = -(fixed + room_score(self.shape, state))
                heapq.heappush(self._heap, _Entry(cost, self._random(), state.version, name))
        self.stale.clear()
        if len(self._heap) > 2 * len(self._cluster) + 64:
            self._heap = [e for e in self._heap if (s := self._cluster.get(e.name)) and s.version == e.version]
            heapq.heapify(self._heap)

    def against(self) -> dict[str, int]:
        """Why no node takes it: reasons and how many nodes each holds for."""
        if self._failure is None or self._failure[0] != self._cluster.version:
            counts: dict[str, int] = {}
            for state in self._cluster.states():
                for reason in reasons(self.shape, state):
                    counts[reason] = counts.get(reason, 0) + 1
            self._failure = (self._cluster.version, counts)
        return self._failure[1]
