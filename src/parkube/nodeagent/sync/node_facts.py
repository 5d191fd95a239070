"""What the pods' side needs to know of its node, gathered once at start. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from parkube.nodeagent.plan.build import NodeFacts


@dataclass(slots=True)
class NodeState:
    """The node as its pods see it; addresses may change while the agent runs."""

    facts: NodeFacts
    host_ips: tuple[str, ...]
    allocatable: Mapping[str, str] = field(default_factory=dict)
    pressures: frozenset[str] = frozenset()  # the node's conditions of that kind


def resolver(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Nameservers, search domains and options of a resolv.conf; a file that is absent has none."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    try:
        lines = path.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] == "search":
            searches = words[1:]
        elif words[0] == "options":
            options = words[1:]
    return tuple(servers), tuple(searches), tuple(options)
