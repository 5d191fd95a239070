"""The rules of placement: why a pod may not stand on a node, in the words kubectl users know, and how good a node is.

Pure. Rules about a node alone (`static_reason`, `static_score`) are kept apart from those about the room left on it,
since the first hold until the node changes and can be remembered for all pods of one shape.
"""

from __future__ import annotations

from collections.abc import Mapping

from parkube.controlplane.scheduler.cluster import NodeState
from parkube.kubeapi.compact import NodeInfo, PodShape
from parkube.kubeapi.placement import (
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    UNSCHEDULABLE,
    Taint,
    preference,
    selects,
    untolerated,
)

AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
CORDONED = "node(s) were unschedulable"
_CORDON = Taint(UNSCHEDULABLE, "", NO_SCHEDULE)


def static_reason(shape: PodShape, node: NodeInfo) -> str:
    """Why no pod of this shape may stand on this node, however empty; "" when it may."""
    if node.unschedulable and not any(t.tolerates(_CORDON) for t in shape.tolerations):
        return CORDONED
    taint = untolerated(node.taints, shape.tolerations)
    if taint is not None:
        return f"node(s) had untolerated taint {{{taint.key}: {taint.value}}}"
    if not selects(shape.node_selector, shape.node_affinity, node.labels, node.name):
        return AFFINITY
    return ""


def reasons(shape: PodShape, state: NodeState) -> list[str]:
    """Every reason against this node: the first rule it breaks, or all resources that are short."""
    why = static_reason(shape, state.info)
    if why:
        return [why]
    if shape.host_ports and state.port_taken(shape):
        return [PORTS]
    return state.lacking(shape)


def static_score(shape: PodShape, node: NodeInfo) -> float:
    """What speaks for a node by itself: preferred affinity (up to 200), and taints that say "rather not"."""
    score = 0.0
    preferred = (shape.node_affinity or {}).get("preferredDuringSchedulingIgnoredDuringExecution")
    if preferred:
        total = sum(int(p.get("weight", 0)) for p in preferred) or 1
        score += 200.0 * preference(shape.node_affinity, node.labels, node.name) / total
    for taint in node.taints:
        if taint.effect == PREFER_NO_SCHEDULE and untolerated((taint,), shape.tolerations, (PREFER_NO_SCHEDULE,)):
            score -= 300.0
    return score


def room_score(shape: PodShape, state: NodeState) -> float:
    """How much of the node would stay free, 0 to 100: the emptiest is best."""
    allocatable = state.info.allocatable
    cpu, memory = allocatable.get("cpu", 0), allocatable.get("memory", 0)
    free_cpu = max(0.0, 1 - (state.weight_cpu + shape.weight[0]) / cpu) if cpu else 0.0
    free_memory = max(0.0, 1 - (state.weight_memory + shape.weight[1]) / memory) if memory else 0.0
    return 50.0 * (free_cpu + free_memory)


def unavailable(nodes: int, counts: Mapping[str, int]) -> str:
    """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`"""
    if not nodes:
        return "no nodes available to schedule pods"
    parts = sorted(f"{count} {reason}" if count else reason for reason, count in counts.items())  # 0: of the pod itself
    return f"0/{nodes} nodes are available: {', '.join(parts)}."
