"""Whether a node takes a pod that was bound to it, and a running pod's wish for other resources. Pure.

Sources: Kubernetes documentation, "Using sysctls in a Kubernetes Cluster", "Resize CPU and Memory Resources assigned to
Containers" (KEP-1287), "Configure a Security Context" (supplementalGroupsPolicy); kubelet's reasons and words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.pressure import refused_under
from parkube.nodeagent.plan.resources import amount, pod_requests

Refusal = tuple[str, str]  # reason, message
_IPC, _NET = "ipc", "net"
SAFE_SYSCTLS: Mapping[str, str] = {
    "kernel.shm_rmid_forced": _IPC, "net.ipv4.ip_local_port_range": _NET, "net.ipv4.tcp_syncookies": _NET,
    "net.ipv4.ping_group_range": _NET, "net.ipv4.ip_unprivileged_port_start": _NET,
    "net.ipv4.ip_local_reserved_ports": _NET, "net.ipv4.tcp_keepalive_time": _NET, "net.ipv4.tcp_fin_timeout": _NET,
    "net.ipv4.tcp_keepalive_intvl": _NET, "net.ipv4.tcp_keepalive_probes": _NET, "net.ipv4.tcp_rmem": _NET,
    "net.ipv4.tcp_wmem": _NET,
}  # fmt: skip


def refusal(
    pod: Obj, others: Sequence[Obj], allocatable: Mapping[str, str], pressures: Iterable[str] = ()
) -> Refusal | None:
    """Why the node does not take this pod beside the others that it has; None when it does."""
    spec = pod["spec"]
    security = spec.get("securityContext") or {}
    pressure = refused_under(pod, pressures)
    if pressure:
        return "Evicted", f"The node had condition: [{pressure}]. "
    if (spec.get("os") or {}).get("name", "linux") != "linux":
        return "PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"
    if security.get("supplementalGroupsPolicy") == "Strict":
        words = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return "SupplementalGroupsPolicyNotSupported", words
    for entry in security.get("sysctls") or ():
        fault = _sysctl_fault(entry["name"].replace("/", "."), spec)
        if fault:
            return "SysctlForbidden", f"forbidden sysctl: {fault}"
    taken = {port for other in others for port in _host_ports(other)}
    if any(_clash(port, other) for port in _host_ports(pod) for other in taken):
        return "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    lacking = _lacking(pod, others, allocatable)
    if lacking is None:
        return None
    name, wanted, used, capacity = lacking
    words = f"Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    return f"OutOf{name}", words


def resize_refusal(pod: Obj, others: Sequence[Obj], allocatable: Mapping[str, str]) -> Refusal | None:
    """Why a running pod does not get the resources that it asks for now: never, or not yet."""
    alone = _lacking(pod, (), allocatable)
    if alone is not None:
        name, wanted, _, capacity = alone
        return "Infeasible", f"Node didn't have enough capacity: {name}, requested: {wanted}, capacity: {capacity}"
    lacking = _lacking(pod, others, allocatable)
    if lacking is None:
        return None
    name, wanted, used, capacity = lacking
    words = f"Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}"
    return "Deferred", words


def _sysctl_fault(name: str, spec: Obj) -> str:
    namespace = SAFE_SYSCTLS.get(name)
    if namespace is None:
        return f'"{name}" not allowlisted'
    if (namespace == _IPC and spec.get("hostIPC")) or (namespace == _NET and spec.get("hostNetwork")):
        return f'"{name}" not allowed with host {namespace} enabled'
    return ""


_Port = tuple[str, int, str]  # protocol, port, address


def _host_ports(pod: Obj) -> Iterator[_Port]:
    for container in pods.containers(pod):
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port.get("containerPort") if pod["spec"].get("hostNetwork") else 0)
            if number:
                yield port.get("protocol") or "TCP", int(number), port.get("hostIP") or "0.0.0.0"


def _clash(one: _Port, other: _Port) -> bool:
    return one[:2] == other[:2] and (one[2] == other[2] or "0.0.0.0" in (one[2], other[2]))


def _lacking(pod: Obj, others: Iterable[Obj], allocatable: Mapping[str, str]) -> tuple[str, int, int, int] | None:
    """What there is too little of: name, wanted, in use, capacity; CPU in thousandths."""
    wanted = {**pod_requests(pod), "pods": Decimal(1)}
    used: dict[str, Decimal] = {}
    for other in others:
        for name, value in {**pod_requests(other), "pods": Decimal(1)}.items():
            used[name] = used.get(name, Decimal(0)) + value
    for name in ("pods", "cpu", "memory", "ephemeral-storage"):
        capacity, want, have = amount(allocatable.get(name)), wanted.get(name), used.get(name, Decimal(0))
        if name in allocatable and want and want + have > capacity:
            unit = 1000 if name == "cpu" else 1
            return name, int(want * unit), int(have * unit), int(capacity * unit)
    return None
