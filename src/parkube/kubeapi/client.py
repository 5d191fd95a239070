"""The port to the Kubernetes API that controllers, the scheduler and the node agent see.

Two implementations: in-process inside the server, HTTPS everywhere else; one contract suite runs on both.
It moves plain dicts and knows no kind by name beyond the GVRs listed here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from parkube.kubeapi.errors import Obj


class GVR(NamedTuple):
    """Group, version and plural of a resource; the core group is the empty string."""

    group: str
    version: str
    resource: str

    @property
    def prefix(self) -> str:
        """`/api/v1` or `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of a collection, an object, or its subresource."""
        parts = [self.prefix]
        if namespace:
            parts.append(f"namespaces/{namespace}")
        parts.extend(part for part in (self.resource, name, subresource) if part)
        return "/".join(parts)


class PatchType(StrEnum):
    """The media types of PATCH."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK; an ERROR is raised as its `ApiError` instead."""

    type: str
    object: Obj


class Client(Protocol):
    """The verbs. Every method raises the `ApiError` that the API answered."""

    async def get(self, gvr: GVR, name: str, namespace: str = "", *, subresource: str = "") -> Obj: ...

    async def list(
        self,
        gvr: GVR,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> Obj:
        """The list object: `metadata.resourceVersion` and `items`."""
        ...  # fmt: skip

    async def create(self, gvr: GVR, obj: Obj, namespace: str = "", *, name: str = "", subresource: str = "") -> Obj:
        """POST; `name` and `subresource` are for `pods/binding`, `serviceaccounts/token` and the like."""
        ...

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        """PUT; namespace and name are the object's own."""
        ...

    async def patch(
        self, gvr: GVR, name: str, patch: Obj | Sequence[Obj], namespace: str = "", *,
        kind: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Obj: ...  # fmt: skip

    async def delete(self, gvr: GVR, name: str, namespace: str = "", *, options: Obj | None = None) -> Obj:
        """DELETE; `options` is a `DeleteOptions` body (gracePeriodSeconds, propagationPolicy, preconditions)."""
        ...

    def watch(
        self,
        gvr: GVR,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """Events after `resource_version`, bookmarks included; ends when the server ends it; raises `Expired`."""
        ...  # fmt: skip


NAMESPACES = GVR("", "v1", "namespaces")
NODES = GVR("", "v1", "nodes")
PODS = GVR("", "v1", "pods")
SERVICES = GVR("", "v1", "services")
ENDPOINTS = GVR("", "v1", "endpoints")
CONFIGMAPS = GVR("", "v1", "configmaps")
SECRETS = GVR("", "v1", "secrets")
SERVICEACCOUNTS = GVR("", "v1", "serviceaccounts")
EVENTS = GVR("", "v1", "events")
DEPLOYMENTS = GVR("apps", "v1", "deployments")
REPLICASETS = GVR("apps", "v1", "replicasets")
DAEMONSETS = GVR("apps", "v1", "daemonsets")
STATEFULSETS = GVR("apps", "v1", "statefulsets")
REPLICATIONCONTROLLERS = GVR("", "v1", "replicationcontrollers")
JOBS = GVR("batch", "v1", "jobs")
CRONJOBS = GVR("batch", "v1", "cronjobs")
PERSISTENTVOLUMES = GVR("", "v1", "persistentvolumes")
PERSISTENTVOLUMECLAIMS = GVR("", "v1", "persistentvolumeclaims")
LEASES = GVR("coordination.k8s.io", "v1", "leases")
ENDPOINTSLICES = GVR("discovery.k8s.io", "v1", "endpointslices")
SERVICECIDRS = GVR("networking.k8s.io", "v1", "servicecidrs")
CSRS = GVR("certificates.k8s.io", "v1", "certificatesigningrequests")
ROLES = GVR("rbac.authorization.k8s.io", "v1", "roles")
ROLEBINDINGS = GVR("rbac.authorization.k8s.io", "v1", "rolebindings")
CLUSTERROLES = GVR("rbac.authorization.k8s.io", "v1", "clusterroles")
CLUSTERROLEBINDINGS = GVR("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
CRDS = GVR("apiextensions.k8s.io", "v1", "customresourcedefinitions")
TOKENREVIEWS = GVR("authentication.k8s.io", "v1", "tokenreviews")
SUBJECTACCESSREVIEWS = GVR("authorization.k8s.io", "v1", "subjectaccessreviews")
LIMITRANGES = GVR("", "v1", "limitranges")
RESOURCEQUOTAS = GVR("", "v1", "resourcequotas")
PRIORITYCLASSES = GVR("scheduling.k8s.io", "v1", "priorityclasses")
RUNTIMECLASSES = GVR("node.k8s.io", "v1", "runtimeclasses")
STORAGECLASSES = GVR("storage.k8s.io", "v1", "storageclasses")
RESOURCECLAIMS = GVR("resource.k8s.io", "v1", "resourceclaims")
