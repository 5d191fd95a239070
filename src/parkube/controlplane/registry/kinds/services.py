"""Service and Endpoints: rows and rules. Addresses and node ports are given out by admission, not here."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.columns import network as columns
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy, fill
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_TYPES = frozenset(("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))
_PROTOCOLS = frozenset(("TCP", "UDP", "SCTP"))
_AFFINITY = frozenset(("ClientIP", "None"))
_TRAFFIC = frozenset(("Cluster", "Local"))
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_HEADLESS = "None"
_STICKY_SECONDS = 10800
_UNUSED_BY_CLUSTER_IP = ("externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts")


class ServiceStrategy(KindStrategy):
    """Types, ports and addresses agree; an address stays."""

    name_rule = "label1035"
    spec_defaults = {"sessionAffinity": "None", "type": "ClusterIP"}
    first_status = {"loadBalancer": {}}

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec: Obj = obj["spec"]
        for port in spec.get("ports") or ():
            fill(port, {"protocol": "TCP"})
            if port.get("targetPort") in (None, 0, "") and port.get("port"):
                port["targetPort"] = port["port"]
        if spec["sessionAffinity"] == "ClientIP" and not spec.get("sessionAffinityConfig"):
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _STICKY_SECONDS}}
        if spec["type"] == "ExternalName":
            return
        fill(spec, {"internalTrafficPolicy": "Cluster", "ipFamilyPolicy": "SingleStack"})
        if not spec.get("ipFamilies"):
            spec["ipFamilies"] = ["IPv4"]
        if spec["type"] in _WITH_NODE_PORTS:
            fill(spec, {"externalTrafficPolicy": "Cluster"})
        if spec["type"] == "LoadBalancer":
            fill(spec, {"allocateLoadBalancerNodePorts": True})

    def prepare_create(self, obj: Obj) -> None:
        obj["status"] = {"loadBalancer": {}}

    def prepare_update(self, new: Obj, old: Obj, subresource: str) -> None:
        super().prepare_update(new, old, subresource)
        if subresource:
            return
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        if before.get("type") in _WITH_NODE_PORTS and spec.get("type") not in _WITH_NODE_PORTS:
            _release_node_ports(spec, before)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found = _type_faults(spec) + _ports(spec) + checks.labels(spec.get("selector"), "spec.selector")
        found += checks.one_of(spec.get("sessionAffinity"), "spec.sessionAffinity", _AFFINITY)
        for key in ("internalTrafficPolicy", "externalTrafficPolicy"):
            if spec.get(key):
                found += checks.one_of(spec[key], f"spec.{key}", _TRAFFIC)
        for at, address in enumerate(spec.get("externalIPs") or ()):
            found += checks.address(address, f"spec.externalIPs[{at}]")
        return found + (_address_change(spec, old.get("spec") or {}) if old is not None else [])


def _release_node_ports(spec: Obj, before: Obj) -> None:
    """A Service that needs no node port any more loses those it only carried along."""
    had = {port.get("nodePort") for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        if port.get("nodePort") in had:
            port.pop("nodePort", None)
    for key in _UNUSED_BY_CLUSTER_IP:
        if spec.get(key) == before.get(key):
            spec.pop(key, None)


def _type_faults(spec: Obj) -> list[Cause]:
    kind = spec.get("type")
    found = checks.one_of(kind, "spec.type", _TYPES)
    address = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
    if kind == "ExternalName":
        if not spec.get("externalName"):
            found.append(faults.required("spec.externalName"))
        else:
            found += checks.name(spec["externalName"].rstrip("."), "spec.externalName", "subdomain")
        if address:
            found.append(faults.forbidden("spec.clusterIPs", "may not be set for ExternalName services"))
        return found
    if address == _HEADLESS and kind in _WITH_NODE_PORTS:
        words = f"may not be set to 'None' for {kind} services"
        found.append(faults.invalid("spec.clusterIPs[0]", address, words))
    elif address and address != _HEADLESS:
        found += checks.address(address, "spec.clusterIPs[0]")
    ips = spec.get("clusterIPs")
    if ips and spec.get("clusterIP") and ips[0] != spec["clusterIP"]:
        found.append(faults.invalid("spec.clusterIPs", ips, "first value must match `clusterIP`"))
    if kind == "ClusterIP" and spec.get("externalTrafficPolicy"):
        words = "may only be set for externally-accessible services"
        found.append(faults.invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], words))
    return found


def _ports(spec: Obj) -> list[Cause]:
    ports: list[Obj] = spec.get("ports") or []
    kind = spec.get("type")
    if not ports:
        headless = spec.get("clusterIP") == _HEADLESS
        return [] if headless or kind == "ExternalName" else [faults.required("spec.ports")]
    found: list[Cause] = []
    names: set[str] = set()
    doors: set[tuple[Any, Any]] = set()
    node_doors: set[tuple[Any, Any]] = set()
    for at, port in enumerate(ports):
        path, name, protocol = f"spec.ports[{at}]", port.get("name"), port.get("protocol")
        if name:
            found += checks.name(name, f"{path}.name")
            if name in names:
                found.append(faults.duplicate(f"{path}.name", name))
            names.add(name)
        elif len(ports) > 1:
            found.append(faults.required(f"{path}.name"))
        if "port" in port:
            found += checks.port_number(port["port"], f"{path}.port")
        found += checks.one_of(protocol, f"{path}.protocol", _PROTOCOLS)
        if "targetPort" in port:
            found += checks.port_or_name(port["targetPort"], f"{path}.targetPort")
        if (protocol, port.get("port")) in doors:
            found.append(faults.duplicate(path, {"protocol": protocol, "port": port.get("port")}))
        doors.add((protocol, port.get("port")))
        number = port.get("nodePort")
        if not number:
            continue
        if kind not in _WITH_NODE_PORTS:
            words = f"may not be used when `type` is '{kind}'"
            found.append(faults.forbidden(f"{path}.nodePort", words))
        elif (protocol, number) in node_doors:
            found.append(faults.duplicate(f"{path}.nodePort", number))
        node_doors.add((protocol, number))
    return found


def _address_change(spec: Obj, before: Obj) -> list[Cause]:
    then, now = before.get("clusterIP"), spec.get("clusterIP")
    if not then or then == now or "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    return [faults.invalid("spec.clusterIPs[0]", spec.get("clusterIPs") or [now], "may not change once set")]


class EndpointsStrategy(PlainStrategy):
    """Addresses and ports of a Service's backends."""

    def default(self, obj: Obj) -> None:
        for subset in obj.get("subsets") or ():
            for port in subset.get("ports") or ():
                fill(port, {"protocol": "TCP"})

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found: list[Cause] = []
        if old is not None and obj.get("subsets") == old.get("subsets"):
            return found
        for at, subset in enumerate(obj.get("subsets") or ()):
            path = f"subsets[{at}]"
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                found.append(faults.required(path, "must specify `addresses` or `notReadyAddresses`"))
            for kind in ("addresses", "notReadyAddresses"):
                for index, address in enumerate(subset.get(kind) or ()):
                    found += checks.address(address.get("ip"), f"{path}.{kind}[{index}].ip")
            ports = subset.get("ports") or ()
            for index, port in enumerate(ports):
                here = f"{path}.ports[{index}]"
                if len(ports) > 1 and not port.get("name"):
                    found.append(faults.required(f"{here}.name"))
                found += checks.port_number(port.get("port"), f"{here}.port") if "port" in port else []
                found += checks.one_of(port.get("protocol"), f"{here}.protocol", _PROTOCOLS)
        return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "services", "Service", ServiceStrategy(), short="svc", categories=("all",),
            subresources=("status", "proxy"), fields=(label("spec.clusterIP"), label("spec.type")),
            columns=columns.SERVICE,
        ),
        row("", "v1", "endpoints", "Endpoints", EndpointsStrategy(), short="ep", columns=columns.ENDPOINTS),
    ]  # fmt: skip
