"""The endpoints controllers: write what `plan` says for each Service, and only what changed."""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.endpoints.plan import (
    CONTROLLER,
    digest,
    endpoints,
    slices,
)
from parkube.controlplane.controllers.endpoints.writer import SliceWriter
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import EndpointsInfo, ServiceInfo, SliceInfo
from parkube.kubeapi.client import ENDPOINTS, ENDPOINTSLICES, GVR, NODES, PODS, SERVICES
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import split_key

_GATHER_S = 0.05


class EndpointsController(Reconciler):
    """Keeps EndpointSlices and Endpoints of every Service that selects pods."""

    name: ClassVar[str] = "endpoints"
    inputs: ClassVar[tuple[GVR, ...]] = (SERVICES, PODS, NODES, ENDPOINTSLICES, ENDPOINTS)
    outputs: ClassVar[tuple[GVR, ...]] = (ENDPOINTSLICES, ENDPOINTS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._writer = SliceWriter(env.client, CONTROLLER)
        self._endpoints: dict[str, str] = {}
        self._selecting: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {}  # namespace -> service -> selector
        env.views.services.subscribe(self._service_changed)
        env.views.pods.subscribe(self._pod_changed)
        env.views.slices.subscribe(self._slice_changed)
        env.views.endpoints.subscribe(self._endpoints_changed)

    def _service_changed(self, kind: str, key: str, old: ServiceInfo | None, new: ServiceInfo | None) -> None:
        namespace = split_key(key)[0]
        if new is not None and new.selector:
            self._selecting.setdefault(namespace, {})[key] = new.selector
        else:
            self._selecting.get(namespace, {}).pop(key, None)
        self.queue.add(key)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        pod = new or old
        services = self._selecting.get(pod.namespace) if pod else None
        if not services:
            return
        if old is not None and new is not None and self._same(old, new):
            return
        for service, selector in services.items():
            if any(p is not None and all(p.labels.get(k) == v for k, v in selector) for p in (old, new)):
                self.queue.add_after(service, _GATHER_S)

    def _slice_changed(self, kind: str, key: str, old: SliceInfo | None, new: SliceInfo | None) -> None:
        if new is None and old is not None and old.manager == CONTROLLER:
            namespace, name = split_key(key)
            owner = f"{namespace}/{old.service}"
            if self._writer.lost(owner, name):
                self.queue.add(owner)

    def _endpoints_changed(self, kind: str, key: str, old: EndpointsInfo | None, new: EndpointsInfo | None) -> None:
        if new is None and self._endpoints.pop(key, None) is not None:
            self.queue.add(key)

    @staticmethod
    def _same(old: PodInfo, new: PodInfo) -> bool:
        return (old.ips, old.ready, old.labels, old.node, bool(old.deleting), old.finished) == (
            new.ips, new.ready, new.labels, new.node, bool(new.deleting), new.finished,
        )  # fmt: skip

    async def reconcile(self, key: str) -> float | None:
        """Bring slices and Endpoints of one Service up to date."""
        namespace, name = split_key(key)
        try:
            service = await self.client.get(SERVICES, name, namespace)
        except NotFound:
            await self._gone(key)
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None
        pods = self.views.index.in_namespace(namespace)
        nodes = {p.node: n for p in pods if p.node and (n := self.views.nodes.get(p.node)) is not None}
        await self._writer.write(key, slices(service, pods, nodes))
        await self._write_endpoints(key, endpoints(service, pods))
        return None

    async def _write_endpoints(self, key: str, wanted: Obj) -> None:
        fresh = digest(wanted)
        if self._endpoints.get(key) == fresh:
            return
        try:
            await self.client.update(ENDPOINTS, wanted)
        except NotFound:
            try:
                await self.client.create(ENDPOINTS, wanted, wanted["metadata"]["namespace"])
            except AlreadyExists:
                await self.client.update(ENDPOINTS, wanted)
        self._endpoints[key] = fresh

    async def _gone(self, key: str) -> None:
        namespace, name = split_key(key)
        self._endpoints.pop(key, None)
        await self._writer.forget(key)
        try:
            await self.client.delete(ENDPOINTS, name, namespace)
        except NotFound:
            return
