"""The operator's view of the cluster, through lightkube: what belongs to a garage is put there, and seen running."""

from __future__ import annotations

from typing import Any

from lightkube import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret
from lightkube.types import PatchType

from parkube.parking.operator.desired import LABEL, app_name

Obj = dict[str, Any]
GarageResource = create_namespaced_resource("parkube.io", "v1", "Garage", "garages")
TariffResource = create_namespaced_resource("parkube.io", "v1", "Tariff", "tariffs")
KINDS = {"ConfigMap": ConfigMap, "Secret": Secret, "DaemonSet": DaemonSet}


class Cluster:
    """One namespace of one cluster."""

    def __init__(self, namespace: str, client: AsyncClient | None = None) -> None:
        self.namespace = namespace
        self._client = client or AsyncClient(namespace=namespace, field_manager="parkube-operator")

    async def put(self, obj: Obj, owner: Obj) -> None:
        """Create the object, or bring it to what is wanted; it goes when its owner goes."""
        obj["metadata"]["ownerReferences"] = [owner]
        kind: Any = KINDS[obj["kind"]]
        name = obj["metadata"]["name"]
        try:
            await self._client.patch(kind, name, obj, patch_type=PatchType.MERGE)
        except ApiError as error:
            if error.status.code != 404:
                raise
            await self._client.create(kind.from_dict(obj))

    async def has_token(self, garage: str) -> bool:
        """Whether the garage has its Secret already."""
        try:
            await self._client.get(Secret, app_name(garage))
        except ApiError as error:
            if error.status.code == 404:
                return False
            raise
        return True

    async def tariff(self, name: str) -> Obj | None:
        """The spec of a Tariff, None where it is not there."""
        try:
            found: GenericNamespacedResource = await self._client.get(TariffResource, name)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise
        return dict(found["spec"])

    async def pod(self, garage: str) -> tuple[str | None, str]:
        """The node that the garage's pod is on, and why it does not run; empty when its container runs.

        A pod that is not ready while its container runs tells nothing: its node may just be away.
        """
        node, trouble = None, "no node carries the label " + f"{LABEL}={garage}"
        async for pod in self._client.list(Pod, labels={LABEL: garage}):
            if (pod.metadata or ObjectMeta()).deletionTimestamp is not None:
                continue
            node = pod.spec.nodeName if pod.spec else None
            states = (pod.status.containerStatuses if pod.status else None) or []
            if states and all(s.state and s.state.running for s in states):
                return node, ""
            trouble = "the garage's container does not run" + _waiting(pod)
        return node, trouble

    async def put_status(self, garage: str, status: Obj) -> None:
        """Merge into the Garage's status."""
        await self._client.patch(GarageResource.Status, garage, {"status": status}, patch_type=PatchType.MERGE)


def _waiting(pod: Pod) -> str:
    for state in (pod.status.containerStatuses if pod.status else None) or []:
        if state.state and state.state.waiting and state.state.waiting.reason:
            return f": {state.state.waiting.reason}"
    return ""
