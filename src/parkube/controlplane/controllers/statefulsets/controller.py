"""The StatefulSet controller: carries out `plan`, one step at a time, and keeps claims and history."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.history import History, template_of
from parkube.controlplane.controllers.pods import PodControl, claim, selects
from parkube.controlplane.controllers.runner import Env, Expectations, Reconciler, in_flight
from parkube.controlplane.controllers.statefulsets.plan import (
    Step,
    Wanted,
    counts,
    ordinal_of,
    plan,
    revision_of,
    wanted,
)
from parkube.controlplane.controllers.statefulsets.pods import claim_owner, claims_of, pod_of
from parkube.controlplane.controllers.views import CONTROLLERREVISIONS, Trace
from parkube.kubeapi.client import GVR, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from parkube.kubeapi.compact import PodInfo, available
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import owner_references, split_key
from parkube.kubeapi.recorder import Reference
from parkube.kubeapi.selectors import LabelSelector


class StatefulSetController(Reconciler):
    """Keeps the pods of every StatefulSet."""

    name: ClassVar[str] = "statefulset"
    inputs: ClassVar[tuple[GVR, ...]] = (STATEFULSETS, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS, STATEFULSETS, CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._expected = Expectations()
        self._pods = PodControl(env, self._expected, self.recorder)
        self._history = History(env.client)
        env.views.statefulsets.subscribe(self._set_changed)
        env.views.pods.subscribe(self._pod_changed)

    def _set_changed(self, kind: str, key: str, old: Trace | None, new: Trace | None) -> None:
        if new is not None and new != old:
            self.queue.add(key)
        elif new is None and old is not None:
            self._expected.forget(old.uid)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        for pod in (old, new):
            owner = pod.controller if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "StatefulSet":
                self._pods.heard(owner.uid, key, new)
                self.queue.add_after(f"{pod.namespace}/{owner.name}", 0.02)
        if new is not None and not new.deleting and new.controller is None:
            for name, trace in self.views.statefulsets.items():
                if split_key(name)[0] == new.namespace and selects(trace.selector, new.labels):
                    self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        """One step for one StatefulSet."""
        namespace, name = split_key(key)
        obj = {**await self.client.get(STATEFULSETS, name, namespace), "apiVersion": "apps/v1", "kind": "StatefulSet"}
        m = obj["metadata"]
        if m.get("deletionTimestamp"):
            return None
        if self._expected.pending(m["uid"]):
            return 1.0
        pods = await claim(self.env, obj, LabelSelector.from_object(obj["spec"].get("selector")))
        update = f"{name}-{await self._history.current(obj)}"
        known = {r["metadata"]["name"]: r for r in await self._history.revisions(obj)}
        current = str((obj.get("status") or {}).get("currentRevision") or update)
        want = wanted(obj, current if current in known else update, update)
        now = self.clock()
        await self._keep_claims(obj, want, pods)
        error = await self._carry_out(obj, want, plan(want, pods, now), known)
        pods = self.views.index.of_owner(m["uid"])
        new = {**counts(want, pods, now), "observedGeneration": m.get("generation", 0)}
        old = obj.get("status") or {}
        new.update({k: old[k] for k in ("collisionCount", "conditions") if k in old})
        if new != old:
            await self.client.update(STATEFULSETS, {**obj, "status": new}, subresource="status")
            if new["currentRevision"] == new["updateRevision"]:
                await self._history.clean_up(obj, {revision_of(p)[len(name) + 1 :] for p in pods})
        if error is not None:
            raise error
        least = want.min_ready_s
        waits = [p.ready_at + least - now for p in pods if p.ready and not available(p, least, now)]
        return max(0.1, min(waits)) if waits else None

    async def _carry_out(self, obj: Obj, want: Wanted, step: Step, known: dict[str, Obj]) -> Exception | None:
        drops = [partial(self._pods.delete, obj, pod) for pod in step.delete]
        answers: list[Obj | Exception | None] = [*await in_flight(drops)]

        async def make(number: int, revision: str) -> Obj:
            for fresh in claims_of(obj, number):
                await self._make_claim(obj, fresh)
            template = template_of(known[revision]) if revision in known else obj["spec"]["template"]
            return await self._pods.create(obj, template, pod_of(obj, template, number, revision))

        for number, revision in step.create:
            answers += await in_flight([partial(make, number, revision)])
        return next((a for a in answers if isinstance(a, Exception) and not isinstance(a, AlreadyExists)), None)

    async def _make_claim(self, obj: Obj, fresh: Obj) -> None:
        m, owner = fresh["metadata"], claim_owner(obj, None, beyond=False)
        if owner is not None:
            m["ownerReferences"] = [owner]
        try:
            await self.client.get(PERSISTENTVOLUMECLAIMS, m["name"], m["namespace"])
        except NotFound:
            await self.client.create(PERSISTENTVOLUMECLAIMS, fresh, m["namespace"])
            about = Reference.of(obj)
            text = f"create Claim {m['name']} in StatefulSet {obj['metadata']['name']} success"
            self.recorder.normal(about, "SuccessfulCreate", text)

    async def _keep_claims(self, obj: Obj, want: Wanted, pods: list[PodInfo]) -> None:
        """Owners of the claims by the retention policy, before a pod goes."""
        policy = obj["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        if "Delete" not in policy.values():
            return
        for pod in pods:
            number = ordinal_of(want.name, pod.name)
            if number < 0:
                continue
            beyond = not want.start <= number < want.end
            about = {"metadata": {"name": pod.name, "uid": pod.uid}}
            owner = claim_owner(obj, about, beyond=beyond)
            ours = {obj["metadata"]["uid"], pod.uid}
            for template in claims_of(obj, number):
                await self._own_claim(template["metadata"], owner, ours)

    async def _own_claim(self, m: Obj, owner: Obj | None, ours: set[str]) -> None:
        try:
            claim_ = await self.client.get(PERSISTENTVOLUMECLAIMS, m["name"], m["namespace"])
        except NotFound:
            return
        others = [r for r in owner_references(claim_) if r.get("uid") not in ours]
        new = [*others, *([owner] if owner else [])]
        if new != owner_references(claim_):
            change = {"metadata": {"uid": claim_["metadata"]["uid"], "ownerReferences": new or None}}
            await self.client.patch(PERSISTENTVOLUMECLAIMS, m["name"], change, m["namespace"])
