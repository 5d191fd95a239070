"""Takes the protection off claims that no pod uses and volumes that no claim has, once they are to be deleted.

The finalizers are put on by admission, when the object is made. Source: Kubernetes documentation, "Storage Object in
Use Protection".
"""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.claims import CLAIM_PROTECTION, VOLUME_PROTECTION, ClaimInfo, VolumeInfo, claim_info, volume_info
from parkube.kubeapi.client import GVR, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from parkube.kubeapi.compact import PodInfo, pod_info
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import split_key, without


def uses(pod: PodInfo, claim: str) -> bool:
    """Whether a pod that a node has, and that is not over, uses the claim of its namespace."""
    return bool(pod.node) and not pod.finished and claim in pod.claims


class VolumeProtection(Reconciler):
    """Keys with a namespace are claims, the others volumes."""

    name: ClassVar[str] = "persistentvolumeclaim-protection"
    inputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        env.views.claims.subscribe(self._claim_changed)
        env.views.volumes.subscribe(self._volume_changed)
        env.views.pods.subscribe(self._pod_changed)

    def _claim_changed(self, kind: str, key: str, old: ClaimInfo | None, new: ClaimInfo | None) -> None:
        if new is not None and new.deleting and CLAIM_PROTECTION in new.finalizers:
            self.queue.add(key)

    def _volume_changed(self, kind: str, key: str, old: VolumeInfo | None, new: VolumeInfo | None) -> None:
        if new is not None and new.deleting and VOLUME_PROTECTION in new.finalizers:
            self.queue.add(key)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        pod = new or old
        if pod is None or not pod.claims or (new is not None and not new.finished):
            return
        for name in pod.claims:
            claim = self.views.claims.get(f"{pod.namespace}/{name}")
            if claim is not None and claim.deleting:
                self.queue.add(claim.key)

    async def reconcile(self, key: str) -> float | None:
        """One object that is to be deleted."""
        namespace, name = split_key(key)
        gvr = PERSISTENTVOLUMECLAIMS if namespace else PERSISTENTVOLUMES
        obj = await self.client.get(gvr, name, namespace)
        if not obj["metadata"].get("deletionTimestamp"):
            return None
        if namespace:
            # The API's own word, not the view's: a pod may have been bound a moment ago.
            pods = (await self.client.list(PODS, namespace)).get("items") or ()
            if any(uses(pod_info(pod), claim_info(obj).name) for pod in pods):
                return None
        elif volume_info(obj).phase == "Bound":
            return None
        await self._take_off(gvr, obj, CLAIM_PROTECTION if namespace else VOLUME_PROTECTION)
        return None

    async def _take_off(self, gvr: GVR, obj: Obj, finalizer: str) -> None:
        left = without(obj["metadata"].get("finalizers") or (), finalizer)
        await self.client.update(gvr, {**obj, "metadata": {**obj["metadata"], "finalizers": left}})
