"""PodDisruptionBudgets: counts how many pods of each may be evicted now, which `pods/eviction` then draws from.

Evicts nothing itself. An eviction writes its pod into `status.disruptedPods`, so that the next one does not count it
as healthy while its deletion is on its way here; a pod that is still there two minutes later was not deleted after all.

Source: the Disruption controller's published behaviour. Expected are the replicas of the Deployments and ReplicaSets
that own the pods; pods of other owners, and of none, count as themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, ClassVar, NamedTuple

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import BUDGETS
from parkube.kubeapi.client import GVR, PODS, REPLICASETS
from parkube.kubeapi.compact import PodInfo, epoch
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339, split_key

_PATIENCE_S = 120.0


class Count(NamedTuple):
    """What a budget's status says."""

    expected: int
    desired: int
    healthy: int
    disrupted: dict[str, str]  # pod -> when it was evicted

    @property
    def allowed(self) -> int:
        """How many pods may be evicted."""
        return max(0, self.healthy - self.desired) if self.expected else 0


def expected(pods: Sequence[PodInfo], replicaset: Callable[[str], ReplicaSetInfo | None]) -> int:
    """How many pods their owners want. `replicaset` finds one by `namespace/name`."""
    wanted: dict[str, int] = {}
    alone = 0
    for pod in pods:
        owner = pod.controller
        found = replicaset(f"{pod.namespace}/{owner.name}") if owner and owner.kind == "ReplicaSet" else None
        if found is None:
            alone += 1
        elif found.controller and found.desired >= 0:
            wanted[found.controller] = found.desired
        else:
            wanted[found.uid] = found.replicas
    return alone + sum(wanted.values())


def count(spec: Obj, disrupted: Obj, pods: Sequence[PodInfo], wanted: int, now: float) -> Count:
    """`pods`: those that match and are not finished. `wanted`: from `expected`. `now`: s since 1970."""
    there = {pod.name: pod for pod in pods}
    leaving = {
        name: at for name, at in disrupted.items()
        if name in there and not there[name].deleting and epoch(at) + _PATIENCE_S > now
    }  # fmt: skip
    healthy = sum(pod.ready and not pod.deleting and pod.name not in leaving for pod in pods)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if most is not None:
        desired = max(0, wanted - _part(most, wanted))
    elif isinstance(least, str):
        desired = _part(least, wanted)
    else:
        desired, wanted = int(least or 0), len(pods)
    return Count(wanted, desired, healthy, leaving)


def _part(value: Any, of: int) -> int:
    """A number, or a percentage rounded up."""
    return ceil(of * int(value.rstrip("%")) / 100) if isinstance(value, str) else int(value)


def status(budget: Obj, counted: Count, now: float) -> Obj:
    """The budget's status."""
    enough = counted.allowed > 0
    condition = {
        "type": "DisruptionAllowed", "status": "True" if enough else "False",
        "reason": "SufficientPods" if enough else "InsufficientPods", "message": "",
        "observedGeneration": budget["metadata"].get("generation", 0), "lastTransitionTime": rfc3339(now),
    }  # fmt: skip
    for before in (budget.get("status") or {}).get("conditions") or ():
        if before.get("type") == condition["type"] and before.get("status") == condition["status"]:
            condition["lastTransitionTime"] = before.get("lastTransitionTime")
    new: Obj = {
        "observedGeneration": budget["metadata"].get("generation", 0), "disruptionsAllowed": counted.allowed,
        "currentHealthy": counted.healthy, "desiredHealthy": counted.desired, "expectedPods": counted.expected,
        "conditions": [condition],
    }  # fmt: skip
    if counted.disrupted:
        new["disruptedPods"] = counted.disrupted
    return new


class DisruptionController(Reconciler):
    """Keeps the status of every budget."""

    name: ClassVar[str] = "disruption"
    inputs: ClassVar[tuple[GVR, ...]] = (BUDGETS, PODS, REPLICASETS)
    outputs: ClassVar[tuple[GVR, ...]] = (BUDGETS,)
    workers: ClassVar[int] = 1

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        env.views.budgets.subscribe(lambda kind, key, old, new: self.queue.add(key))
        env.views.pods.subscribe(self._pod_changed)
        env.views.replicasets.subscribe(self._set_changed)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        for name, budget in self.views.budgets.items():
            if any(pod is not None and budget.matches(pod) for pod in (old, new)):
                self.queue.add(name)

    def _set_changed(self, kind: str, key: str, old: ReplicaSetInfo | None, new: ReplicaSetInfo | None) -> None:
        one = new or old
        if one is None or (old and new and (old.replicas, old.desired) == (new.replicas, new.desired)):
            return
        for name, budget in self.views.budgets.items():
            if budget.namespace == one.namespace:
                self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        known = self.views.budgets.get(key)
        if known is None:
            return None
        namespace, name = split_key(key)
        budget = await self.client.get(BUDGETS, name, namespace)
        spec, old = budget.get("spec") or {}, budget.get("status") or {}
        pods = [p for p in self.views.index.in_namespace(namespace) if known.matches(p) and not p.finished]
        now = self.clock()
        counted = count(spec, old.get("disruptedPods") or {}, pods, expected(pods, self.views.replicasets.get), now)
        new = status(budget, counted, now)
        if new != old:
            budget["status"] = new
            await self.client.update(BUDGETS, budget, subresource="status")
        return _PATIENCE_S if counted.disrupted else None
