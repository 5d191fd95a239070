"""The deployment controller: reads a Deployment and its ReplicaSets, and carries out one step of `plan` at a time."""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.deployments.model import (
    DESIRED,
    HASH_LABEL,
    MAX,
    REVISION,
    REVISION_HISTORY,
    ROLLBACK_TO,
    ReplicaSetInfo,
    Wanted,
    copied_annotations,
    replicaset_info,
    template_digest,
    wanted,
)
from parkube.controlplane.controllers.deployments.plan import Plan, plan
from parkube.controlplane.controllers.deployments.status import progress_deadline, status
from parkube.controlplane.controllers.pods import selects
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import Trace
from parkube.kubeapi.client import DEPLOYMENTS, GVR, PODS, REPLICASETS
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import copy, owner_reference, split_key
from parkube.kubeapi.recorder import Reference
from parkube.kubeapi.selectors import LabelSelector


class DeploymentController(Reconciler):
    """Keeps the ReplicaSets of every Deployment as its template, replicas and strategy ask."""

    name: ClassVar[str] = "deployment"
    inputs: ClassVar[tuple[GVR, ...]] = (DEPLOYMENTS, REPLICASETS, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (DEPLOYMENTS, REPLICASETS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._sets: dict[str, set[str]] = {}  # Deployment's uid -> keys of its ReplicaSets
        self._keys: dict[str, str] = {}  # Deployment's uid -> its key
        env.views.deployments.subscribe(self._deployment_changed)
        env.views.replicasets.subscribe(self._set_changed)
        env.views.pods.subscribe(self._pod_changed)

    def _deployment_changed(self, kind: str, key: str, old: Trace | None, new: Trace | None) -> None:
        if new is None:
            if old is not None:
                self._keys.pop(old.uid, None)
            return
        self._keys[new.uid] = key
        self.queue.add(key)

    def _set_changed(self, kind: str, key: str, old: ReplicaSetInfo | None, new: ReplicaSetInfo | None) -> None:
        for info, add in ((old, False), (new, True)):
            if info is None:
                continue
            uid = info.controller
            if add:
                self._sets.setdefault(uid, set()).add(key)
            else:
                self._sets.get(uid, set()).discard(key)
                if not self._sets.get(uid):
                    self._sets.pop(uid, None)
            if uid in self._keys:
                self.queue.add(self._keys[uid])
            elif add and not uid and self._adopters(info):
                self.queue.add(self._adopters(info)[0])

    def _adopters(self, info: ReplicaSetInfo) -> list[str]:
        """Deployments that might take an unowned ReplicaSet in."""
        return [
            key
            for key, trace in self.views.deployments.items()
            if key.startswith(info.namespace + "/") and selects(trace.selector, info.labels)
        ]

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        """A pod that ended may be what a Recreate waits for."""
        if new is not None or old is None:
            return
        owner = old.controller
        if owner is not None and owner.kind == "ReplicaSet":
            parent = self.views.replicasets.get(f"{old.namespace}/{owner.name}")
            if parent is not None and parent.controller in self._keys:
                self.queue.add(self._keys[parent.controller])

    async def reconcile(self, key: str) -> float | None:
        """One step for one Deployment."""
        namespace, name = split_key(key)
        deployment = await self.client.get(DEPLOYMENTS, name, namespace)
        if deployment["metadata"].get("deletionTimestamp"):
            return None
        sets = await self._owned(deployment)
        if await self._rolled_back(deployment, sets):
            return 0.0
        want = wanted(deployment)
        step = plan(want, sets, old_pods=want.recreate and self._old_pods(want, sets))
        created = await self._carry_out(deployment, want, step)
        if created is None:
            return 0.0  # the name was taken: planned again with another hash
        return await self._write_status(deployment, want, step, sets, created)

    async def _owned(self, deployment: Obj) -> list[ReplicaSetInfo]:
        """Its ReplicaSets, after taking in those that match and belong to nobody."""
        m = deployment["metadata"]
        sets = [s for k in self._sets.get(m["uid"], ()) if (s := self.views.replicasets.get(k)) is not None]
        selector = LabelSelector.from_object(deployment["spec"].get("selector"))
        prefix = m["namespace"] + "/"
        for key in [k for k in self._sets.get("", ()) if k.startswith(prefix)]:
            orphan = self.views.replicasets.get(key)
            if orphan is None or orphan.deleting or not selector.matches(orphan.labels):
                continue
            reference = owner_reference({**deployment, "apiVersion": "apps/v1", "kind": "Deployment"})
            change: Obj = {"metadata": {"uid": orphan.uid, "ownerReferences": [reference]}}
            sets.append(replicaset_info(await self.client.patch(REPLICASETS, orphan.name, change, orphan.namespace)))
        return sets

    def _old_pods(self, want: Wanted, sets: list[ReplicaSetInfo]) -> bool:
        for s in sets:
            if s.template != want.template and any(not p.finished for p in self.views.index.of_owner(s.uid)):
                return True
        return False

    async def _rolled_back(self, deployment: Obj, sets: list[ReplicaSetInfo]) -> bool:
        """Carry out `rollbackTo` of extensions/v1beta1, which is kept as an annotation."""
        notes = deployment["metadata"].get("annotations") or {}
        if ROLLBACK_TO not in notes:
            return False
        new = copy(deployment)
        text = notes[ROLLBACK_TO]
        asked = int(text) if text.isdigit() else 0
        del new["metadata"]["annotations"][ROLLBACK_TO]
        revisions = sorted(s.revision for s in sets)
        asked = asked or (revisions[-2] if len(revisions) > 1 else 0)
        target = next((s for s in sets if s.revision == asked and asked), None)
        about = Reference.of(deployment)
        if target is None:
            self.recorder.warning(about, "DeploymentRollbackRevisionNotFound", "Unable to find the revision.")
        else:
            template = copy((await self.client.get(REPLICASETS, target.name, target.namespace))["spec"]["template"])
            (template.get("metadata", {}).get("labels") or {}).pop(HASH_LABEL, None)
            if template_digest(template) == template_digest(deployment["spec"]["template"]):
                text = f'The rollback revision contains the same template as deployment "{new["metadata"]["name"]}"'
                self.recorder.warning(about, "DeploymentRollbackTemplateUnchanged", text)
            else:
                new["spec"]["template"] = template
                text = f'Rolled back deployment "{new["metadata"]["name"]}" to revision {asked}'
                self.recorder.normal(about, "DeploymentRollback", text)
        await self.client.update(DEPLOYMENTS, new)
        return True

    async def _carry_out(self, deployment: Obj, want: Wanted, step: Plan) -> str | None:
        """Make the changes; the name of a ReplicaSet that was made ("": none). None: its name was taken."""
        created = ""
        if step.create is not None:
            made = await self._create(deployment, want, step)
            if made is None:
                return None
            created = made
        scaled = {s.target.key for s in step.scales}
        if step.annotate and step.current is not None and step.current.key not in scaled:
            await self._change(deployment, want, step, step.current, step.current.replicas)
        for scale in step.scales:
            await self._change(deployment, want, step, scale.target, scale.replicas)
        for extra in step.deletes:
            preconditions = {"uid": extra.uid, "resourceVersion": extra.resource_version}
            try:
                await self.client.delete(
                    REPLICASETS, extra.name, extra.namespace, options={"preconditions": preconditions}
                )
            except NotFound:
                continue
        notes = deployment["metadata"].get("annotations") or {}
        if (step.current or created) and notes.get(REVISION) != str(step.revision):
            change = {"metadata": {"annotations": {REVISION: str(step.revision)}}}
            m = deployment["metadata"]
            fresh = await self.client.patch(DEPLOYMENTS, m["name"], change, m["namespace"])
            deployment["metadata"] = fresh["metadata"]
        return created

    async def _create(self, deployment: Obj, want: Wanted, step: Plan) -> str | None:
        m, spec = deployment["metadata"], deployment["spec"]
        name = f"{m['name']}-{want.hash}"
        template = copy(spec.get("template") or {})
        template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = want.hash
        selector = copy(spec.get("selector") or {})
        selector.setdefault("matchLabels", {})[HASH_LABEL] = want.hash
        notes = {**copied_annotations(m.get("annotations")), REVISION: str(step.revision)}
        notes |= {DESIRED: str(want.replicas), MAX: str(want.most)}
        obj: Obj = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": m["namespace"],
                "labels": dict(template["metadata"]["labels"]),
                "annotations": notes,
                "ownerReferences": [owner_reference({**deployment, "apiVersion": "apps/v1", "kind": "Deployment"})],
            },
            "spec": {
                "replicas": step.create,
                "minReadySeconds": want.min_ready,
                "selector": selector,
                "template": template,
            },
        }
        try:
            await self.client.create(REPLICASETS, obj, m["namespace"])
        except AlreadyExists:
            return await self._taken(deployment, want, name)
        if step.create:
            text = f"Scaled up replica set {name} from 0 to {step.create}"
            self.recorder.normal(Reference.of(deployment), "ScalingReplicaSet", text)
        return name

    async def _taken(self, deployment: Obj, want: Wanted, name: str) -> str | None:
        """The name exists: ours from before a restart, or a collision of hashes."""
        m = deployment["metadata"]
        other = replicaset_info(await self.client.get(REPLICASETS, name, m["namespace"]))
        if other.controller == m["uid"] and other.template == want.template:
            return name
        collided = {"status": {"collisionCount": int((deployment.get("status") or {}).get("collisionCount") or 0) + 1}}
        await self.client.patch(DEPLOYMENTS, m["name"], collided, m["namespace"], subresource="status")
        return None

    async def _change(self, deployment: Obj, want: Wanted, step: Plan, target: ReplicaSetInfo, replicas: int) -> None:
        """Set replicas and annotations of one ReplicaSet, unless it changed since the plan was made."""
        notes: Obj = {DESIRED: str(want.replicas), MAX: str(want.most)}
        spec: Obj = {}
        if replicas != target.replicas:
            spec["replicas"] = replicas
        if step.current is target:
            current = await self.client.get(REPLICASETS, target.name, target.namespace)
            ours = copied_annotations(deployment["metadata"].get("annotations"))
            gone = {k: None for k in copied_annotations(current["metadata"].get("annotations")) if k not in ours}
            notes |= {**gone, **ours}
            if target.revision < step.revision:
                notes[REVISION] = str(step.revision)
                if target.revision:
                    notes[REVISION_HISTORY] = ",".join(filter(None, (target.revision_history, str(target.revision))))
            if target.min_ready != want.min_ready:
                spec["minReadySeconds"] = want.min_ready
        change: Obj = {"metadata": {"resourceVersion": target.resource_version, "annotations": notes}}
        if spec:
            change["spec"] = spec
        await self.client.patch(REPLICASETS, target.name, change, target.namespace)
        if "replicas" in spec:
            way = "up" if replicas > target.replicas else "down"
            text = f"Scaled {way} replica set {target.name} from {target.replicas} to {replicas}"
            self.recorder.normal(Reference.of(deployment), "ScalingReplicaSet", text)

    async def _write_status(
        self, deployment: Obj, want: Wanted, step: Plan, sets: list[ReplicaSetInfo], created: str
    ) -> float | None:
        now = self.clock()
        new = status(deployment, want, step.current, sets, created=created, now=now)
        if new != (deployment.get("status") or {}):
            await self.client.update(DEPLOYMENTS, {**deployment, "status": new}, subresource="status")
        until = progress_deadline(new["conditions"], want)
        return None if until is None else max(0.1, until - now + 1.0)
