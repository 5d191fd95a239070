"""The ReplicaSet controller: as many pods as asked, made in growing batches, taken away least useful first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo
from parkube.controlplane.controllers.pods import PodControl, adopt, release, selects
from parkube.controlplane.controllers.runner import Env, Expectations, Reconciler, in_flight, slow_start
from parkube.kubeapi.client import GVR, PODS, REPLICASETS
from parkube.kubeapi.compact import PodInfo, available, ready_first
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339, split_key
from parkube.kubeapi.selectors import LabelSelector

_BURST = 500


class Change(NamedTuple):
    """How many pods to make, or which to delete."""

    create: int
    delete: tuple[PodInfo, ...]


def plan(replicas: int, pods: Sequence[PodInfo]) -> Change:
    """What brings `pods` (all owned, in any state) to `replicas` active ones. At most 500 at a time."""
    active = [p for p in pods if p.active]
    missing = replicas - len(active)
    if missing >= 0:
        return Change(min(missing, _BURST), ())
    return Change(0, tuple(ready_first(active)[missing:][-_BURST:]))


def status(replicaset: Obj, pods: Sequence[PodInfo], failure: tuple[str, str] | None, now: float) -> Obj:
    """A ReplicaSet's status. `failure`: reason and message of pods that could not be made or deleted."""
    spec, active = replicaset.get("spec") or {}, [p for p in pods if p.active]
    template_labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    least = int(spec.get("minReadySeconds") or 0)
    counts = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(all(p.labels.get(k) == v for k, v in template_labels.items()) for p in active),
        "readyReplicas": sum(p.ready for p in active),
        "availableReplicas": sum(available(p, least, now) for p in active),
    }
    old = replicaset.get("status") or {}
    new: Obj = {k: v for k, v in counts.items() if v or k == "replicas"}
    new["observedGeneration"] = replicaset["metadata"].get("generation", 0)
    conditions = [c for c in old.get("conditions") or () if c.get("type") != "ReplicaFailure"]
    if failure is not None:
        before = next((c for c in old.get("conditions") or () if c.get("type") == "ReplicaFailure"), None)
        fresh = {"type": "ReplicaFailure", "status": "True", "reason": failure[0], "message": failure[1]}
        same = before is not None and before.get("reason") == failure[0]
        conditions.append(
            {**fresh, "lastTransitionTime": before["lastTransitionTime"] if same and before else rfc3339(now)}
        )
    if conditions:
        new["conditions"] = conditions
    return new


class ReplicaSetController(Reconciler):
    """Keeps the pods of every ReplicaSet."""

    name: ClassVar[str] = "replicaset"
    inputs: ClassVar[tuple[GVR, ...]] = (REPLICASETS, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS, REPLICASETS)
    workers: ClassVar[int] = 4

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._expected = Expectations()
        self._pods = PodControl(env, self._expected, self.recorder)
        env.views.replicasets.subscribe(self._set_changed)
        env.views.pods.subscribe(self._pod_changed)

    def _set_changed(self, kind: str, key: str, old: ReplicaSetInfo | None, new: ReplicaSetInfo | None) -> None:
        if new is None:
            if old is not None:
                self._expected.forget(old.uid)
        elif old is None or (old.generation, old.deleting, old.labels) != (new.generation, new.deleting, new.labels):
            self.queue.add(key)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            owner = pod.controller
            if owner is not None and owner.kind == "ReplicaSet":
                self._pods.heard(owner.uid, key, new)
                self.queue.add_after(f"{pod.namespace}/{owner.name}", 0.02)
            elif owner is None and not pod.deleting:
                self._offer(pod)

    def _offer(self, pod: PodInfo) -> None:
        """A pod that nobody owns: whichever ReplicaSet selects it may take it in."""
        for key, info in self.views.replicasets.items():
            if info.namespace == pod.namespace and selects(info.selector, pod.labels):
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """Count and correct the pods of one ReplicaSet."""
        namespace, name = split_key(key)
        replicaset = await self.client.get(REPLICASETS, name, namespace)
        uid = replicaset["metadata"]["uid"]
        pods = self.views.index.of_owner(uid)
        failure: tuple[str, str] | None = None
        if self._expected.pending(uid):
            return 1.0  # the awaited events come sooner and queue it again
        if not replicaset["metadata"].get("deletionTimestamp"):
            pods = await self._claim(replicaset, pods)
            failure = await self._correct(replicaset, plan(int(replicaset["spec"].get("replicas", 1)), pods))
        now = self.clock()
        pods = self.views.index.of_owner(uid)
        new = status(replicaset, pods, failure, now)
        if new != (replicaset.get("status") or {}):
            await self.client.update(REPLICASETS, {**replicaset, "status": new}, subresource="status")
        if failure is not None:
            raise RuntimeError(failure[1])  # tried again with back-off
        least = int(replicaset["spec"].get("minReadySeconds") or 0)
        waits = [p.ready_at + least - now for p in pods if p.active and p.ready and not available(p, least, now)]
        return max(0.1, min(waits)) if waits else None

    async def _claim(self, replicaset: Obj, pods: list[PodInfo]) -> list[PodInfo]:
        """Let go of pods that no longer match, take in those that do and belong to nobody."""
        selector = LabelSelector.from_object(replicaset["spec"].get("selector"))
        owned = []
        for pod in pods:
            if selector.matches(pod.labels) or pod.deleting:
                owned.append(pod)
            else:
                await release(self.client, pod, replicaset["metadata"]["uid"])
        for pod in self.views.index.of_owner(""):
            if pod.namespace == replicaset["metadata"]["namespace"] and pod.active and selector.matches(pod.labels):
                await adopt(self.client, pod, {**replicaset, "apiVersion": "apps/v1", "kind": "ReplicaSet"})
                owned.append(pod)
        return owned

    async def _correct(self, replicaset: Obj, change: Change) -> tuple[str, str] | None:
        obj = {**replicaset, "apiVersion": "apps/v1", "kind": "ReplicaSet"}
        if change.create:
            make = partial(self._pods.create, obj, obj["spec"]["template"])
            answers = await slow_start([make for _ in range(change.create)])
            errors = [a for a in answers if isinstance(a, Exception)]
            return ("FailedCreate", str(errors[0])) if errors else None
        drops = [partial(self._pods.delete, obj, pod) for pod in change.delete]
        errors = [a for a in await in_flight(drops) if isinstance(a, Exception)]
        return ("FailedDelete", str(errors[0])) if errors else None
