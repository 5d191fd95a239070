"""`kubectl get pods`: READY, STATUS, RESTARTS as kubectl's users know them.

STATUS follows the printer of Kubernetes: the phase, unless a container, an init container or deletion says more.
"""

from __future__ import annotations

from typing import NamedTuple

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column, seconds_of, since
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


class Summary(NamedTuple):
    """What the first columns show."""

    ready: int
    containers: int
    status: str
    restarts: int
    last_restart: str  # RFC 3339, or empty


def summary(pod: Obj) -> Summary:
    """Read a pod's state off its status."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    containers = spec.get("containers") or ()
    reason = status.get("reason") or status.get("phase") or "Unknown"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    initializing, init_reason = _initializing(spec, status.get("initContainerStatuses") or ())
    statuses = status.get("containerStatuses") or ()
    restarts = sum(one.get("restartCount") or 0 for one in statuses)
    ready = sum(bool(one.get("ready") and (one.get("state") or {}).get("running") is not None) for one in statuses)
    if initializing:
        reason = init_reason
        restarts = sum(one.get("restartCount") or 0 for one in status.get("initContainerStatuses") or ())
        statuses_for_time = status.get("initContainerStatuses") or ()
    else:
        reason = _reason(reason, statuses, status)
        statuses_for_time = statuses
    if (pod.get("metadata") or {}).get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return Summary(ready, len(containers), reason, restarts, _last_restart(statuses_for_time))


def _initializing(spec: Obj, statuses: list[Obj] | tuple[()]) -> tuple[bool, str]:
    names = {one.get("name"): one for one in spec.get("initContainers") or ()}
    for index, one in enumerate(statuses):
        state = one.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting")
        sidecar = (names.get(one.get("name")) or {}).get("restartPolicy") == "Always"
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if sidecar and one.get("started"):
            continue
        if terminated is not None:
            return True, "Init:" + _ended(terminated)
        if waiting and waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return True, "Init:" + str(waiting["reason"])
        return True, f"Init:{index}/{len(names)}"
    return False, ""


def _ended(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _reason(reason: str, statuses: list[Obj] | tuple[()], status: Obj) -> str:
    running = False
    for one in reversed(list(statuses)):
        state = one.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting and waiting.get("reason"):
            reason = str(waiting["reason"])
        elif terminated is not None:
            reason = _ended(terminated)
        elif one.get("ready") and state.get("running") is not None:
            running = True
    if reason == "Completed" and running:
        ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
        return "Running" if ready else "NotReady"
    return reason


def _last_restart(statuses: list[Obj] | tuple[()]) -> str:
    times = [((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for one in statuses]
    return max((t for t in times if t), key=lambda t: seconds_of(t) or 0.0, default="")


def _ready(pod: Obj) -> str:
    seen = summary(pod)
    return f"{seen.ready}/{seen.containers}"


def _restarts(pod: Obj) -> str:
    seen = summary(pod)
    return (
        f"{seen.restarts} ({since(seen.last_restart)} ago)"
        if seen.restarts and seen.last_restart
        else str(seen.restarts)
    )


def _ip(pod: Obj) -> str:
    return str((pod.get("status") or {}).get("podIP") or "<none>")


def _gates(pod: Obj) -> str:
    gates = (pod.get("spec") or {}).get("readinessGates") or ()
    if not gates:
        return "<none>"
    states = {c.get("type"): c.get("status") for c in (pod.get("status") or {}).get("conditions") or ()}
    return f"{sum(states.get(gate.get('conditionType')) == 'True' for gate in gates)}/{len(gates)}"


POD_COLUMNS: tuple[Column, ...] = (
    NAME,
    column("Ready", _ready),
    column("Status", lambda pod: summary(pod).status),
    column("Restarts", _restarts),
    AGE,
    column("IP", _ip, wide=True),
    column("Node", at("spec", "nodeName", default="<none>"), wide=True),
    column("Nominated Node", at("status", "nominatedNodeName", default="<none>"), wide=True),
    column("Readiness Gates", _gates, wide=True),
)
