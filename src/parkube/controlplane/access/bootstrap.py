"""What a cluster has from the start: its own namespaces, the default roles and bindings, the order in which requests
are served; and roles that add up.

Missing rights of a default role are put back at each start, as Kubernetes does, unless the role says
`rbac.authorization.kubernetes.io/autoupdate: "false"`. The rules of roles with an aggregationRule are written here;
the authorizer does not wait for that. What flow control cannot do without comes back whenever it is deleted or changed.
The data are `bootstrap_roles` and `flowcontrol.defaults`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from parkube.controlplane.access.bootstrap_roles import cluster_role_bindings, cluster_roles, extension_objects
from parkube.controlplane.access.flowcontrol.defaults import (
    AUTOUPDATE,
    FLOWSCHEMAS,
    MANDATORY,
    PRIORITYLEVELS,
    SUGGESTED,
)
from parkube.controlplane.access.rbac import Rbac
from parkube.controlplane.access.rules import not_covered
from parkube.controlplane.registry.kinds.classes import SYSTEM_PRIORITIES
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import SYSTEM, Context, Resource
from parkube.kubeapi.client import CLUSTERROLEBINDINGS, CLUSTERROLES, CONFIGMAPS, GVR, NAMESPACES, PRIORITYCLASSES
from parkube.kubeapi.errors import AlreadyExists, ApiError, NotFound, Obj
from parkube.kubeapi.objects import copy

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_LEFT_ALONE = (NAMESPACES, PRIORITYCLASSES)
_AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


class Bootstrap:
    """Creates what is missing, then keeps aggregated roles written out."""

    def __init__(self, registry: Registry, rbac: Rbac, authentication: Mapping[str, str]) -> None:
        self._registry, self._rbac, self._authentication = registry, rbac, authentication
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """All is there when this returns."""
        # Written together: the store commits them as one group.
        namespaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in SYSTEM_NAMESPACES
        ]
        await asyncio.gather(
            *(self._ensure(NAMESPACES, obj) for obj in namespaces),
            *(self._ensure(PRIORITYCLASSES, obj) for obj in _priority_classes()),
            *(self._ensure(gvr, obj) for gvr, obj in (*MANDATORY, *SUGGESTED)),
            *(self._ensure(CLUSTERROLES, obj) for obj in self._with_sums(list(cluster_roles()))),
            *(self._ensure(CLUSTERROLEBINDINGS, obj) for obj in cluster_role_bindings()),
        )
        await asyncio.gather(*(self._ensure(gvr, obj) for gvr, obj in extension_objects(self._authentication)))
        self._task = asyncio.create_task(self._run(), name="cluster role aggregation")

    async def stop(self) -> None:
        """End the background task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def changed(self) -> None:
        """A ClusterRole came, changed or went, so that sums may be stale; or an object of flow control did."""
        self._changed.set()

    def _with_sums(self, roles: list[Obj]) -> list[Obj]:
        """The default roles with the rules that the aggregates will have, so that none has to be written twice."""
        alone = Rbac()
        for role in roles:
            alone.put("clusterroles", role)
        sums = alone.aggregated()
        return [{**role, "rules": sums.get(role["metadata"]["name"], role["rules"])} for role in roles]

    async def _ensure(self, gvr: GVR, wanted: Obj) -> None:
        resource = self._registry.catalogue.get(gvr)
        assert resource is not None, gvr
        name, namespace = wanted["metadata"]["name"], wanted["metadata"].get("namespace", "")
        try:
            found = (await self._registry.get(resource, namespace, name)).object()
        except NotFound:
            try:
                await self._registry.create(resource, namespace, copy(wanted), Context(SYSTEM))
            except AlreadyExists:
                pass
            return
        annotations = found["metadata"].get("annotations") or {}
        complete = _completed
        if gvr in (FLOWSCHEMAS, PRIORITYLEVELS):
            if annotations.get(AUTOUPDATE) != "true" and (gvr, wanted) not in MANDATORY:
                return
            complete, wanted = _respecified, copy(wanted)
            resource.strategy.default(wanted)
        elif gvr == CONFIGMAPS:
            complete = _refilled
        elif gvr in _LEFT_ALONE or annotations.get(_AUTOUPDATE) != "true":
            return
        if complete(found, wanted) != found:
            await self._registry.mutate(resource, namespace, name, lambda obj: complete(obj, wanted), Context(SYSTEM))

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self.write_sums()
                for gvr, obj in MANDATORY:
                    await self._ensure(gvr, obj)
            except ApiError:
                continue  # the next change brings us back

    async def write_sums(self) -> None:
        """Write the rules of every aggregated ClusterRole that are not what they ought to be."""
        resource = self._registry.catalogue.get(CLUSTERROLES)
        assert resource is not None
        for name, rules in self._rbac.aggregated().items():
            await self._write_sum(resource, name, rules)

    async def _write_sum(self, resource: Resource, name: str, rules: list[Obj]) -> None:
        try:
            found = (await self._registry.get(resource, "", name)).object()
            if (found.get("rules") or []) != rules:
                change = {"rules": rules}
                await self._registry.mutate(resource, "", name, lambda obj: {**obj, **copy(change)}, Context(SYSTEM))
        except NotFound:
            pass


def _priority_classes() -> list[Obj]:
    """The two classes of the system's own pods.

    Source: Kubernetes documentation, "Guaranteed Scheduling For Critical Add-On Pods".
    """
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "description": f"For pods that {'a node' if 'node' in name else 'the cluster'} cannot do without.",
        }
        for name, value in SYSTEM_PRIORITIES.items()
    ]  # fmt: skip


def _completed(found: Obj, wanted: Obj) -> Obj:
    """`found` with what it lacks of `wanted`: rules it does not cover, subjects, labels. Nothing is taken away."""
    result = copy(found)
    metadata = result["metadata"]
    metadata["labels"] = {**(metadata.get("labels") or {}), **wanted["metadata"]["labels"]}
    if "aggregationRule" in wanted:
        result["aggregationRule"] = copy(wanted["aggregationRule"])
    elif wanted.get("rules"):
        missing = not_covered(wanted["rules"], found.get("rules") or [])
        if missing:
            result["rules"] = [*(found.get("rules") or []), *missing]
    if wanted.get("subjects"):
        result["subjects"] = _joined(found.get("subjects") or [], wanted["subjects"])
    return result


def _respecified(found: Obj, wanted: Obj) -> Obj:
    """`found` with the spec that it ought to have."""
    return {**found, "spec": copy(wanted["spec"])}


def _refilled(found: Obj, wanted: Obj) -> Obj:
    """`found` with the data that it ought to have."""
    return {**found, "data": {**(found.get("data") or {}), **wanted["data"]}}


def _joined(have: Iterable[Obj], wanted: Iterable[Obj]) -> list[Obj]:
    result = list(have)
    result.extend(subject for subject in wanted if subject not in result)
    return result
