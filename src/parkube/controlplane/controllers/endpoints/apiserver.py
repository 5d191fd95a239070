"""The API server's own place in the cluster: system namespaces, Service `default/kubernetes` and its endpoints, the
range of Services' addresses, and the Service by which clients know the cluster's DNS."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

from parkube.controlplane.controllers.endpoints.plan import SERVICE_LABEL
from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.runner import Env
from parkube.kubeapi.client import ENDPOINTS, ENDPOINTSLICES, GVR, NAMESPACES, SERVICECIDRS, SERVICES
from parkube.kubeapi.errors import AlreadyExists, ApiError, NotFound, Obj

log = logging.getLogger(__name__)
SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PERIOD_S = 30.0


def wanted(options: Options) -> tuple[Obj, Obj, Obj]:
    """The Service, the Endpoints and the EndpointSlice."""
    meta = {"name": "kubernetes", "namespace": "default"}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    service: Obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": options.service_ip,
            "clusterIPs": [options.service_ip],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": options.api_port}],
        },
    }
    port = {"name": "https", "port": options.api_port, "protocol": "TCP"}
    skip = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    addresses = list(options.api_addresses)
    endpoints: Obj = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {**meta, "labels": skip},
        "subsets": [{"addresses": [{"ip": a} for a in addresses], "ports": [port]}] if addresses else [],
    }
    slice_: Obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**meta, "labels": {SERVICE_LABEL: "kubernetes"}},
        "addressType": "IPv6" if addresses and ":" in addresses[0] else "IPv4",
        "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
        "ports": [port],
    }
    return service, endpoints, slice_


def dns_service(options: Options) -> Obj:
    """`kube-system/kube-dns`, by whose address clients know the cluster's DNS; each node answers there by itself."""
    ports = [
        {"name": name, "port": 53, "protocol": protocol, "targetPort": 53}
        for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
    ]
    labels = {
        "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": options.dns_ip, "clusterIPs": [options.dns_ip], "ports": ports},
    }


class ApiServerEndpoints:
    """Writes them at start and looks again twice a minute."""

    name: ClassVar[str] = "apiserver-endpoints"
    inputs: ClassVar[tuple[GVR, ...]] = (SERVICES, ENDPOINTS, ENDPOINTSLICES)
    outputs: ClassVar[tuple[GVR, ...]] = (NAMESPACES, SERVICES, SERVICECIDRS, ENDPOINTS, ENDPOINTSLICES)

    def __init__(self, env: Env, options: Options) -> None:
        self._client, self._options = env.client, options

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            pause = _PERIOD_S
            try:
                await self.ensure()
            except (ApiError, OSError) as error:
                log.warning("cannot publish the API server's endpoints yet: %s", error)
                pause = 1.0
            await asyncio.sleep(pause)

    async def ensure(self) -> None:
        """Make what is missing, correct what differs."""
        for namespace in SYSTEM_NAMESPACES:
            try:
                await self._client.get(NAMESPACES, namespace)
            except NotFound:
                obj: Obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                await self._create(NAMESPACES, obj, "")
        await self._ensure_range()
        service, endpoints, slice_ = wanted(self._options)
        try:
            await self._client.get(SERVICES, "kubernetes", "default")
        except NotFound:
            await self._create(SERVICES, service, "default")
        if self._options.dns_ip:
            try:
                await self._client.get(SERVICES, "kube-dns", "kube-system")
            except NotFound:
                await self._create(SERVICES, dns_service(self._options), "kube-system")
        for gvr, obj, parts in ((ENDPOINTS, endpoints, ("subsets",)), (ENDPOINTSLICES, slice_, ("endpoints", "ports"))):
            try:
                found = await self._client.get(gvr, "kubernetes", "default")
            except NotFound:
                await self._create(gvr, obj, "default")
                continue
            if any((found.get(part) or []) != obj[part] for part in parts):
                await self._client.update(gvr, {**found, **{part: obj[part] for part in parts}})

    async def _ensure_range(self) -> None:
        """The default ServiceCIDR, ready from the start."""
        try:
            await self._client.get(SERVICECIDRS, "kubernetes")
        except NotFound:
            obj: Obj = {
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
                "spec": {"cidrs": [self._options.service_cidr]},
            }  # fmt: skip
            made = await self._client.create(SERVICECIDRS, obj)
            ready = {
                "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes Service CIDR is ready",
                "lastTransitionTime": made["metadata"]["creationTimestamp"],
            }  # fmt: skip
            await self._client.update(SERVICECIDRS, {**made, "status": {"conditions": [ready]}}, subresource="status")

    async def _create(self, gvr: GVR, obj: Obj, namespace: str) -> None:
        try:
            await self._client.create(gvr, obj, namespace)
        except AlreadyExists:
            return
