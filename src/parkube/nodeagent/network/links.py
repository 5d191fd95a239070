"""Brings the kernel's links, routes and neighbours to what is wanted: a program that reads it as JSON, acts and ends.

    python -m parkube.nodeagent.network.links   < {"device": …, "routes": …, "neighbours": …, "own_ips": …}

A process of its own, because the netlink library is bigger than the agent may become. What is there already stays
untouched; of routes and neighbours only those are looked at that carry our mark or lie on our device.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from parkube.nodeagent.network.apply import NetworkFault, run_child
from parkube.nodeagent.network.overlay import DEVICE, PORT, VNI, Links

_PROTOCOL = 80  # the mark on our routes: rtnetlink(7) leaves the numbers above "static" to administrators
_PERMANENT, _ONLINK, _SELF = 0x80, 0x4, 0x02
_OVERHEAD = 50  # bytes that VXLAN over IPv4 adds to a packet: RFC 7348
_ZERO = "00:00:00:00:00:00"


async def apply(wanted: Links) -> int:
    """Have it done; the device's MTU, 0 without one. Raises `NetworkFault`."""
    said = await run_child([sys.executable, "-m", __name__], json.dumps(asdict(wanted)), "")
    try:
        return int(said.strip() or 0)
    except ValueError as error:
        raise NetworkFault(f"links: {said!r}") from error


def bring(ip: Any, wanted: dict[str, Any]) -> int:
    """Act on an open netlink socket; the device's MTU, 0 without one."""
    index, mtu = 0, 0
    _own_ips(ip, set(wanted["own_ips"]))  # first: names are to be answered even where no device can be made
    if wanted["device"]:
        index, mtu = _device(ip, wanted["device"])
    else:
        for found in ip.link_lookup(ifname=DEVICE):
            ip.link("del", index=found)
    if index:
        _neighbours(ip, index, [tuple(n) for n in wanted["neighbours"]])
    _routes(ip, index, dict(wanted["routes"]))
    return mtu


def _device(ip: Any, device: dict[str, str]) -> tuple[int, int]:
    below = next(
        (a["index"] for a in ip.get_addr(family=socket.AF_INET) if _attr(a, "IFA_LOCAL") == device["local"]), 0
    )
    if not below:
        raise NetworkFault(f"no link has the address {device['local']}")
    mtu = int(_attr(ip.get_links(below)[0], "IFLA_MTU")) - _OVERHEAD
    for found in ip.link_lookup(ifname=DEVICE):
        if not _same(ip.get_links(found)[0], device, below):
            ip.link("del", index=found)
    if not ip.link_lookup(ifname=DEVICE):
        ip.link(
            "add", ifname=DEVICE, kind="vxlan", vxlan_id=VNI, vxlan_port=PORT, vxlan_local=device["local"],
            vxlan_link=below, vxlan_learning=False, address=device["mac"], mtu=mtu,
        )  # fmt: skip
    index = int(ip.link_lookup(ifname=DEVICE)[0])
    has = {_attr(a, "IFA_LOCAL") for a in ip.get_addr(index=index, family=socket.AF_INET)}
    if device["address"] not in has:
        ip.addr("add", index=index, address=device["address"], prefixlen=32)
    ip.link("set", index=index, state="up")
    return index, mtu


def _same(link: Any, device: dict[str, str], below: int) -> bool:
    data = _attr(_attr(link, "IFLA_LINKINFO"), "IFLA_INFO_DATA")
    said = (_attr(data, "IFLA_VXLAN_ID"), _attr(data, "IFLA_VXLAN_LOCAL"), _attr(data, "IFLA_VXLAN_LINK"))
    return said == (VNI, device["local"], below) and _attr(link, "IFLA_ADDRESS") == device["mac"]


def _neighbours(ip: Any, index: int, wanted: Sequence[tuple[str, str, str]]) -> None:
    arp = {gateway: mac for gateway, mac, _ in wanted}
    forwarding = {mac: node for _, mac, node in wanted}
    known = {
        _attr(n, "NDA_DST"): _attr(n, "NDA_LLADDR")
        for n in ip.get_neighbours(family=socket.AF_INET, ifindex=index)
        if n["state"] & _PERMANENT
    }
    for gateway, mac in arp.items():
        if known.get(gateway) != mac:
            ip.neigh("replace", dst=gateway, lladdr=mac, ifindex=index, state=_PERMANENT)
    for gateway in known.keys() - arp.keys():
        ip.neigh("del", dst=gateway, lladdr=known[gateway], ifindex=index)
    sent = {
        _attr(n, "NDA_LLADDR"): _attr(n, "NDA_DST")
        for n in ip.get_neighbours(family=socket.AF_BRIDGE, ifindex=index)
        if _attr(n, "NDA_LLADDR") not in (None, _ZERO) and _attr(n, "NDA_DST")
    }
    for mac in [mac for mac, node in sent.items() if forwarding.get(mac) != node]:
        ip.fdb("del", ifindex=index, lladdr=mac, dst=sent[mac])
    for mac, node in forwarding.items():
        if sent.get(mac) != node:
            ip.fdb("add", ifindex=index, lladdr=mac, dst=node)


def _routes(ip: Any, index: int, wanted: dict[str, str]) -> None:
    known = {}
    for route in ip.get_routes(family=socket.AF_INET, proto=_PROTOCOL):
        known[f"{_attr(route, 'RTA_DST')}/{route['dst_len']}"] = (
            _attr(route, "RTA_GATEWAY"), _attr(route, "RTA_OIF"),
        )  # fmt: skip
    for cidr, gateway in wanted.items():
        if known.get(cidr, ("", 0))[0] != gateway or (index and known[cidr][1] != index):
            over = {"oif": index, "flags": _ONLINK} if index else {}
            try:
                ip.route("replace", dst=cidr, gateway=gateway, proto=_PROTOCOL, **over)
            except Exception as error:  # a node that is not on our LAN must not keep us from the others
                print(f"{cidr} via {gateway}: {error}", file=sys.stderr)
    for cidr in known.keys() - wanted.keys():
        ip.route("del", dst=cidr, proto=_PROTOCOL)


def _own_ips(ip: Any, wanted: set[str]) -> None:
    """Addresses on the loopback link, beside 127.0.0.1; label-less /32 ones are ours."""
    known = {
        _attr(a, "IFA_LOCAL")
        for a in ip.get_addr(index=1, family=socket.AF_INET)
        if a["prefixlen"] == 32 and not str(_attr(a, "IFA_LOCAL")).startswith("127.")
    }
    for address in wanted - known:
        ip.addr("add", index=1, address=address, prefixlen=32)


def _attr(message: Any, name: str) -> Any:
    return message.get_attr(name) if message is not None else None


def main() -> int:
    """Read, act, print the device's MTU; a fault is one line on stderr."""
    from pyroute2 import IPRoute

    try:
        with IPRoute() as ip:
            print(bring(ip, json.load(sys.stdin)))
    except Exception as error:
        print(f"the pod network cannot be set up: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
