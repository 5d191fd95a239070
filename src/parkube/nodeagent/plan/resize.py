"""In-place resize: from what a pod asks for, to what the node gives it, to what its running containers have. Pure.

asked for ──(the node has room: `accept`)──> given ──(the runtime was told)──> had
    PodResizePending                     PodResizeInProgress

Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers" (KEP-1287).
"""

from __future__ import annotations

import json

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
    return _differ(container.get("resources") or {}, actual(container, found, memory))


def _differ(wanted: Obj, has: Obj) -> set[str]:
    return {
        name
        for name in _SIZED
        for kind in ("requests", "limits")
        if amount((wanted.get(kind) or {}).get(name)) != amount((has.get(kind) or {}).get(name))
    }


def remember(pod: Obj, memory: Memory) -> None:
    """What the node gave to the containers of a pod that it takes: what each has by the last status, or else what is
    asked for."""
    for container in pods.all_containers(pod):
        name = container["name"]
        status = next(filter(None, (pods.status_of(memory.status, name, init) for init in (False, True))), {})
        has = status.get("resources") if status.get("containerID") else None
        memory.allocated[name] = container.get("resources") or {} if has is None else dict(has)
    for condition in memory.status.get("conditions") or ():
        if condition["type"] == "PodResizeInProgress":
            memory.resize_generation = int(condition.get("observedGeneration") or 1)
            memory.unsettled = True


def pending(pod: Obj, memory: Memory) -> bool:
    """Whether the pod asks for other resources than the node gives it."""
    return any(
        _differ(container.get("resources") or {}, memory.allocated.get(container["name"], {}))
        for container in (*pods.init_containers(pod), *pods.containers(pod))
    )


def accept(pod: Obj, memory: Memory) -> None:
    """The node gives what is asked for now."""
    memory.allocated = {c["name"]: c.get("resources") or {} for c in pods.all_containers(pod)}
    memory.resize_generation = int(pod["metadata"].get("generation") or 1)
    memory.resize_fault, memory.resize_retry_at = "", 0.0


def given(pod: Obj, memory: Memory) -> Obj:
    """The pod with the resources that the node gives it, whatever it asks for now."""
    spec = dict(pod["spec"])
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [
                {**c, "resources": memory.allocated.get(c["name"], c.get("resources") or {})} for c in spec[kind]
            ]
    return {**pod, "spec": spec}


def in_progress(pod: Obj, seen: PodObserved | None, memory: Memory) -> bool:
    """Whether some running container has not got yet what the node gives it. `pod`: as `given`."""
    for container in (*filter(pods.is_sidecar, pods.init_containers(pod)), *pods.containers(pod)):
        found = pods.in_sandbox(seen, container["name"])
        if found is None or found.phase is not ContainerPhase.RUNNING:
            continue
        if resizing(container, found, memory) or unsettled(found, memory):
            return True
    return False


def unsettled(found: Container, memory: Memory) -> bool:
    """Whether it is not known what the container has: an agent was killed while it gave it other resources."""
    return memory.unsettled and found.id not in memory.applied


def told(what: str, pod: Obj, generation: int, why: str = "") -> str:
    """The words of an event about a resize, with all resources, as kubelet writes them."""
    summary: Obj = {}
    for kind in ("initContainers", "containers"):
        if pod["spec"].get(kind):
            summary[kind] = [{"name": c["name"], "resources": c.get("resources") or {}} for c in pod["spec"][kind]]
    summary["generation"] = generation
    if why:
        summary["error"] = why
    pending = what in ("Deferred", "Infeasible")
    return f"Pod resize {what if pending else what.lower()}: {json.dumps(summary, separators=(',', ':'))}"


def restarting(container: Obj) -> set[str]:
    """The resources whose change asks for a restart, by `resizePolicy`."""
    policies = container.get("resizePolicy") or ()
    return {entry["resourceName"] for entry in policies if entry.get("restartPolicy") == "RestartContainer"}
