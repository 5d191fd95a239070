"""Where pods, Services and nodes are reached from the server: from a name to a node, an address and a port.

Reads objects through a `Client`; opens nothing and knows no HTTP. `Reach.pod` and the others raise an `ApiError` in one
sentence when there is nothing to connect to.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import NamedTuple

from parkube.controlplane.tunnel.dial import dialer
from parkube.controlplane.tunnel.tunnels import Tunnels
from parkube.kubeapi.client import ENDPOINTSLICES, NODES, PODS, SERVICES, Client
from parkube.kubeapi.errors import BadRequest, NotFound, Obj, ServiceUnavailable
from parkube.kubeapi.http import Dialer

SERVICE_LABEL = "kubernetes.io/service-name"
_SCHEMES = ("", "http", "https")


class Named(NamedTuple):
    """`[scheme:]name[:port]`, as a proxy's path says it; empty where it says nothing."""

    scheme: str
    name: str
    port: str


class Place(NamedTuple):
    """An address as `node` sees it; an empty node: as this machine sees it."""

    node: str
    host: str
    port: int


def named(text: str) -> Named:
    """Take `[scheme:]name[:port]` apart. Raises `BadRequest`."""
    parts = text.split(":")
    if len(parts) == 1:
        return Named("", parts[0], "")
    if len(parts) == 2 and parts[0] not in ("http", "https"):
        return Named("", parts[0], parts[1])
    if len(parts) in (2, 3) and parts[0] in _SCHEMES and parts[1]:
        return Named(parts[0], parts[1], parts[2] if len(parts) == 3 else "")
    raise BadRequest(f'invalid name "{text}": write name, name:port or scheme:name:port')


def pod_place(pod: Obj, port: str) -> Place:
    """A port of a pod: by number, by a container port's name, or the first that it declares. Raises `BadRequest`."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    declared = [p for c in spec.get("containers") or () for p in c.get("ports") or ()]
    if not port:
        number = int(declared[0]["containerPort"]) if declared else 80
    elif port.isdigit():
        number = int(port)
    else:
        number = next((int(p["containerPort"]) for p in declared if p.get("name") == port), 0)
    if not 0 < number < 65536:
        raise BadRequest(f'pod "{name}" has no port "{port}"')
    address = (pod.get("status") or {}).get("podIP") or ""
    if not address:
        raise BadRequest(f'pod "{name}" has no address yet')
    return Place(str(spec.get("nodeName") or ""), _allowed(address), number)


def service_place(service: Obj, slices: Iterable[Obj], port: str, choose: Callable[[list[Place]], Place]) -> Place:
    """One of the endpoints that serve a port of a Service, by its name or number; empty: its only port.
    Raises `ServiceUnavailable` when none is ready, `BadRequest` when the Service has no such port."""
    ports, name = (service.get("spec") or {}).get("ports") or [], service["metadata"]["name"]
    if not port and len(ports) == 1:
        wanted = ports[0]
    else:
        wanted = next((p for p in ports if port in (p.get("name") or "", str(p.get("port")))), None)
    if wanted is None:
        raise BadRequest(f'no service port "{port}" found for service "{name}"')
    found = [
        Place(str(endpoint.get("nodeName") or ""), _allowed(endpoint["addresses"][0]), int(p["port"]))
        for one in slices
        for p in one.get("ports") or ()
        if (p.get("name") or "") == (wanted.get("name") or "") and p.get("port")
        for endpoint in one.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses")
    ]
    if not found:
        raise ServiceUnavailable(f'no endpoints available for service "{name}"')
    return choose(found)


def _allowed(address: str) -> str:
    """An address that may be connected to on behalf of a client: never this or a node's own loopback."""
    ip = ip_address(address)
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        raise BadRequest(f"address {address} is not allowed")
    return address


class Reach:
    """Finds the place and gives a dialer for it."""

    def __init__(
        self, client: Client, tunnels: Tunnels, choose: Callable[[list[Place]], Place] = random.choice
    ) -> None:
        self._client, self._tunnels, self._choose = client, tunnels, choose

    async def pod(self, namespace: str, name: str, port: str = "") -> Place:
        """A port of a pod."""
        return pod_place(await self._client.get(PODS, name, namespace), port)

    async def service(self, namespace: str, name: str, port: str = "") -> Place:
        """A ready endpoint behind a Service's port."""
        service = await self._client.get(SERVICES, name, namespace)
        found = await self._client.list(ENDPOINTSLICES, namespace, label_selector=f"{SERVICE_LABEL}={name}")
        return service_place(service, found.get("items") or (), port, self._choose)

    async def node(self, name: str, port: int) -> Place:
        """A port of a node's own address."""
        node = await self._client.get(NODES, name)
        listed = (node.get("status") or {}).get("addresses") or ()
        address = next((a["address"] for a in listed if a.get("type") == "InternalIP"), "")
        if not address:
            raise NotFound(f'node "{name}" has no address')
        return Place(name, address, port)

    def dialer(self, place: Place, context: ssl.SSLContext | None = None, server_hostname: str = "") -> Dialer:
        """Dials a place; with TLS when a context is given, whose certificate must be for `server_hostname`."""
        return dialer(self._tunnels, place.node, place.host, place.port, context, server_hostname)
