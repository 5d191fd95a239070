"""A pod's status from what was observed, in kubelet's words. Pure.

Sources: Kubernetes documentation, "Pod Lifecycle"; API reference, PodStatus.
"""

from __future__ import annotations

from datetime import UTC, datetime

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.backoff import seeded
from parkube.nodeagent.plan.decide import finished, initialized
from parkube.nodeagent.plan.memory import Memory, PullState
from parkube.nodeagent.plan.model import Container, ContainerPhase, PodObserved
from parkube.nodeagent.plan.resize import actual
from parkube.nodeagent.plan.resources import qos_class

_BLANK = "0001-01-01T00:00:00Z"


def rfc3339(at: float) -> str:
    """Unix seconds as the API writes times."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix_seconds(timestamp: str | None) -> float:
    """The other way; 0 where there is none or it cannot be read."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0
    except ValueError:
        return 0.0


def pod_status(pod: Obj, seen: PodObserved | None, memory: Memory, now: float, host_ips: tuple[str, ...]) -> Obj:
    """The whole `PodStatus`; transition times are kept from `memory.status` where nothing moved."""
    if pods.is_terminal(pod) and seen is None:
        return {**pod["status"], **_observed(pod)}
    ready_to_init = initialized(pod, seen, memory)
    init = [
        _container(pod, c, seen, memory, now, init=True, waiting="PodInitializing") for c in pods.init_containers(pod)
    ]
    main = [
        _container(pod, c, seen, memory, now, waiting="ContainerCreating" if ready_to_init else "PodInitializing")
        for c in pods.containers(pod)
    ]
    status: Obj = {**_observed(pod), "phase": _phase(pod, seen, init, main, memory)}
    status["conditions"] = _conditions(pod, seen, memory, status["phase"], init, main, now)
    status["startTime"] = memory.status.get("startTime") or rfc3339(memory.start_time)
    if memory.rejected:
        status["reason"], status["message"] = memory.rejected
    if host_ips:
        status["hostIP"], status["hostIPs"] = host_ips[0], [{"ip": ip} for ip in host_ips]
    ips = _ips(pod, seen, memory, host_ips)
    if ips:
        status["podIP"], status["podIPs"] = ips[0], [{"ip": ip} for ip in ips]
    if init:
        status["initContainerStatuses"] = init
    status["containerStatuses"] = main
    if pods.ephemeral_containers(pod):
        status["ephemeralContainerStatuses"] = [
            _container(pod, c, seen, memory, now, waiting="ContainerCreating") for c in pods.ephemeral_containers(pod)
        ]
    status["qosClass"] = qos_class(pod)
    return {key: value for key, value in status.items() if value != ""}


def _observed(pod: Obj) -> Obj:
    generation = pod["metadata"].get("generation")
    return {"observedGeneration": generation} if generation else {}


def _ips(pod: Obj, seen: PodObserved | None, memory: Memory, host_ips: tuple[str, ...]) -> tuple[str, ...]:
    sandbox = seen.sandbox if seen else None
    if sandbox is not None and sandbox.ready:
        return host_ips if pod["spec"].get("hostNetwork") else sandbox.ips
    return tuple(entry["ip"] for entry in memory.status.get("podIPs") or ())


def _container(
    pod: Obj, container: Obj, seen: PodObserved | None, memory: Memory, now: float, *, waiting: str, init: bool = False
) -> Obj:
    name = container["name"]
    before = pods.status_of(memory.status, name, init)
    latest = seen.latest(name) if seen else None
    if latest is None and before.get("containerID"):
        return _forgotten(before, waiting)
    status: Obj = {"name": name, "image": container.get("image", ""), "imageID": "", "restartCount": 0, "ready": False}
    status.update({"started": False, "state": {"waiting": _waiting(container, memory, waiting)}, "lastState": {}})
    if latest is None:
        return status
    status.update({
        "restartCount": latest.attempt, "imageID": latest.image_id, "containerID": f"containerd://{latest.id}",
    })  # fmt: skip
    has = actual(container, latest, memory)
    status["resources"] = {kind: has[kind] for kind in ("limits", "requests") if has.get(kind)}
    allocated: Obj = memory.allocated.get(name) or container.get("resources") or {}
    if allocated.get("requests"):
        status["allocatedResources"] = allocated["requests"]
    assert seen is not None
    earlier = [c for c in seen.containers if c.name == name and c.id != latest.id and c.finished_at]
    if earlier:
        status["lastState"] = {"terminated": _terminated(max(earlier, key=lambda c: c.attempt))}
    elif before.get("containerID") == status["containerID"] and before.get("lastState"):
        status["lastState"] = before["lastState"]
    if latest.phase is ContainerPhase.RUNNING:
        view = memory.probes.get(latest.id)
        started = view is None or view.started
        status["state"] = {"running": {"startedAt": rfc3339(latest.started_at)}}
        status["started"] = started
        lasting = not init or pods.is_sidecar(container)  # an init container is ready once it has ended well
        status["ready"] = lasting and started and (view is None or (view.ready and view.live))
    elif latest.phase is ContainerPhase.EXITED:
        _exited(pod, container, latest, seen, memory, now, status, init)
    return status


def _exited(
    pod: Obj, container: Obj, latest: Container, seen: PodObserved, memory: Memory, now: float, status: Obj, init: bool
) -> None:
    """Terminated, or waiting for its restart with the end in lastState."""
    terminated = {"terminated": _terminated(latest)}
    status["state"] = terminated
    if init and latest.exit_code == 0:
        status["ready"] = True
    if not pods.restarts(pod, container, latest.exit_code, init=init) or pods.is_terminating(pod) or memory.rejected:
        return
    name = container["name"]
    backoff = memory.backoffs.get(name) or seeded(latest.attempt, latest.started_at, latest.finished_at)
    if name in memory.faults or (name in memory.pulls and memory.pulls[name].state is PullState.FAILED):
        status["state"], status["lastState"] = {"waiting": _waiting(container, memory, "")}, terminated
    elif now < backoff.until(latest.finished_at, now):
        wait = _duration(backoff.delay)
        message = f"back-off {wait} restarting failed container={name} pod={pods.full_name(pod)}"
        status["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        status["lastState"] = terminated


def crash_looping(status: Obj) -> set[tuple[str, int]]:
    """The containers that wait for their restart, each with the number of its restarts."""
    return {
        (entry["name"], entry["restartCount"])
        for kind in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(kind) or ()
        if (entry.get("state", {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    }


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _forgotten(before: Obj, waiting: str) -> Obj:
    """The runtime no longer knows the container that the last status told of."""
    state = before.get("state") or {}
    if "running" in state:
        terminated = {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": state["running"].get("startedAt", _BLANK),
            "message": "The container could not be located when the pod was terminated",
            "finishedAt": _BLANK, "containerID": before["containerID"],
        }  # fmt: skip
        return {
            **before, "ready": False, "started": False, "state": {"waiting": {"reason": waiting}},
            "lastState": {"terminated": terminated},
        }  # fmt: skip
    return {**before, "ready": bool(before.get("ready")) and "terminated" in state}


def _waiting(container: Obj, memory: Memory, default: str) -> Obj:
    fault = memory.faults.get(container["name"])
    if fault is not None:
        return {"reason": fault.reason, "message": fault.message}
    pull = memory.pulls.get(container["name"])
    if pull is not None and pull.state is PullState.FAILED:
        return {"reason": pull.reason, "message": pull.message}
    return {"reason": default or "ContainerCreating"}


def _terminated(container: Container) -> Obj:
    reason = container.reason or ("Completed" if container.exit_code == 0 else "Error")
    return {
        "exitCode": container.exit_code, "reason": reason,
        "startedAt": rfc3339(container.started_at) if container.started_at else _BLANK,
        "finishedAt": rfc3339(container.finished_at) if container.finished_at else _BLANK,
        "containerID": f"containerd://{container.id}",
        **({"message": container.message} if container.message else {}),
    }  # fmt: skip


def _phase(pod: Obj, seen: PodObserved | None, init: list[Obj], main: list[Obj], memory: Memory) -> str:
    if pods.is_terminal(pod):
        return str(pod["status"]["phase"])
    if memory.rejected and not any("running" in s["state"] for s in [*init, *main]):
        return "Failed"
    ends = [s["state"].get("terminated") or s["lastState"].get("terminated") for s in main]
    alive = any("running" in s["state"] for s in main)
    if finished(pod, seen, memory) or (pods.is_terminating(pod) and main and all(ends) and not alive):
        ok = all(end and end["exitCode"] == 0 for end in ends)
        return "Succeeded" if ok else "Failed"
    if any("running" in s["state"] for s in main):
        waiting = any("waiting" in s["state"] and not s["lastState"] for s in main)
        return "Pending" if waiting else "Running"
    return "Running" if main and all(ends) else "Pending"


def _conditions(
    pod: Obj, seen: PodObserved | None, memory: Memory, phase: str, init: list[Obj], main: list[Obj], now: float
) -> list[Obj]:
    sandbox = seen.sandbox if seen else None
    over = phase in ("Succeeded", "Failed")
    unready = [s["name"] for s in main if not s["ready"]]
    sidecars = [s for c, s in zip(pods.init_containers(pod), init, strict=True) if pods.is_sidecar(c)]
    unready += [s["name"] for s in sidecars if not s["ready"]]
    if over:
        reason = "PodCompleted" if phase == "Succeeded" else "PodFailed"
        containers_ready = (False, reason, "")
    elif unready:
        containers_ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    else:
        containers_ready = (True, "", "")
    begun = any(s["state"].get("running") or s.get("lastState") or "terminated" in s["state"] for s in main)
    uninitialized = [
        s["name"] for c, s in zip(pods.init_containers(pod), init, strict=True)
        if not (s["started"] if pods.is_sidecar(c) else s["ready"])
    ]  # fmt: skip
    if begun or not uninitialized:
        init_condition = (True, "PodCompleted" if phase == "Succeeded" else "", "")
    else:
        message = f"containers with incomplete status: [{' '.join(uninitialized)}]"
        init_condition = (False, "ContainersNotInitialized", message)
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    known = {c["type"]: c for c in [*(pod.get("status", {}).get("conditions") or ())]}
    missing = [
        f'the status of pod readiness gate "{gate}" is not "True", but {known[gate].get("status")}' if gate in known
        else f'corresponding condition of pod readiness gate "{gate}" does not exist.'
        for gate in gates if known.get(gate, {}).get("status") != "True"
    ]  # fmt: skip
    ready = containers_ready
    if ready[0] and missing:
        ready = (False, "ReadinessGatesNotReady", ", ".join(missing))
    mine = {
        "PodReadyToStartContainers": (bool(sandbox and sandbox.ready), "", ""),
        "Initialized": init_condition,
        "Ready": ready,
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    for kind in ("PodResizePending", "PodResizeInProgress"):
        known.pop(kind, None)
    if memory.resize_hold:
        mine["PodResizePending"] = (True, *memory.resize_hold)
    if memory.resize_generation:
        mine["PodResizeInProgress"] = (True, "Error" if memory.resize_fault else "", memory.resize_fault)
    if memory.rejected and memory.rejected[0] == "Evicted" and memory.admitted:
        mine["DisruptionTarget"] = (True, "TerminationByKubelet", memory.rejected[1])
    before = {c["type"]: c for c in memory.status.get("conditions") or ()}
    conditions = [{**_condition(kind, *value, before.get(kind), now), **_observed(pod)} for kind, value in mine.items()]
    for condition in conditions:
        if condition["type"] == "PodResizeInProgress":
            condition["observedGeneration"] = memory.resize_generation
    return conditions + [c for kind, c in known.items() if kind not in mine]


def _condition(kind: str, ok: bool, reason: str, message: str, before: Obj | None, now: float) -> Obj:
    status = "True" if ok else "False"
    same = before is not None and before.get("status") == status
    at = before["lastTransitionTime"] if same and before and before.get("lastTransitionTime") else rfc3339(now)
    condition = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": at}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition
