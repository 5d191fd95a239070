"""The endpoints controllers: write what `plan` says for each Service, and only what changed."""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.endpoints.plan import (
    CONTROLLER,
    MANAGED_BY,
    SERVICE_LABEL,
    digest,
    endpoints,
    slices,
)
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import ServiceInfo
from parkube.kubeapi.client import ENDPOINTS, ENDPOINTSLICES, GVR, NODES, PODS, SERVICES
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import split_key

_GATHER_S = 0.05


class EndpointsController(Reconciler):
    """Keeps EndpointSlices and Endpoints of every Service that selects pods."""

    name: ClassVar[str] = "endpoints"
    inputs: ClassVar[tuple[GVR, ...]] = (SERVICES, PODS, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (ENDPOINTSLICES, ENDPOINTS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._written: dict[str, dict[str, str]] = {}  # service -> slice name -> digest
        self._endpoints: dict[str, str] = {}
        self._selecting: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {}  # namespace -> service -> selector
        env.views.services.subscribe(self._service_changed)
        env.views.pods.subscribe(self._pod_changed)

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
        await self._write_slices(key, slices(service, pods, nodes))
        await self._write_endpoints(key, endpoints(service, pods))
        return None

    async def _existing(self, key: str) -> dict[str, str]:
        known = self._written.get(key)
        if known is None:
            namespace, name = split_key(key)
            selector = f"{SERVICE_LABEL}={name},{MANAGED_BY}={CONTROLLER}"
            found = await self.client.list(ENDPOINTSLICES, namespace, label_selector=selector)
            known = self._written[key] = {s["metadata"]["name"]: digest(s) for s in found.get("items") or ()}
        return known

    async def _write_slices(self, key: str, wanted: list[Obj]) -> None:
        namespace, name = split_key(key)
        known = await self._existing(key)
        digests = [digest(s) for s in wanted]
        free = [slice_name for slice_name, had in sorted(known.items()) if had not in digests]
        have = set(known.values())
        for obj, fresh in zip(wanted, digests, strict=True):
            if fresh in have:
                continue
            if free:
                obj["metadata"]["name"] = slice_name = free.pop()
                try:
                    await self.client.update(ENDPOINTSLICES, obj)
                    known[slice_name] = fresh
                    continue
                except NotFound:
                    del known[slice_name], obj["metadata"]["name"]
            obj["metadata"]["generateName"] = name + "-"
            made = await self.client.create(ENDPOINTSLICES, obj, namespace)
            known[made["metadata"]["name"]] = fresh
        for slice_name in free:
            await self._drop(namespace, slice_name)
            del known[slice_name]

    async def _drop(self, namespace: str, name: str) -> None:
        try:
            await self.client.delete(ENDPOINTSLICES, name, namespace)
        except NotFound:
            return

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
        for slice_name in await self._existing(key):
            await self._drop(namespace, slice_name)
        self._written.pop(key, None)
        try:
            await self.client.delete(ENDPOINTS, name, namespace)
        except NotFound:
            return
