"""What a node says of itself: labels, capacity, addresses, conditions. Pure, but for reading /proc once.

Source: Kubernetes documentation, "Node Status" and "Well-Known Labels".
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.pressure import DISK, MEMORY
from parkube.nodeagent.plan.status import rfc3339
from parkube.nodeagent.runtime.port import ImageInfo, RuntimeInfo

VERSION = "v1.36.0+parkube1"
_PRESSURES = {
    (MEMORY, False): ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    (MEMORY, True): ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    (DISK, False): ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    (DISK, True): ("KubeletHasDiskPressure", "kubelet has disk pressure"),
}
_HANDLER = {"recursiveReadOnlyMounts": False, "userNamespaces": False}
_IMAGES = 50  # named in the status, the biggest first
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware and the system. Bytes."""

    cpus: int
    memory: int
    disk: int
    machine_id: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str


def read_machine(data_dir: Path) -> Machine:
    """This machine."""
    memory = next((int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")), 0)
    release = dict(line.split("=", 1) for line in _lines("/etc/os-release") if "=" in line)
    try:
        disk = os.statvfs(data_dir)
        size = disk.f_blocks * disk.f_frsize
    except OSError:
        size = 0
    system = platform.uname()
    return Machine(
        len(os.sched_getaffinity(0)), memory, size, "".join(_lines("/etc/machine-id")),
        "".join(_lines("/proc/sys/kernel/random/boot_id")), system.release,
        release.get("PRETTY_NAME", "Linux").strip('"'), _ARCHITECTURES.get(system.machine, system.machine),
    )  # fmt: skip


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def labels(name: str, machine: Machine, given: Sequence[str]) -> dict[str, str]:
    """The labels a node gives itself, and those of the command line."""
    own = {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": machine.architecture,
        "node.kubernetes.io/instance-type": "parkube",
    }  # fmt: skip
    for label in given:
        key, _, value = label.partition("=")
        own[key] = value
    return own


def taints(given: Sequence[str]) -> list[Obj]:
    """`key=value:Effect` as the API writes it."""
    result = []
    for taint in given:
        what, _, effect = taint.rpartition(":")
        key, _, value = what.partition("=")
        result.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    return result


def resources(machine: Machine, max_pods: int) -> Obj:
    """Capacity; all of it is allocatable, less a little memory kept for the node itself."""
    capacity = {
        "cpu": str(machine.cpus), "memory": f"{machine.memory // 1024}Ki",
        "ephemeral-storage": f"{machine.disk // 1024}Ki", "pods": str(max_pods),
    }  # fmt: skip
    kept = min(100 * 1024 * 1024, machine.memory // 20)
    return {
        "capacity": capacity,
        "allocatable": {**capacity, "memory": f"{(machine.memory - kept) // 1024}Ki"},
    }


def conditions(
    runtime: RuntimeInfo | None, fault: str, now: float, before: Sequence[Obj], pressures: Iterable[str] = ()
) -> list[Obj]:
    """The node's conditions; transition times are kept where nothing moved."""
    if runtime is None:
        ready = ("False", "KubeletNotReady", f"container runtime is down: {fault}"[:500])
    elif not runtime.ready or not runtime.network_ready:
        ready = ("False", "KubeletNotReady", f"container runtime network not ready: {runtime.message}"[:500])
    else:
        ready = ("True", "KubeletReady", "kubelet is posting ready status")
    wanted = [
        *((kind, str(kind in pressures), *_PRESSURES[kind, kind in pressures]) for kind in (MEMORY, DISK)),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", *ready),
    ]
    known = {c["type"]: c for c in before}
    result = []
    for kind, status, reason, message in wanted:
        old = known.get(kind, {})
        moved = rfc3339(now) if old.get("status") != status else old["lastTransitionTime"]
        result.append({
            "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": rfc3339(now), "lastTransitionTime": moved,
        })  # fmt: skip
    return result


def node_status(
    machine: Machine, runtime: RuntimeInfo | None, addresses: Sequence[tuple[str, str]], found: list[Obj],
    max_pods: int, images: Sequence[ImageInfo] = (),
) -> Obj:  # fmt: skip
    """The whole NodeStatus."""
    biggest = sorted(images, key=lambda image: (-image.size, image.id))[:_IMAGES]
    return {
        **resources(machine, max_pods),
        "addresses": [{"type": kind, "address": address} for kind, address in addresses if address],
        "conditions": found,
        "images": [{"names": [*i.digests, *i.tags][:5], "sizeBytes": i.size} for i in biggest if i.digests or i.tags],
        "runtimeHandlers": [{"name": name, "features": _HANDLER} for name in ("", "runc")],
        "features": {"supplementalGroupsPolicy": False},
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": machine.machine_id, "systemUUID": machine.machine_id, "bootID": machine.boot_id,
            "kernelVersion": machine.kernel, "osImage": machine.os_image,
            "containerRuntimeVersion": f"{runtime.name}://{runtime.version}" if runtime else "unknown://",
            "kubeletVersion": VERSION, "kubeProxyVersion": VERSION, "operatingSystem": "linux",
            "architecture": machine.architecture,
        },
    }  # fmt: skip
