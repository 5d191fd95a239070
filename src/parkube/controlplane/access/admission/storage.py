"""Storage: the default class, claims that may grow, and finalizers that protect what is in use.

Source: Kubernetes documentation, "Admission Control": DefaultStorageClass, PersistentVolumeClaimResize,
StorageObjectInUseProtection. A controller takes the finalizers off again.
"""

from __future__ import annotations

from decimal import Decimal

from parkube.controlplane.access.admission.plugin import Find, Plugin, name_of, refused
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.claims import CLAIM_PROTECTION, OLD_CLASS, VOLUME_PROTECTION, class_info, default_class
from parkube.kubeapi.client import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.quantities import parse

_PROTECTION = {PERSISTENTVOLUMECLAIMS: CLAIM_PROTECTION, PERSISTENTVOLUMES: VOLUME_PROTECTION}


class Storage(Plugin):
    """PersistentVolumeClaims and PersistentVolumes."""

    kinds, operations = frozenset(_PROTECTION), frozenset({"CREATE", "UPDATE"})

    def __init__(self, find: Find) -> None:
        self._find = find

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Protects it, and gives a claim that names no class the default one."""
        if subresource or new is None or operation != "CREATE":
            return
        metadata = new.setdefault("metadata", {})
        finalizers = metadata.get("finalizers") or []
        if _PROTECTION[resource.gvr] not in finalizers:
            metadata["finalizers"] = [*finalizers, _PROTECTION[resource.gvr]]
        spec = new.setdefault("spec", {})
        named = spec.get("storageClassName") is not None or OLD_CLASS in (metadata.get("annotations") or {})
        if resource.gvr == PERSISTENTVOLUMECLAIMS and not named and (chosen := await self._default()):
            spec["storageClassName"] = chosen

    async def _default(self) -> str:
        return default_class(class_info(one) for one in await self._find(STORAGECLASSES, ""))

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
