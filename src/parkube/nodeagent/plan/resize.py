"""In-place resize: what of a running container's CPU and memory is not yet as its pod asks. Pure.

Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers" (KEP-1287).
"""

from __future__ import annotations

from collections.abc import Iterator

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.memory import Memory
from parkube.nodeagent.plan.model import Container, ContainerPhase, PodObserved
from parkube.nodeagent.plan.resources import amount

_SIZED = ("cpu", "memory")


def actual(container: Obj, found: Container, memory: Memory) -> Obj:
    """The resources that the running container has: as it was given them, or by the last status of that container."""
    known = memory.applied.get(found.id)
    if known is not None:
        return known
    for init in (False, True):
        status = pods.status_of(memory.status, found.name, init)
        if status.get("containerID") == f"containerd://{found.id}" and status.get("resources") is not None:
            return dict(status["resources"])
    return container.get("resources") or {}


def resizing(container: Obj, found: Container, memory: Memory) -> set[str]:
    """Which of cpu and memory differ from what is asked for."""
    wanted, has = container.get("resources") or {}, actual(container, found, memory)
    return {
        name
        for name in _SIZED
        for kind in ("requests", "limits")
        if amount((wanted.get(kind) or {}).get(name)) != amount((has.get(kind) or {}).get(name))
    }


def resizes(pod: Obj, seen: PodObserved | None, memory: Memory) -> bool:
    """Whether some running container is to have other resources than it has."""
    return any(resizing(container, found, memory) for container, found in _running(pod, seen))


def allocated(pod: Obj, seen: PodObserved | None, memory: Memory) -> Obj:
    """The pod with the resources that its running containers have, whatever is asked for now."""
    has = {found.name: actual(container, found, memory) for container, found in _running(pod, seen)}
    spec = dict(pod["spec"])
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [{**c, "resources": has.get(c["name"], c.get("resources") or {})} for c in spec[kind]]
    return {**pod, "spec": spec}


def _running(pod: Obj, seen: PodObserved | None) -> Iterator[tuple[Obj, Container]]:
    for container in pods.all_containers(pod):
        found = pods.in_sandbox(seen, container["name"])
        if found is not None and found.phase is ContainerPhase.RUNNING:
            yield container, found


def restarting(container: Obj) -> set[str]:
    """The resources whose change asks for a restart, by `resizePolicy`."""
    policies = container.get("resizePolicy") or ()
    return {entry["resourceName"] for entry in policies if entry.get("restartPolicy") == "RestartContainer"}
