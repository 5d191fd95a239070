"""Gives Services their cluster IP and node ports. What is free, the pools know; what a Service may say, its strategy.

Source: Kubernetes documentation, "Service ClusterIP allocation".
"""

from __future__ import annotations

import ipaddress

from parkube.controlplane.access.admission.plugin import Plugin, name_of
from parkube.controlplane.access.admission.pools import Pool, PoolFull, Taken
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import SERVICES
from parkube.kubeapi.errors import Cause, InternalError, Obj, invalid

_WITH_PORTS = ("NodePort", "LoadBalancer")


class ServiceAllocation(Plugin):
    """Allocates on create and update; `put` and `drop` follow what really exists."""

    kinds, operations = frozenset({SERVICES}), frozenset({"CREATE", "UPDATE"})

    def __init__(self, addresses: Pool, ports: Pool) -> None:
        self._addresses, self._ports = addresses, ports
        self._holdings: dict[str, tuple[set[int], set[int]]] = {}

    # --- events ------------------------------------------------------------------------------------------------

    def put(self, service: Obj) -> None:
        """A Service as it now is."""
        owner, spec = _owner(service), service.get("spec") or {}
        addresses, ports = set(_addresses(spec)), set(_node_ports(spec))
        had_addresses, had_ports = self._holdings.get(owner, (set(), set()))
        for value in had_addresses - addresses:
            self._addresses.release(value, owner)
        for value in had_ports - ports:
            self._ports.release(value, owner)
        for value in addresses:
            self._addresses.hold(value, owner)
        for value in ports:
            self._ports.hold(value, owner)
        self._holdings[owner] = (addresses, ports)

    def drop(self, service: Obj) -> None:
        """The Service is gone."""
        owner = _owner(service)
        addresses, ports = self._holdings.pop(owner, (set(), set()))
        for value in addresses:
            self._addresses.release(value, owner)
        for value in ports:
            self._ports.release(value, owner)

    # --- admission ---------------------------------------------------------------------------------------------

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Changes the Service. Raises Invalid, every clash named."""
        if subresource or new is None:
            return
        spec = new.setdefault("spec", {})
        before = (old or {}).get("spec") or {}
        owner = f"{namespace}/{name_of(name, new)}"
        faults: list[Cause] = []
        if spec.get("type") == "ExternalName":
            for key in ("clusterIP", "clusterIPs"):
                spec.pop(key, None)
        else:
            self._address(owner, spec, before, faults, keep=not context.dry_run)
        if spec.get("type") in _WITH_PORTS:
            self._node_ports(owner, spec, before, faults, keep=not context.dry_run)
        else:
            _let_go(spec, before)
        if faults:
            raise invalid(resource.kind, resource.gvr.group, name_of(name, new), faults)

    def _address(self, owner: str, spec: Obj, before: Obj, faults: list[Cause], *, keep: bool) -> None:
        wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        wanted = wanted or (before.get("clusterIP") or "")
        if not wanted:
            try:
                value = self._addresses.pick(owner, keep=keep)
            except PoolFull as error:
                raise InternalError("failed to allocate a serviceIP: range is full") from error
            wanted = str(ipaddress.ip_address(value))
        elif wanted != "None" and wanted != before.get("clusterIP"):
            problem = self._claim(self._addresses, _number(wanted), owner, keep)
            if problem:
                cause = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {problem}'
                faults.append(Cause("FieldValueInvalid", cause, "spec.clusterIPs"))
        spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]

    def _node_ports(self, owner: str, spec: Obj, before: Obj, faults: list[Cause], *, keep: bool) -> None:
        kept = {(p.get("protocol", "TCP"), p.get("port")): p.get("nodePort") for p in before.get("ports") or ()}
        mine = set(_node_ports(before))
        if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return
        given: dict[int, str] = {}  # one number may serve one port of each protocol
        for index, port in enumerate(spec.get("ports") or ()):
            protocol = port.get("protocol") or "TCP"
            wanted = port.get("nodePort") or kept.get((protocol, port.get("port")))
            field = f"spec.ports[{index}].nodePort"
            if not wanted:
                try:
                    wanted = self._ports.pick(owner, keep=keep)
                except PoolFull as error:
                    raise InternalError("failed to allocate a nodePort: range is full") from error
            elif wanted not in mine and wanted not in given:
                problem = self._claim(self._ports, wanted, owner, keep)
                if problem:
                    faults.append(Cause("FieldValueInvalid", f"Invalid value: {wanted}: {problem}", field))
            given[wanted] = protocol
            port["nodePort"] = wanted

    @staticmethod
    def _claim(pool: Pool, value: int | None, owner: str, keep: bool) -> str:
        """Reserve this very value; why it cannot be, or nothing."""
        if value is None:
            return "the provided IP is not valid"
        if value not in pool:
            if pool.last > 65535:
                low, high = ipaddress.ip_address(pool.first), ipaddress.ip_address(pool.last)
                return f"the provided IP is not in the valid range. The range of valid IPs is {low}-{high}"
            return f"provided port is not in the valid range. The range of valid ports is {pool.first}-{pool.last}"
        try:
            pool.reserve(value, owner, keep=keep)
        except Taken:
            return "provided IP is already allocated" if pool.last > 65535 else "provided port is already allocated"
        return ""


def _let_go(spec: Obj, before: Obj) -> None:
    """A Service that no longer has node ports drops those it had, though a patch leaves them standing."""
    had = set(_node_ports(before))
    for port in spec.get("ports") or ():
        if port.get("nodePort") in had:
            del port["nodePort"]


def _owner(service: Obj) -> str:
    return f"{service['metadata'].get('namespace', '')}/{service['metadata']['name']}"


def _number(address: str) -> int | None:
    try:
        return int(ipaddress.ip_address(address))
    except ValueError:
        return None


def _addresses(spec: Obj) -> list[int]:
    values = {*(spec.get("clusterIPs") or ()), spec.get("clusterIP") or ""} - {"", "None"}
    return [number for number in map(_number, values) if number is not None]


def _node_ports(spec: Obj) -> list[int]:
    return [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
