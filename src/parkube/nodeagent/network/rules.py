"""The nftables rules of a node's Services: which there should be, and the fewest words that lead from one state to the
next. Pure: text from data.

    packet to a ClusterIP, an external address or, on this machine's addresses, a NodePort
        -> map of doors -> chain of that port -> dnat to one of its backends, at random or the one that the client had
        no backend at all: refused at once; none on this node, where only such may serve: dropped

One table of our own. Chains, sets and elements are named by what they are for, so that a change of one Service leaves
all others, and the clients that others remember, as they are. Source: nft(8); Kubernetes documentation, "Virtual IPs
and Service Proxies".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from ipaddress import ip_address
from typing import NamedTuple

TABLE = "parkube"
_DOOR, _NODE_DOOR = "ipv4_addr . inet_proto . inet_service", "inet_proto . inet_service"
_MAPS = {"doors": f"{_DOOR} : verdict", "node_doors": f"{_NODE_DOOR} : verdict"}
_SETS = {"refused": _DOOR, "refused_nodes": _NODE_DOOR}


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """Where packets end up."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One port of one Service."""

    name: str  # namespace/service:port
    protocol: str  # tcp, udp or sctp
    port: int
    cluster_ips: tuple[str, ...] = ()
    external_ips: tuple[str, ...] = ()  # external and load balancers' addresses
    node_port: int = 0
    backends: tuple[Backend, ...] = ()  # wherever they run
    local: tuple[Backend, ...] = ()  # those of them on this node
    inside_local: bool = False  # internalTrafficPolicy: Local
    outside_local: bool = False  # externalTrafficPolicy: Local
    sticky_s: int = 0  # ClientIP affinity, in seconds; 0: none


@dataclass(frozen=True, slots=True)
class HostPort:
    """A container's port on this machine's addresses."""

    protocol: str
    port: int
    backend: Backend
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """All that the table is made of."""

    pod_cidr: str  # of this node
    bridge: str
    service_cidr: str
    cluster_cidr: str  # of all pods
    entries: Sequence[Entry] = field(default_factory=tuple)
    host_ports: Sequence[HostPort] = field(default_factory=tuple)


class Table(NamedTuple):
    """The table as data: what is fixed, sets that remember clients, chains' rules, and elements by map or set."""

    fixed: str
    memories: dict[str, int]  # set -> seconds
    chains: dict[str, tuple[str, ...]]
    elements: dict[str, dict[str, str]]  # map or set -> key -> verdict, empty for a set's


def table(rules: Rules) -> Table:
    """The table that these rules ask for."""
    fixed = _FIXED.format(
        pods=rules.pod_cidr, bridge=rules.bridge, services=rules.service_cidr, cluster=rules.cluster_cidr
    )
    made = Table(fixed, {}, {}, {name: {} for name in (*_MAPS, *_SETS)})
    for entry in sorted(rules.entries, key=lambda e: e.name):
        _entry(made, entry, rules.cluster_cidr)
    for port in sorted(rules.host_ports, key=lambda p: (p.protocol, p.port, p.host_ip, p.backend)):
        name = _name("h", port.protocol, port.port, port.host_ip)
        if port.host_ip not in ("", "0.0.0.0"):
            key, doors = f"{port.host_ip} . {port.protocol} . {port.port}", made.elements["doors"]
        else:
            key, doors = f"{port.protocol} . {port.port}", made.elements["node_doors"]
        if key not in doors:  # two pods cannot have the same host port
            doors[key] = f"goto {name}"
            made.chains[name] = (_to(port.protocol, (port.backend,)),)
    return made


def _entry(made: Table, entry: Entry, cluster_cidr: str) -> None:
    inside = [f"{ip} . {entry.protocol} . {entry.port}" for ip in entry.cluster_ips if _is_v4(ip)]
    outside = [f"{ip} . {entry.protocol} . {entry.port}" for ip in entry.external_ips if _is_v4(ip)]
    node = [f"{entry.protocol} . {entry.node_port}"] if entry.node_port else []
    if not entry.backends:
        made.elements["refused"].update(dict.fromkeys(inside + outside, ""))
        made.elements["refused_nodes"].update(dict.fromkeys(node, ""))
        return
    everywhere = _name("s", entry.name, entry.protocol)
    near = _name("l", entry.name, entry.protocol)
    if not entry.inside_local or outside or node:
        _chain(made, everywhere, entry, entry.backends)
    if entry.inside_local or entry.outside_local:
        _chain(made, near, entry, entry.local)
    door = everywhere
    if entry.outside_local and (outside or node):
        door = _name("x", entry.name, entry.protocol)
        # From inside the cluster it is as good as the cluster's own address.
        made.chains[door] = (
            f"ip saddr {cluster_cidr} goto {everywhere}", f"fib saddr type local goto {everywhere}", f"goto {near}",
        )  # fmt: skip
    doors = made.elements["doors"]
    for key in inside:
        doors.setdefault(key, f"goto {near if entry.inside_local else everywhere}")
    for key in outside:
        doors.setdefault(key, f"goto {door}")
    for key in node:
        made.elements["node_doors"].setdefault(key, f"goto {door}")


def _chain(made: Table, name: str, entry: Entry, backends: Sequence[Backend]) -> None:
    backends = sorted(backends)
    if not backends:
        made.chains[name] = ("drop",)
    elif not entry.sticky_s or len(backends) == 1:
        made.chains[name] = (_to(entry.protocol, backends),)
    else:
        remembered, chosen = [], []
        for at, backend in enumerate(backends):
            words = (entry.name, entry.protocol, backend.ip, backend.port)
            memory, end = _name("a", *words, entry.sticky_s), _name("e", *words, entry.sticky_s)
            made.memories[memory] = entry.sticky_s
            made.chains[end] = (f"update @{memory} {{ ip saddr }}", _to(entry.protocol, (backend,)))
            remembered.append(f"ip saddr @{memory} goto {end}")
            chosen.append(f"{at} : goto {end}")
        made.chains[name] = (*remembered, f"numgen random mod {len(backends)} vmap {{ {', '.join(chosen)} }}")


def _to(protocol: str, backends: Sequence[Backend]) -> str:
    if len(backends) == 1:
        return f"meta l4proto {protocol} dnat to {backends[0].ip}:{backends[0].port}"
    options = ", ".join(f"{i} : {b.ip} . {b.port}" for i, b in enumerate(backends))
    return f"meta l4proto {protocol} dnat to numgen random mod {len(backends)} map {{ {options} }}"


def _name(kind: str, *words: object) -> str:
    return f"{kind}_{sha1(repr(words).encode(), usedforsecurity=False).hexdigest()[:16]}"


def _is_v4(ip: str) -> bool:
    try:
        return ip_address(ip).version == 4
    except ValueError:
        return False


def whole(new: Table) -> str:
    """Input for `nft -f -`: the old table goes and the new one comes in one step."""
    lines = [f"table ip {TABLE} {{}}", f"delete table ip {TABLE}", f"table ip {TABLE} {{"]
    lines += [f"  map {name} {{ type {kind}; }}" for name, kind in _MAPS.items()]
    lines += [f"  set {name} {{ type {kind}; }}" for name, kind in _SETS.items()]
    lines += [new.fixed, "}"]
    empty = Table(new.fixed, {}, {}, {name: {} for name in new.elements})
    return "\n".join(lines) + "\n" + change(empty, new)


def change(old: Table, new: Table) -> str:
    """What leads from one table to the other in one transaction; empty where nothing differs. `fixed` must be equal."""
    out = [
        f"add set ip {TABLE} {name} {{ type ipv4_addr; flags dynamic,timeout; timeout {seconds}s; }}"
        for name, seconds in new.memories.items()
        if name not in old.memories
    ]
    out += [f"add chain ip {TABLE} {name}" for name in new.chains if name not in old.chains]
    for name, body in new.chains.items():
        if old.chains.get(name) != body:
            out += [f"flush chain ip {TABLE} {name}"] if name in old.chains else []
            out += [f"add rule ip {TABLE} {name} {rule}" for rule in body]
    for at, elements in new.elements.items():
        had = old.elements[at]
        gone = [key for key, verdict in had.items() if elements.get(key) != verdict]
        fresh = [f"{key} : {v}" if v else key for key, v in elements.items() if had.get(key) != v]
        out += [f"delete element ip {TABLE} {at} {{ {', '.join(gone)} }}"] if gone else []
        out += [f"add element ip {TABLE} {at} {{ {', '.join(fresh)} }}"] if fresh else []
    idle = [name for name in old.chains if name not in new.chains]
    out += [f"flush chain ip {TABLE} {name}" for name in idle]
    out += [f"delete chain ip {TABLE} {name}" for name in idle]
    out += [f"delete set ip {TABLE} {name}" for name in old.memories if name not in new.memories]
    return "\n".join([*out, ""]) if out else ""


class Stale(NamedTuple):
    """Tracked UDP flows that lead to where they no longer should; an empty backend: past all backends."""

    ip: str
    port: int
    backend: str


def stale_udp(old: Iterable[Entry], new: Iterable[Entry]) -> list[Stale]:
    """UDP has no end, so the kernel keeps sending a flow to the backend it began with: which flows to forget."""
    before, after = _udp_doors(old), _udp_doors(new)
    found = []
    for (ip, port), backends in after.items():
        had = before.get((ip, port), set())
        found += [Stale(ip, port, gone) for gone in sorted(had - backends)]
        if backends and not had:
            found.append(Stale(ip, port, ""))
    for (ip, port), backends in before.items():
        if (ip, port) not in after:
            found += [Stale(ip, port, gone) for gone in sorted(backends)]
    return found


def _udp_doors(entries: Iterable[Entry]) -> dict[tuple[str, int], set[str]]:
    doors: dict[tuple[str, int], set[str]] = {}
    for entry in entries:
        if entry.protocol == "udp":
            for ip in (*entry.cluster_ips, *entry.external_ips):
                doors.setdefault((ip, entry.port), set()).update(b.ip for b in entry.backends)
            if entry.node_port:
                doors.setdefault(("", entry.node_port), set()).update(b.ip for b in entry.backends)
    return doors


# 127.0.0.0/8 reaches NodePorts through route_localnet; the first chain keeps others from reaching this machine's own
# loopback by it. Masqueraded is what would else be answered past us: to the bridge it came from, to another machine
# with an address that is not a pod's, and whatever of a pod's leaves the cluster. What is still addressed to a Service
# after the doors is for a port that none has.
_FIXED = """\
  chain loopback {{
    type filter hook prerouting priority raw
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @doors
    fib daddr type local meta l4proto . th dport vmap @node_doors
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat
    jump services
  }}
  chain output {{
    type nat hook output priority -100
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat
    ct status dnat ip saddr 127.0.0.0/8 masquerade
    ct status dnat ip saddr {pods} ip daddr {pods} masquerade
    ct status dnat ip saddr != {cluster} oifname != {{ "{bridge}", "lo" }} masquerade
    ip saddr {pods} ip daddr != {cluster} oifname != "{bridge}" masquerade
  }}
  chain refuse {{
    ip daddr . meta l4proto . th dport @refused reject
    fib daddr type local meta l4proto . th dport @refused_nodes reject
    ip daddr {services} fib daddr type != local reject
  }}
  chain input {{
    type filter hook input priority filter
    jump refuse
  }}
  chain output_filter {{
    type filter hook output priority filter
    jump refuse
  }}
  chain forward {{
    type filter hook forward priority filter
    jump refuse
  }}"""
