"""`kubectl get` of Services, Endpoints and EndpointSlices."""

from __future__ import annotations

from collections.abc import Iterator

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column, joined, some
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


def _cluster_ip(service: Obj) -> str:
    spec = service.get("spec") or {}
    return str(spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "<none>"))


def _external_ip(service: Obj) -> str:
    spec = service.get("spec") or {}
    given = ",".join(spec.get("externalIPs") or ())
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName") or "")
    if spec.get("type") == "LoadBalancer":
        found = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        balanced = ",".join(str(one.get("ip") or one.get("hostname")) for one in found)
        return ",".join(filter(None, (balanced, given))) or "<pending>"
    return given or "<none>"


def _ports(service: Obj) -> str:
    shown = []
    for port in (service.get("spec") or {}).get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or "<none>"


def _pairs(endpoints: Obj) -> Iterator[str]:
    for subset in endpoints.get("subsets") or ():
        ports = subset.get("ports") or ()
        for address in subset.get("addresses") or () if not ports else ():
            yield str(address.get("ip"))
        for port in ports:
            for address in subset.get("addresses") or ():
                yield f"{address.get('ip')}:{port.get('port')}"


def _endpoints(endpoints: Obj) -> str:
    return some(_pairs(endpoints)) or "<none>"


def _slice_ports(piece: Obj) -> str:
    ports = piece.get("ports")
    if not ports:
        return "<unset>"
    return some(str(port["port"]) if port.get("port") is not None else "*" for port in ports)


def _slice_endpoints(piece: Obj) -> str:
    found = [address for endpoint in piece.get("endpoints") or () for address in endpoint.get("addresses") or ()]
    return some(found) or "<unset>"


SERVICE: tuple[Column, ...] = (
    NAME,
    column("Type", at("spec", "type")),
    column("Cluster-IP", _cluster_ip),
    column("External-IP", _external_ip),
    column("Port(s)", _ports),
    AGE,
    column("Selector", lambda obj: joined((obj.get("spec") or {}).get("selector")), wide=True),
)
ENDPOINTS: tuple[Column, ...] = (NAME, column("Endpoints", _endpoints), AGE)
ENDPOINT_SLICE: tuple[Column, ...] = (
    NAME,
    column("AddressType", at("addressType")),
    column("Ports", _slice_ports),
    column("Endpoints", _slice_endpoints),
    AGE,
)
