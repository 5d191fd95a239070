"""From a Service and the pods it selects to EndpointSlices and Endpoints. Pure.

Pods whose named ports resolve alike share a slice of at most 100; a pod that is ending but still ready keeps serving.
Source: Kubernetes API reference, discovery.k8s.io/v1 EndpointSlice, core/v1 Endpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import owner_reference

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
SLICE_SIZE, ENDPOINTS_SIZE = 100, 1000
_ZONE = "topology.kubernetes.io/zone"
_NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration",)


def _port(target: Any, pod: PodInfo, protocol: str, fallback: int) -> int | None:
    """The number that a Service port's targetPort means on this pod; None: the pod has no such port."""
    if target is None or target == "":
        return fallback
    if isinstance(target, int):
        return target or fallback
    named = pod.shape.ports.get(str(target))
    if named is not None and named[1] == protocol:
        return named[0]
    return int(target) if str(target).isdigit() else None


def ports_on(service: Obj, pod: PodInfo) -> tuple[tuple[str, int, str, str], ...]:
    """The Service's ports on this pod: name, number, protocol, appProtocol."""
    out = []
    for p in service["spec"].get("ports") or ():
        protocol = p.get("protocol") or "TCP"
        number = _port(p.get("targetPort"), pod, protocol, int(p["port"]))
        if number is not None:
            out.append((p.get("name") or "", number, protocol, p.get("appProtocol") or ""))
    return tuple(out)


def _selected(service: Obj, pods: Sequence[PodInfo]) -> list[PodInfo]:
    wanted = (service["spec"].get("selector") or {}).items()
    chosen = [p for p in pods if p.ips and p.node and not p.finished and all(p.labels.get(k) == v for k, v in wanted)]
    return sorted(chosen, key=lambda p: p.name)


def conditions(pod: PodInfo, publish_not_ready: bool) -> dict[str, bool]:
    """ready, serving and terminating, as EndpointSlices tell them apart."""
    serving = pod.ready or publish_not_ready
    return {
        "ready": serving and (not pod.deleting or publish_not_ready),
        "serving": serving,
        "terminating": bool(pod.deleting),
    }


def _endpoint(service: Obj, pod: PodInfo, node: NodeInfo | None) -> Obj:
    out: Obj = {
        "addresses": [pod.ips[0]],
        "conditions": conditions(pod, bool(service["spec"].get("publishNotReadyAddresses"))),
        "nodeName": pod.node,
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
    }
    if pod.hostname and pod.subdomain == service["metadata"]["name"]:
        out["hostname"] = pod.hostname
    if node is not None and node.labels.get(_ZONE):
        out["zone"] = node.labels[_ZONE]
    return out


def _labels(service: Obj) -> dict[str, str]:
    labels = dict(service["metadata"].get("labels") or {})
    if service["spec"].get("clusterIP") == "None":
        labels["service.kubernetes.io/headless"] = ""
    return labels


def slices(service: Obj, pods: Sequence[PodInfo], nodes: dict[str, NodeInfo]) -> list[Obj]:
    """The EndpointSlices that there should be, without names: a name is found by what already exists."""
    groups: dict[tuple[tuple[str, int, str, str], ...], list[PodInfo]] = {}
    for pod in _selected(service, pods):
        groups.setdefault(ports_on(service, pod), []).append(pod)
    if not groups:
        groups[()] = []
    m, out = service["metadata"], []
    for ports, members in sorted(groups.items()):
        for start in range(0, max(1, len(members)), SLICE_SIZE):
            chunk = members[start : start + SLICE_SIZE]
            out.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "addressType": _family(chunk),
                    "metadata": {
                        "namespace": m["namespace"],
                        "labels": {**_labels(service), SERVICE_LABEL: m["name"], MANAGED_BY: CONTROLLER},
                        "ownerReferences": [owner_reference({**service, "apiVersion": "v1", "kind": "Service"})],
                    },
                    "endpoints": [_endpoint(service, pod, nodes.get(pod.node)) for pod in chunk],
                    "ports": [
                        {"name": name, "port": number, "protocol": protocol, **({"appProtocol": app} if app else {})}
                        for name, number, protocol, app in ports
                    ],
                }
            )
    return out


def _family(pods: Sequence[PodInfo]) -> str:
    return "IPv6" if pods and ":" in pods[0].ips[0] else "IPv4"


def endpoints(service: Obj, pods: Sequence[PodInfo]) -> Obj:
    """The Endpoints object: addresses grouped by the ports they have in common."""
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    subsets: dict[tuple[tuple[str, int, str, str], ...], tuple[list[Obj], list[Obj]]] = {}
    chosen = [p for p in _selected(service, pods) if not p.deleting or publish]
    for pod in chosen[:ENDPOINTS_SIZE]:
        ports = ports_on(service, pod)
        if not ports and service["spec"].get("ports"):
            continue
        address: Obj = {
            "ip": pod.ips[0],
            "nodeName": pod.node,
            "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        }
        if pod.hostname and pod.subdomain == service["metadata"]["name"]:
            address["hostname"] = pod.hostname
        subsets.setdefault(ports, ([], []))[0 if pod.ready or publish else 1].append(address)
    m = service["metadata"]
    notes = {k: v for k, v in (m.get("annotations") or {}).items() if k not in _NOT_COPIED}
    if len(chosen) > ENDPOINTS_SIZE:
        notes["endpoints.kubernetes.io/over-capacity"] = "truncated"
    out = []
    for ports, (ready, waiting) in sorted(subsets.items()):
        subset: Obj = {
            "ports": [
                {
                    **({"name": name} if name else {}),
                    "port": number,
                    "protocol": protocol,
                    **({"appProtocol": app} if app else {}),
                }
                for name, number, protocol, app in ports
            ]
        }
        for key, addresses in (("addresses", ready), ("notReadyAddresses", waiting)):
            if addresses:
                subset[key] = sorted(addresses, key=lambda a: str(a["ip"]))
        out.append(subset)
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "subsets": out,
        "metadata": {
            "name": m["name"],
            "namespace": m["namespace"],
            "annotations": notes,
            "labels": {**_labels(service), "endpoints.kubernetes.io/managed-by": "endpoint-controller"},
        },
    }


def digest(obj: Obj) -> str:
    """Tells whether what is wanted of a slice or of Endpoints differs from what there is."""
    m = obj["metadata"]
    ports = [
        (p.get("name") or "", p.get("port"), p.get("protocol") or "TCP", p.get("appProtocol") or "")
        for p in obj.get("ports") or ()
    ]
    said = [
        m.get("labels") or {},
        m.get("annotations") or {},
        obj.get("endpoints") or [],
        ports,
        obj.get("subsets") or [],
    ]
    return hashlib.sha1(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), usedforsecurity=False).hexdigest()
