"""EndpointSlice: row and rules."""

from __future__ import annotations

from parkube.controlplane.registry.columns import network as columns
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import PlainStrategy, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_TYPES = frozenset(("IPv4", "IPv6", "FQDN"))
_PROTOCOLS = frozenset(("TCP", "UDP", "SCTP"))
_MOST_ENDPOINTS, _MOST_PORTS, _MOST_ADDRESSES = 1000, 100, 100


class EndpointSliceStrategy(PlainStrategy):
    """The address type stays."""

    generation = True
    immutable = ("addressType",)

    def default(self, obj: Obj) -> None:
        for port in obj.get("ports") or ():
            fill(port, {"protocol": "TCP", "name": ""})
        if obj.get("endpoints") is None:
            obj["endpoints"] = []

    def moved(self, new: Obj, old: Obj) -> bool:
        return any(new.get(key) != old.get(key) for key in ("endpoints", "ports", "addressType"))

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found = checks.one_of(obj.get("addressType"), "addressType", _TYPES) if "addressType" in obj else []
        endpoints, ports = obj.get("endpoints") or (), obj.get("ports") or ()
        if len(endpoints) > _MOST_ENDPOINTS:
            found.append(faults.too_many("endpoints", len(endpoints), _MOST_ENDPOINTS))
        if len(ports) > _MOST_PORTS:
            found.append(faults.too_many("ports", len(ports), _MOST_PORTS))
        if old is None or endpoints != (old.get("endpoints") or ()):
            for at, endpoint in enumerate(endpoints):
                found += _addresses(
                    endpoint.get("addresses") or (), obj.get("addressType"), f"endpoints[{at}].addresses"
                )
        names: set[str] = set()
        for at, port in enumerate(ports):
            name = port.get("name") or ""
            if name in names:
                found.append(faults.duplicate(f"ports[{at}].name", name))
            names.add(name)
            found += checks.one_of(port.get("protocol"), f"ports[{at}].protocol", _PROTOCOLS)
        if old is not None and obj.get("addressType") != old.get("addressType"):
            found.append(faults.immutable("addressType", obj.get("addressType")))
        return found


def _addresses(addresses: list[str] | tuple[()], kind: str | None, path: str) -> list[Cause]:
    if not addresses:
        return [faults.required(path, "must contain at least 1 address")]
    if len(addresses) > _MOST_ADDRESSES:
        return [faults.too_many(path, len(addresses), _MOST_ADDRESSES)]
    found: list[Cause] = []
    for at, address in enumerate(addresses):
        here = f"{path}[{at}]"
        found += checks.name(address, here, "subdomain") if kind == "FQDN" else checks.address(address, here)
    return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", EndpointSliceStrategy(),
            columns=columns.ENDPOINT_SLICE,
        )
    ]  # fmt: skip
