"""ReplicaSets and ReplicationControllers: as many pods as asked, made in growing batches, the least useful go first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo
from parkube.controlplane.controllers.pods import PodControl, claim, selects
from parkube.controlplane.controllers.runner import Env, Expectations, Reconciler, in_flight, slow_start
from parkube.controlplane.controllers.views import Trace
from parkube.kubeapi.client import GVR, PODS, REPLICASETS, REPLICATIONCONTROLLERS
from parkube.kubeapi.compact import PodInfo, available, ready_first
from parkube.kubeapi.errors import Obj, namespace_ends
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
        before: Obj = next((c for c in old.get("conditions") or () if c.get("type") == "ReplicaFailure"), {})
        fresh = {"type": "ReplicaFailure", "status": "True", "reason": failure[0], "message": failure[1]}
        # The first message stays: one that names the pod is another at each try, and a write asks for the next try.
        same = before.get("reason") == failure[0]
        conditions.append(before if same else {**fresh, "lastTransitionTime": rfc3339(now)})
    if conditions:
        new["conditions"] = conditions
    return new


class ReplicaSetController(Reconciler):
    """Keeps the pods of every ReplicaSet."""

    name: ClassVar[str] = "replicaset"
    inputs: ClassVar[tuple[GVR, ...]] = (REPLICASETS, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS, REPLICASETS)
    workers: ClassVar[int] = 4
    gvr: ClassVar[GVR] = REPLICASETS
    api_version: ClassVar[str] = "apps/v1"
    kind: ClassVar[str] = "ReplicaSet"

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._expected = Expectations()
        self._pods = PodControl(env, self._expected, self.recorder)
        self._subscribe()
        env.views.pods.subscribe(self._pod_changed)

    def _subscribe(self) -> None:
        self.views.replicasets.subscribe(self._set_changed)

    def _selectors(self) -> Iterable[tuple[str, bytes]]:
        """The selector of each one of the kind, by key."""
        return ((key, info.selector) for key, info in self.views.replicasets.items())

    def _selector(self, obj: Obj) -> LabelSelector:
        return LabelSelector.from_object(obj["spec"].get("selector"))

    def _set_changed(self, kind: str, key: str, old: ReplicaSetInfo | None, new: ReplicaSetInfo | None) -> None:
        if new is None:
            if old is not None:
                self._expected.forget(old.uid)
        elif old is None or _seen(old) != _seen(new):
            self.queue.add(key)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        for pod in (old, new):
            if pod is None:
                continue
            owner = pod.controller
            if owner is not None and owner.kind == self.kind:
                self._pods.heard(owner.uid, key, new)
                self.queue.add_after(f"{pod.namespace}/{owner.name}", 0.02)
            elif owner is None and not pod.deleting:
                self._offer(pod)

    def _offer(self, pod: PodInfo) -> None:
        """A pod that nobody owns: whoever selects it may take it in."""
        for key, selector in self._selectors():
            if split_key(key)[0] == pod.namespace and selects(selector, pod.labels):
                self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """Count and correct the pods of one."""
        namespace, name = split_key(key)
        obj = {**await self.client.get(self.gvr, name, namespace), "apiVersion": self.api_version, "kind": self.kind}
        uid = obj["metadata"]["uid"]
        failure: tuple[str, str] | None = None
        if self._expected.pending(uid):
            return 1.0  # the awaited events come sooner and queue it again
        if not obj["metadata"].get("deletionTimestamp"):
            pods = await claim(self.env, obj, self._selector(obj))
            failure = await self._correct(obj, plan(int(obj["spec"].get("replicas", 1)), pods))
        now = self.clock()
        pods = self.views.index.of_owner(uid)
        new = status(obj, pods, failure, now)
        if new != (obj.get("status") or {}):
            await self.client.update(self.gvr, {**obj, "status": new}, subresource="status")
        if failure is not None:
            raise RuntimeError(failure[1])  # tried again with back-off
        least = int(obj["spec"].get("minReadySeconds") or 0)
        waits = [p.ready_at + least - now for p in pods if p.active and p.ready and not available(p, least, now)]
        return max(0.1, min(waits)) if waits else None

    async def _correct(self, obj: Obj, change: Change) -> tuple[str, str] | None:
        if change.create:
            make = partial(self._pods.create, obj, obj["spec"]["template"])
            answers = await slow_start([make for _ in range(change.create)])
            errors = [a for a in answers if isinstance(a, Exception) and not namespace_ends(a)]
            return ("FailedCreate", str(errors[0])) if errors else None
        drops = [partial(self._pods.delete, obj, pod) for pod in change.delete]
        errors = [a for a in await in_flight(drops) if isinstance(a, Exception)]
        return ("FailedDelete", str(errors[0])) if errors else None


def _seen(info: ReplicaSetInfo) -> tuple[object, ...]:
    """What makes the controller look again: its counts too, which somebody else may have written."""
    return info.generation, info.deleting, info.labels, info.observed, info.pods, info.ready, info.available


class ReplicationController(ReplicaSetController):
    """Keeps the pods of every ReplicationController: the same, with a plain map as selector."""

    name: ClassVar[str] = "replicationcontroller"
    inputs: ClassVar[tuple[GVR, ...]] = (REPLICATIONCONTROLLERS, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS, REPLICATIONCONTROLLERS)
    source: ClassVar[str] = "replication-controller"
    gvr: ClassVar[GVR] = REPLICATIONCONTROLLERS
    api_version: ClassVar[str] = "v1"
    kind: ClassVar[str] = "ReplicationController"

    def _subscribe(self) -> None:
        self.views.replicationcontrollers.subscribe(self._traced)

    def _selectors(self) -> Iterable[tuple[str, bytes]]:
        return ((key, info.selector) for key, info in self.views.replicationcontrollers.items())

    def _selector(self, obj: Obj) -> LabelSelector:
        return LabelSelector.from_object({"matchLabels": obj["spec"].get("selector") or {}})

    def _traced(self, kind: str, key: str, old: Trace | None, new: Trace | None) -> None:
        if new is None:
            if old is not None:
                self._expected.forget(old.uid)
        elif old is None or old != new:
            self.queue.add(key)
