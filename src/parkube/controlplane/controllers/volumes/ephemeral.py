"""Makes the claims of pods' generic ephemeral volumes: `<pod>-<volume>`, owned by the pod and gone with it.

Source: Kubernetes documentation, "Ephemeral Volumes: Generic ephemeral volumes".
"""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.claims import ClaimInfo
from parkube.kubeapi.client import GVR, PERSISTENTVOLUMECLAIMS, PODS
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.errors import AlreadyExists, Obj
from parkube.kubeapi.objects import copy, owner_reference, owner_references, split_key
from parkube.kubeapi.recorder import Reference


def claim_of(pod: Obj, volume: Obj) -> Obj:
    """The claim that an ephemeral volume asks for."""
    template = copy(volume["ephemeral"].get("volumeClaimTemplate") or {})
    given, m = template.get("metadata") or {}, pod["metadata"]
    metadata = {key: given[key] for key in ("labels", "annotations") if given.get(key)}
    metadata |= {
        "name": f"{m['name']}-{volume['name']}", "namespace": m["namespace"],
        "ownerReferences": [owner_reference({**pod, "apiVersion": "v1", "kind": "Pod"})],
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template.get("spec") or {},
    }  # fmt: skip


class EphemeralVolumes(Reconciler):
    """By pod."""

    name: ClassVar[str] = "ephemeral-volume"
    inputs: ClassVar[tuple[GVR, ...]] = (PODS, PERSISTENTVOLUMECLAIMS)
    outputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS,)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        env.views.pods.subscribe(self._pod_changed)
        env.views.claims.subscribe(self._claim_changed)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        if new is not None and new.ephemeral and new.active and (old is None or old.uid != new.uid):
            self.queue.add(key)

    def _claim_changed(self, kind: str, key: str, old: ClaimInfo | None, new: ClaimInfo | None) -> None:
        if new is None and old is not None:
            for owner in old.owners:
                if owner.kind == "Pod":
                    self.queue.add(f"{old.namespace}/{owner.name}")

    async def reconcile(self, key: str) -> float | None:
        """Every claim of one pod."""
        namespace, name = split_key(key)
        pod = await self.client.get(PODS, name, namespace)
        if pod["metadata"].get("deletionTimestamp"):
            return None
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("ephemeral"):
                await self._ensure(pod, claim_of(pod, volume))
        return None

    async def _ensure(self, pod: Obj, claim: Obj) -> None:
        m = claim["metadata"]
        try:
            await self.client.create(PERSISTENTVOLUMECLAIMS, claim, m["namespace"])
        except AlreadyExists:
            found = await self.client.get(PERSISTENTVOLUMECLAIMS, m["name"], m["namespace"])
            if all(ref.get("uid") != pod["metadata"]["uid"] for ref in owner_references(found)):
                about = Reference.of({**pod, "apiVersion": "v1", "kind": "Pod"})
                text = f"PVC {m['namespace']}/{m['name']} was not created for pod {pod['metadata']['name']}"
                self.recorder.warning(about, "EphemeralVolumeConflict", text)
