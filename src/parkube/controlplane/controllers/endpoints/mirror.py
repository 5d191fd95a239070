"""Endpoints that somebody writes by hand, mirrored into EndpointSlices for all who read only those.

Mirrored are Endpoints of Services without a selector, unless they say otherwise by a label, or are a lock of old leader
elections. Source: Kubernetes documentation, "EndpointSlices", EndpointSlice mirroring.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import orjson

from parkube.controlplane.controllers.endpoints.plan import MANAGED_BY, SERVICE_LABEL
from parkube.controlplane.controllers.endpoints.writer import SliceWriter
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.views import EndpointsInfo, ServiceInfo, SliceInfo
from parkube.kubeapi.client import ENDPOINTS, ENDPOINTSLICES, GVR, SERVICES
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.objects import owner_reference, split_key

MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_MOST = 1000  # addresses of one subset
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time")


class _Group(NamedTuple):
    family: str
    ports: bytes


def mirrored(endpoints: Obj) -> list[Obj]:
    """The slices, without names, that say the same as an Endpoints object."""
    meta = endpoints["metadata"]
    groups: dict[_Group, list[Obj]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = orjson.dumps([_port(p) for p in subset.get("ports") or ()])
        for kind, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in (subset.get(kind) or ())[:_MOST]:
                family = "IPv6" if ":" in address["ip"] else "IPv4"
                groups.setdefault(_Group(family, ports), []).append(_endpoint(address, ready))
    notes = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _NOT_COPIED}
    labels = {**(meta.get("labels") or {}), SERVICE_LABEL: meta["name"], MANAGED_BY: MIRROR}
    owner = owner_reference({**endpoints, "apiVersion": "v1", "kind": "Endpoints"})
    return [
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": group.family,
            "metadata": {
                "namespace": meta["namespace"], "labels": dict(labels), "ownerReferences": [owner],
                **({"annotations": dict(notes)} if notes else {}),
            },
            "endpoints": found, "ports": orjson.loads(group.ports),
        }
        for group, found in sorted(groups.items(), key=lambda pair: pair[0])
    ]  # fmt: skip


def _port(port: Obj) -> Obj:
    made: Obj = {"name": port.get("name") or "", "port": port["port"], "protocol": port.get("protocol") or "TCP"}
    return {**made, **({"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {})}


def _endpoint(address: Obj, ready: bool) -> Obj:
    made: dict[str, Any] = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for key in ("hostname", "nodeName", "targetRef"):
        if address.get(key):
            made[key] = address[key]
    return made


def wants_mirror(endpoints: Obj) -> bool:
    """Whether these Endpoints are to be mirrored, if their Service has no selector."""
    meta = endpoints["metadata"]
    return (meta.get("labels") or {}).get(SKIP) != "true" and _LEADER not in (meta.get("annotations") or {})


class EndpointSliceMirroring(Reconciler):
    """Keeps the mirrors of all such Endpoints."""

    name: ClassVar[str] = "endpointslice-mirroring"
    inputs: ClassVar[tuple[GVR, ...]] = (ENDPOINTS, ENDPOINTSLICES, SERVICES)
    outputs: ClassVar[tuple[GVR, ...]] = (ENDPOINTSLICES,)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._writer = SliceWriter(env.client, MIRROR)
        env.views.endpoints.subscribe(self._endpoints_changed)
        env.views.services.subscribe(self._service_changed)
        env.views.slices.subscribe(self._slice_changed)

    def _endpoints_changed(self, kind: str, key: str, old: EndpointsInfo | None, new: EndpointsInfo | None) -> None:
        if (new or old or EndpointsInfo(True, 0)).generated:
            return
        self.queue.add(key)

    def _service_changed(self, kind: str, key: str, old: ServiceInfo | None, new: ServiceInfo | None) -> None:
        if (
            (self.views.endpoints.get(key) is not None and bool(old and old.selector) != bool(new and new.selector))
            or old is None
            or new is None
        ):
            self.queue.add(key)

    def _slice_changed(self, kind: str, key: str, old: SliceInfo | None, new: SliceInfo | None) -> None:
        if new is None and old is not None and old.manager == MIRROR:
            namespace, name = split_key(key)
            owner = f"{namespace}/{old.service}"
            if self._writer.lost(owner, name):
                self.queue.add(owner)

    async def reconcile(self, key: str) -> float | None:
        """Bring the mirror of one Endpoints object up to date."""
        info, service = self.views.endpoints.get(key), self.views.services.get(key)
        if service is not None and service.selector:
            return None
        if info is None or service is None:
            await self._writer.forget(key)
            return None
        namespace, name = split_key(key)
        try:
            found = await self.client.get(ENDPOINTS, name, namespace)
        except NotFound:
            found = {}
        await self._writer.write(key, mirrored(found) if found and wants_mirror(found) else [])
        return None
