"""From Services, this node's pods and EndpointSlices to the entries that rules are made of. Pure.

A pod of this node is judged by what the agent itself knows, so its readiness takes effect at once and Services go on
working with no network; pods of other nodes, and whoever else serves a Service, come from EndpointSlices. Endpoints
that are ending but still serve are used while no other is ready. Source: Kubernetes documentation, "Service",
"EndpointSlices", "Virtual IPs and Service Proxies".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.network.rules import Backend, Entry, HostPort

KUBERNETES = "default/kubernetes"
SERVICE_LABEL = "kubernetes.io/service-name"
_STICKY_S = 10800


class End(NamedTuple):
    """One endpoint of one port."""

    backend: Backend
    local: bool
    ready: bool
    ending: bool  # terminating, but still serving


class Slice(NamedTuple):
    """What of an EndpointSlice matters on a node."""

    service: str  # namespace/name
    ports: tuple[tuple[str, int, str], ...]  # name, number, protocol
    ends: tuple[tuple[str, str, bool, bool, str], ...]  # address, node, ready, serving while terminating, hostname


def keep_service(service: Obj) -> bytes:
    """What of a Service matters on a node, as JSON."""
    spec = service.get("spec") or {}
    keys = ("clusterIP", "clusterIPs", "externalIPs", "externalName", "type", "ports", "selector",
            "publishNotReadyAddresses", "sessionAffinity", "sessionAffinityConfig", "internalTrafficPolicy",
            "externalTrafficPolicy")  # fmt: skip
    kept = {key: spec[key] for key in keys if spec.get(key)}
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    ingress = [i["ip"] for i in balancer.get("ingress") or () if i.get("ip") and i.get("ipMode") != "Proxy"]
    return bytes(orjson.dumps({**kept, **({"ingress": ingress} if ingress else {})}))


def keep_slice(obj: Obj) -> Slice:
    """What of an EndpointSlice matters on a node."""
    meta = obj["metadata"]
    name = (meta.get("labels") or {}).get(SERVICE_LABEL, "")
    if obj.get("addressType") != "IPv4":
        return Slice(f"{meta.get('namespace', '')}/{name}", (), ())
    ends = []
    for endpoint in obj.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = conditions.get("serving", ready) is not False
        ending = bool(conditions.get("terminating")) and serving
        for address in (endpoint.get("addresses") or ())[:1]:
            ends.append((address, endpoint.get("nodeName") or "", ready, ending, endpoint.get("hostname") or ""))
    ports = tuple(
        (p.get("name") or "", int(p["port"]), p.get("protocol") or "TCP")
        for p in obj.get("ports") or ()
        if p.get("port")
    )
    return Slice(f"{meta.get('namespace', '')}/{name}", ports, tuple(ends))


def local_pods(pods: Iterable[tuple[Obj, Obj]]) -> list[Obj]:
    """(pod, status) pairs as what Services and host ports look at."""
    result = []
    for pod, status in pods:
        if status.get("phase") in ("Succeeded", "Failed") or not status.get("podIP"):
            continue
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        containers = [*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ())]
        result.append({
            "namespace": pod["metadata"]["namespace"], "labels": pod["metadata"].get("labels") or {},
            "ip": status["podIP"], "ready": ready and not pod["metadata"].get("deletionTimestamp"),
            "ending": ready and bool(pod["metadata"].get("deletionTimestamp")),
            "hostname": pod["spec"].get("hostname") or "", "subdomain": pod["spec"].get("subdomain") or "",
            "ports": [p for c in containers for p in c.get("ports") or ()],
            "host_network": bool(pod["spec"].get("hostNetwork")),
        })  # fmt: skip
    return result


def selected(namespace: str, spec: Obj, pods: Sequence[Obj]) -> list[Obj]:
    """The pods that a Service's selector chooses."""
    selector = spec.get("selector")
    return [
        p for p in pods if selector and p["namespace"] == namespace and selector.items() <= p["labels"].items()
    ]  # fmt: skip


def cluster_ips(spec: Obj) -> tuple[str, ...]:
    """A Service's own addresses; none for a headless one."""
    ips = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return tuple(ip for ip in ips if ip and ip != "None")


def ends_of(key: str, spec: Obj, port: Obj, pods: Sequence[Obj], slices: Sequence[Slice], node: str) -> Iterator[End]:
    """Every endpoint of one of the Service's ports."""
    for pod in selected(key.partition("/")[0], spec, pods):
        backend = _backend(pod, port)
        if backend is not None:
            ready = pod["ready"] or bool(spec.get("publishNotReadyAddresses"))
            yield End(backend, True, ready, pod["ending"])
    name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
    for one in slices:
        for number in [p[1] for p in one.ports if p[0] == name and p[2] == protocol]:
            for address, where, ready, ending, _ in one.ends:
                if not (spec.get("selector") and where == node):  # of our own pods we know more
                    yield End(Backend(address, number), where == node, ready, ending)


def _backend(pod: Obj, port: Obj) -> Backend | None:
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, str) and not target.isdigit():
        protocol = port.get("protocol") or "TCP"
        found = [p for p in pod["ports"] if p.get("name") == target and (p.get("protocol") or "TCP") == protocol]
        if not found:
            return None
        target = found[0]["containerPort"]
    return Backend(pod["ip"], int(target) or int(port["port"]))


def usable(ends: Iterable[End]) -> tuple[Backend, ...]:
    """Those that are ready; while there are none, those that end but still serve."""
    ends = list(ends)
    chosen = [e.backend for e in ends if e.ready] or [e.backend for e in ends if e.ending]
    return tuple(sorted(set(chosen)))


def entries(
    services: Iterable[tuple[str, bytes]], pods: Sequence[Obj], slices: Mapping[str, Sequence[Slice]], node: str,
    api_server: Backend | None, own_ips: frozenset[str] = frozenset(),
) -> Iterator[Entry]:  # fmt: skip
    """One entry for each port of each Service that has an address; `own_ips` are answered by the node itself."""
    for key, kept in services:
        spec = orjson.loads(kept)
        inside = cluster_ips(spec)
        outside = tuple(ip for ip in (*(spec.get("externalIPs") or ()), *(spec.get("ingress") or ())) if ip)
        if not (inside or outside) or spec.get("type") == "ExternalName" or own_ips.intersection(inside):
            continue
        affinity = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        sticky = int(affinity.get("timeoutSeconds") or _STICKY_S) if spec.get("sessionAffinity") == "ClientIP" else 0
        for port in spec.get("ports") or ():
            if key == KUBERNETES:
                backends: tuple[Backend, ...] = (api_server,) if api_server else ()
                local = backends
            else:
                ends = list(ends_of(key, spec, port, pods, slices.get(key, ()), node))
                backends, local = usable(ends), usable(e for e in ends if e.local)
            yield Entry(
                f"{key}:{port.get('name') or port['port']}", str(port.get("protocol") or "TCP").lower(),
                int(port["port"]), inside, outside, int(port.get("nodePort") or 0), backends, local,
                spec.get("internalTrafficPolicy") == "Local", spec.get("externalTrafficPolicy") == "Local", sticky,
            )  # fmt: skip


def host_ports(pods: Iterable[Obj]) -> list[HostPort]:
    """The host ports of pods that do not share the machine's network anyway."""
    return [
        HostPort(
            str(port.get("protocol") or "TCP").lower(), int(port["hostPort"]),
            Backend(pod["ip"], int(port["containerPort"])), port.get("hostIP") or "",
        )
        for pod in pods
        if not pod["host_network"]
        for port in pod["ports"]
        if port.get("hostPort")
    ]  # fmt: skip
