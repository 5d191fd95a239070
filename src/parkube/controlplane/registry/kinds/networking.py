"""Ingress, IngressClass, NetworkPolicy, ServiceCIDR and IPAddress: rows, defaults and rules. Nothing here routes."""

from __future__ import annotations

import ipaddress
from typing import Any

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column, selector_text, some
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy, child
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_GROUP = "networking.k8s.io"


class IngressStrategy(KindStrategy):
    """Hosts and paths, each with a backend."""

    generation = True
    first_status = {"loadBalancer": {}}

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        if not spec.get("rules") and not spec.get("defaultBackend"):
            words = "either `defaultBackend` or `rules` must be specified"
            found.append(faults.invalid("spec", spec, words))
        if spec.get("defaultBackend"):
            found += _backend(spec["defaultBackend"], "spec.defaultBackend")
        for number, rule in enumerate(spec.get("rules") or ()):
            paths = ((rule.get("http") or {}).get("paths")) or ()
            for at_, entry in enumerate(paths):
                found += _path(entry, f"spec.rules[{number}].http.paths[{at_}]")
        return found


_PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")


def _path(entry: Obj, path: str) -> list[Cause]:
    kind, value = entry.get("pathType"), entry.get("path") or ""
    if not kind:
        found = [faults.required(f"{path}.pathType", "pathType must be specified")]
    else:
        found = checks.one_of(kind, f"{path}.pathType", _PATH_TYPES)
    if kind in ("Exact", "Prefix") and not value.startswith("/"):
        found.append(faults.invalid(f"{path}.path", value, "must be an absolute path"))
    return found + _backend(entry.get("backend") or {}, f"{path}.backend")


def _backend(backend: Obj, path: str) -> list[Cause]:
    service, resource = backend.get("service"), backend.get("resource")
    if bool(service) == bool(resource):
        words = "cannot set both resource and service backends" if service else "service or resource is required"
        return [faults.invalid(path, backend, words) if service else faults.required(path, words)]
    if not service:
        return []
    found = checks.name(service.get("name"), f"{path}.service.name", "label1035")
    port = service.get("port") or {}
    if bool(port.get("name")) == bool(port.get("number")):
        words = "cannot set both port name & port number" if port.get("name") else "port name or number is required"
        found.append(faults.required(f"{path}.service.port", words))
    return found


class IngressClassStrategy(PlainStrategy):
    """A controller's name; it stays."""

    generation = True

    def validate_change(self, new: Obj, old: Obj) -> list[Cause]:
        controller, before = ((o.get("spec") or {}).get("controller") for o in (new, old))
        return [faults.immutable("spec.controller", controller)] if controller != before else []


class NetworkPolicyStrategy(PlainStrategy):
    """Who may speak with the pods that it selects."""

    generation = True

    def default(self, obj: Obj) -> None:
        spec = child(obj, "spec")
        for key in ("ingress", "egress"):
            for rule in spec.get(key) or ():
                for port in rule.get("ports") or ():
                    port["protocol"] = port.get("protocol") or "TCP"
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") is not None else [])]

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = checks.label_selector(spec.get("podSelector") or {}, "spec.podSelector")
        for key, peers in (("ingress", "from"), ("egress", "to")):
            for number, rule in enumerate(spec.get(key) or ()):
                for at_, peer in enumerate(rule.get(peers) or ()):
                    found += _peer(peer, f"spec.{key}[{number}].{peers}[{at_}]")
                for at_, port in enumerate(rule.get("ports") or ()):
                    if port.get("port") is not None:
                        found += checks.port_or_name(port["port"], f"spec.{key}[{number}].ports[{at_}].port")
        return found


def _peer(peer: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    if not peer:
        return [faults.required(path, "must specify a peer")]
    for key in ("podSelector", "namespaceSelector"):
        found += checks.label_selector(peer.get(key) or {}, f"{path}.{key}")
    block = peer.get("ipBlock")
    if block:
        if peer.get("podSelector") or peer.get("namespaceSelector"):
            found.append(faults.forbidden(path, "may not specify both ipBlock and another peer"))
        found += cidr_faults(block.get("cidr"), f"{path}.ipBlock.cidr")
    return found


def cidr_faults(value: Any, path: str) -> list[Cause]:
    """A network in CIDR notation."""
    try:
        ipaddress.ip_network(value, strict=False)
        plain = "/" in value
    except (ValueError, TypeError):
        plain = False
    words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    return [] if plain else [faults.invalid(path, value, words)]


class ServiceCIDRStrategy(KindStrategy):
    """Addresses that services may get; they stay."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        cidrs = spec.get("cidrs") or []
        found = [] if cidrs else [faults.required("spec.cidrs", "at least one CIDR required")]
        for number, cidr in enumerate(cidrs):
            found += cidr_faults(cidr, f"spec.cidrs[{number}]")
        if old is not None and cidrs != ((old.get("spec") or {}).get("cidrs") or []):
            found.append(faults.immutable("spec.cidrs", cidrs))
        return found


class IPAddressStrategy(PlainStrategy):
    """An address in use, and by what; its name is the address."""

    name_rule = "path"  # IPv6 addresses have colons; what an address is, `validate` says
    generation = True

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        name, parent = (obj.get("metadata") or {}).get("name") or "", (obj.get("spec") or {}).get("parentRef")
        found = checks.address(name, "metadata.name")
        if not parent:
            found.append(faults.required("spec.parentRef"))
        else:
            found += [faults.required(f"spec.parentRef.{k}") for k in ("resource", "name") if not parent.get(k)]
        if old is not None and parent != (old.get("spec") or {}).get("parentRef"):
            found.append(faults.immutable("spec.parentRef", parent))
        return found


def _hosts(obj: Obj) -> str:
    hosts = [rule["host"] for rule in (obj.get("spec") or {}).get("rules") or () if rule.get("host")]
    return some(hosts) or "*"


def _addresses(obj: Obj) -> str:
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(str(entry.get("ip") or entry.get("hostname") or "") for entry in ingress)


def _ports(obj: Obj) -> str:
    return "80, 443" if (obj.get("spec") or {}).get("tls") else "80"


def _parent(obj: Obj) -> str:
    ref = (obj.get("spec") or {}).get("parentRef") or {}
    parts = [ref.get("group"), ref.get("resource"), ref.get("namespace"), ref.get("name")]
    return "/".join(str(part) for part in parts if part)


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            _GROUP, "v1", "ingressclasses", "IngressClass", IngressClassStrategy(), namespaced=False,
            columns=(NAME, column("Controller", at("spec", "controller")),
                     column("Parameters", lambda o: _parameters(o) or "<none>"), AGE),
        ),
        row(
            _GROUP, "v1", "ingresses", "Ingress", IngressStrategy(), short="ing", subresources=("status",),
            columns=(NAME, column("Class", at("spec", "ingressClassName", default="<none>")), column("Hosts", _hosts),
                     column("Address", _addresses), column("Ports", _ports), AGE),
        ),
        row(
            _GROUP, "v1", "ipaddresses", "IPAddress", IPAddressStrategy(), namespaced=False, short="ip",
            fields=(label("spec.parentRef.name"), label("spec.parentRef.resource")),
            columns=(NAME, column("ParentRef", _parent), AGE),
        ),
        row(
            _GROUP, "v1", "networkpolicies", "NetworkPolicy", NetworkPolicyStrategy(), short="netpol",
            columns=(NAME, column("Pod-Selector", lambda o: selector_text((o.get("spec") or {}).get("podSelector"))),
                     AGE),
        ),
        row(
            _GROUP, "v1", "servicecidrs", "ServiceCIDR", ServiceCIDRStrategy(), namespaced=False,
            subresources=("status",),
            columns=(NAME, column("CIDRs", lambda o: ",".join((o.get("spec") or {}).get("cidrs") or ())), AGE),
        ),
    ]  # fmt: skip


def _parameters(obj: Obj) -> str:
    ref = (obj.get("spec") or {}).get("parameters") or {}
    kind = f"{ref.get('kind')}.{ref['apiGroup']}" if ref.get("apiGroup") else ref.get("kind", "")
    return f"{kind}/{ref.get('name')}" if ref else ""
