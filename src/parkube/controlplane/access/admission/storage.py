"""Storage: the default class, and claims that may grow.

Source: Kubernetes documentation, "Admission Control": DefaultStorageClass, PersistentVolumeClaimResize. Finalizers that
protect what is in use come with the controller that takes them away again.
"""

from __future__ import annotations

from decimal import Decimal

from parkube.controlplane.access.admission.plugin import Find, Plugin, name_of, refused
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import PERSISTENTVOLUMECLAIMS, STORAGECLASSES
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.quantities import parse

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


class Storage(Plugin):
    """PersistentVolumeClaims."""

    kinds, operations = frozenset({PERSISTENTVOLUMECLAIMS}), frozenset({"CREATE", "UPDATE"})

    def __init__(self, find: Find) -> None:
        self._find = find

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Gives a claim that names no class the default one."""
        if subresource or new is None or operation != "CREATE":
            return
        metadata = new.setdefault("metadata", {})
        spec = new.setdefault("spec", {})
        named = spec.get("storageClassName") is not None or _OLD_CLASS in (metadata.get("annotations") or {})
        if resource.gvr == PERSISTENTVOLUMECLAIMS and not named and (chosen := await self._default()):
            spec["storageClassName"] = chosen

    async def _default(self) -> str:
        """The newest of the default classes; of equally new ones the first by name."""
        classes = await self._find(STORAGECLASSES, "")
        marked = [
            one["metadata"]
            for one in classes
            if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
        ]
        newest = max((m["creationTimestamp"] for m in marked), default="")
        return min((m["name"] for m in marked if m["creationTimestamp"] == newest), default="")

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises Forbidden for a claim that grows where its class does not let it."""
        if subresource or new is None or old is None or resource.gvr != PERSISTENTVOLUMECLAIMS:
            return
        if _size(new) <= _size(old):
            return
        why = (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
            "support resize"
        )
        kind = (old.get("spec") or {}).get("storageClassName") or ""
        classes = {one["metadata"]["name"]: one for one in await self._find(STORAGECLASSES, "")} if kind else {}
        if not (classes.get(kind) or {}).get("allowVolumeExpansion"):
            raise refused(resource, name_of(name, new), why)


def _size(claim: Obj) -> Decimal:
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return parse(requests.get("storage") or 0)
