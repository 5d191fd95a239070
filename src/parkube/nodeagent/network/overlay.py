"""How this node's pods and those of others reach each other: which links, routes and neighbours there should be. Pure.

    vxlan     a device on each node; what is for another node's pods goes to that node's address in UDP, port 8472
    host-gw   plain routes over one LAN, with no header added
    none      pods reach pods of their own node only

Every entry follows from the nodes' objects: a node's device has the first address of its pod CIDR and a hardware
address made from it, so nobody has to announce one. A node is reached at its InternalIP; nodes that cannot reach each
other there, as two behind different routers, carry no pod traffic between them, and go on with the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from typing import NamedTuple

DEVICE, VNI, PORT = "parkube.vx", 1, 8472
BACKENDS = ("vxlan", "host-gw", "none")


class Peer(NamedTuple):
    """A node, as far as its pods' addresses go."""

    cidr: str
    address: str


@dataclass(frozen=True, slots=True)
class Device:
    """The tunnel's end on this node."""

    local: str  # the node's own address
    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Links:
    """What the kernel should hold; whatever else is ours there goes."""

    device: Device | None = None
    routes: tuple[tuple[str, str], ...] = ()  # pod CIDR, gateway
    neighbours: tuple[tuple[str, str, str], ...] = ()  # gateway, its hardware address, its node's address
    own_ips: tuple[str, ...] = ()  # addresses that the node answers, on its loopback


def first_address(cidr: str) -> str:
    """Of a pod CIDR, for the node itself; pods begin later."""
    return str(ip_network(cidr).network_address)


def mac_of(cidr: str) -> str:
    """The hardware address of the device of the node that has this pod CIDR: locally administered, unicast."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in IPv4Address(first_address(cidr)).packed)


def links(
    backend: str, cidr: str, address: str, peers: Iterable[Peer], own_ips: tuple[str, ...] = ()
) -> Links:  # fmt: skip
    """What this node, with its pod CIDR and address, needs to reach its peers' pods."""
    others = sorted({p for p in peers if p.cidr and p.address and p.cidr != cidr and p.address != address})
    others = [p for p in others if ":" not in p.cidr + p.address]
    if backend == "vxlan" and cidr and address:
        device = Device(address, first_address(cidr), mac_of(cidr))
        routes = tuple((p.cidr, first_address(p.cidr)) for p in others)
        neighbours = tuple((first_address(p.cidr), mac_of(p.cidr), p.address) for p in others)
        return Links(device, routes, neighbours, own_ips)
    if backend == "host-gw":
        return Links(None, tuple((p.cidr, p.address) for p in others), (), own_ips)
    return Links(own_ips=own_ips)
