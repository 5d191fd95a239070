"""The nftables rules of a node's Services: ClusterIP, NodePort, host ports, masquerading. Pure: text from data.

    packet to a ClusterIP or, on this machine's addresses, a NodePort
        -> service map -> chain of that port -> dnat to one of its backends on this node, at random
        no backend: refused at once, not left to time out

One table of our own, replaced as a whole in one transaction. Source: nft(8); the API's Service semantics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

TABLE = "parkube"


@dataclass(frozen=True, slots=True)
class Backend:
    """Where packets end up."""

    ip: str
    port: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One port of one Service on this node."""

    name: str  # namespace/service:port, for whoever reads the rules
    protocol: str  # tcp or udp
    port: int
    ips: tuple[str, ...]  # cluster and external addresses
    node_port: int = 0
    backends: tuple[Backend, ...] = ()
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

    pod_cidr: str
    bridge: str
    service_cidr: str
    entries: Sequence[Entry] = field(default_factory=tuple)
    host_ports: Sequence[HostPort] = field(default_factory=tuple)


def render(rules: Rules) -> str:
    """Input for `nft -f -`: the old table goes and the new one comes in one step."""
    entries = sorted(rules.entries, key=lambda e: e.name)
    chains, cluster, nodes, refused, refused_nodes = [], [], [], [], []
    for index, entry in enumerate(entries):
        ips = [ip for ip in entry.ips if _is_v4(ip)]
        keys = [f"{ip} . {entry.protocol} . {entry.port}" for ip in ips]
        node_key = f"{entry.protocol} . {entry.node_port}" if entry.node_port else ""
        if not entry.backends:
            refused += keys
            refused_nodes += [node_key] if node_key else []
            continue
        chains.append(_chain(f"s{index}", entry))
        cluster += [f"{key} : goto s{index}" for key in keys]
        nodes += [f"{node_key} : goto s{index}"] if node_key else []
    for index, port in enumerate(sorted(rules.host_ports, key=lambda p: (p.protocol, p.port, p.host_ip))):
        chains.append(
            f"  chain h{index} {{\n    meta l4proto {port.protocol} dnat to {port.backend.ip}:{port.backend.port}\n  }}"
        )
        if port.host_ip not in ("", "0.0.0.0"):
            cluster.append(f"{port.host_ip} . {port.protocol} . {port.port} : goto h{index}")
        else:
            nodes.append(f"{port.protocol} . {port.port} : goto h{index}")
    return "\n".join([
        f"table ip {TABLE} {{}}", f"delete table ip {TABLE}", f"table ip {TABLE} {{",
        _map("cluster", "ipv4_addr . inet_proto . inet_service : verdict", _unique(cluster)),
        _map("nodes", "inet_proto . inet_service : verdict", _unique(nodes)),
        _set("refused", "ipv4_addr . inet_proto . inet_service", refused),
        _set("refused_nodes", "inet_proto . inet_service", refused_nodes),
        *chains, _FIXED.format(pods=rules.pod_cidr, bridge=rules.bridge), "}", "",
    ])  # fmt: skip


def _unique(elements: Iterable[str]) -> list[str]:
    """The first of those with one key: two pods cannot have the same host port."""
    found: dict[str, str] = {}
    for element in elements:
        found.setdefault(element.partition(" : ")[0], element)
    return list(found.values())


def _chain(name: str, entry: Entry) -> str:
    backends = sorted(entry.backends, key=lambda b: (b.ip, b.port))
    if len(backends) == 1:
        target = f"{backends[0].ip}:{backends[0].port}"
    else:
        pick = "jhash ip saddr" if entry.sticky_s else "numgen random"
        options = ", ".join(f"{i} : {b.ip} . {b.port}" for i, b in enumerate(backends))
        target = f"{pick} mod {len(backends)} map {{ {options} }}"
    return f"  chain {name} {{ # {entry.name}\n    meta l4proto {entry.protocol} dnat to {target}\n  }}"


def _map(name: str, kind: str, elements: Sequence[str]) -> str:
    return _block("map", name, kind, elements)


def _set(name: str, kind: str, elements: Sequence[str]) -> str:
    return _block("set", name, kind, elements)


def _block(what: str, name: str, kind: str, elements: Sequence[str]) -> str:
    lines = [f"  {what} {name} {{", f"    type {kind}"]
    if elements:
        lines.append("    elements = { " + ", ".join(elements) + " }")
    return "\n".join([*lines, "  }"])


def _is_v4(ip: str) -> bool:
    try:
        return ip_address(ip).version == 4
    except ValueError:
        return False


# 127.0.0.0/8 reaches NodePorts through route_localnet; the first chain keeps others from reaching this machine's own
# loopback by it. What goes back to the bridge it came from is masqueraded, or the answer would take a shorter way.
_FIXED = """\
  chain loopback {{
    type filter hook prerouting priority raw
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @cluster
    fib daddr type local meta l4proto . th dport vmap @nodes
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
    ip saddr {pods} ip daddr != {pods} oifname != "{bridge}" masquerade
  }}
  chain refuse {{
    ip daddr . meta l4proto . th dport @refused reject
    fib daddr type local meta l4proto . th dport @refused_nodes reject
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
