"""The pod's state machine: from what is wanted and what was seen to what is to be done. Pure; all transitions are here.

wanted ──> volumes ──> sandbox ──> init containers, one by one ──> containers
                          ^                                           │
                          │ sandbox died: a new one, init runs again  │ exit, failed probe, other image
                          └───────────────────────────────────────────┤
                                                                      v
                                 by restart policy: again after the back-off, or never
                                                                      │ all done for good
deletion asked for, rejected ────────────────────────────────────────>┤
                                                                      v
                   kill containers (preStop, TERM, grace, KILL) ──> stop sandbox ──> Finish
"""

from __future__ import annotations

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.actions import (
    Action,
    BackOffPull,
    Decision,
    EnsureImage,
    Finish,
    KillContainer,
    PrepareVolumes,
    RemoveContainer,
    RemoveSandbox,
    ResizeContainer,
    RunSandbox,
    StartContainer,
    StopSandbox,
)
from parkube.nodeagent.plan.backoff import due, seeded
from parkube.nodeagent.plan.memory import Memory, PullState
from parkube.nodeagent.plan.model import Container, ContainerPhase, PodObserved
from parkube.nodeagent.plan.resize import resizing, restarting, unsettled

_ALIVE = (ContainerPhase.RUNNING, ContainerPhase.UNKNOWN)


def decide(pod: Obj, seen: PodObserved | None, memory: Memory, now: float) -> Decision:
    """What to do for this pod now."""
    decision = Decision()
    if pods.is_terminating(pod) or memory.rejected or pods.is_terminal(pod) or finished(pod, seen, memory):
        _stop(pod, seen, memory, decision)
        return decision
    if not memory.volumes_ready:
        decision.actions.append(PrepareVolumes())
        return decision
    sandbox = seen.sandbox if seen else None
    if seen is None or sandbox is None or not sandbox.ready:
        _renew_sandbox(pod, seen, memory, now, decision)
        return decision
    for old in seen.sandboxes:
        if old.id != sandbox.id:
            decision.actions += [StopSandbox(old.id), RemoveSandbox(old.id)]
    if _init(pod, seen, memory, now, decision):
        for container in pods.containers(pod):
            _keep(pod, container, seen, memory, now, decision)
    for container in pods.ephemeral_containers(pod):  # once, whatever becomes of it
        name = container["name"]
        if seen.latest(name) is None and not pods.status_of(memory.status, name).get("containerID"):
            _start(container, seen, memory, now, decision, init=False)
    decision.actions += _doubles(pod, seen)
    decision.actions += _garbage(seen)
    return decision


def finished(pod: Obj, seen: PodObserved | None, memory: Memory) -> bool:
    """Every container has ended and none will be started again; or an init container failed for good."""
    for container in pods.init_containers(pod):
        code = exit_code(seen, memory.status, container["name"], init=True)
        if code and not pods.is_sidecar(container) and not pods.restarts(pod, container, code, init=True):
            return True
    ends = [(c, exit_code(seen, memory.status, c["name"])) for c in pods.containers(pod)]
    return bool(ends) and all(code is not None and not pods.restarts(pod, c, code) for c, code in ends)


def exit_code(seen: PodObserved | None, status: Obj, name: str, init: bool = False) -> int | None:
    """How the newest container of that name ended, by the runtime or, where it forgot, by the last status."""
    latest = seen.latest(name) if seen else None
    if latest is not None:
        return latest.exit_code if latest.phase is ContainerPhase.EXITED else None
    terminated = pods.status_of(status, name, init).get("state", {}).get("terminated")
    return int(terminated.get("exitCode", 0)) if terminated and terminated.get("containerID") else None


def initialized(pod: Obj, seen: PodObserved | None, memory: Memory) -> bool:
    """Whether the main containers may start: each init container ended well, each sidecar has started."""
    for container in pods.init_containers(pod):
        found = pods.in_sandbox(seen, container["name"])
        if pods.is_sidecar(container):
            if found is None or found.phase is not ContainerPhase.RUNNING or not _started(found, memory):
                return False
        elif found is None or found.phase is not ContainerPhase.EXITED or found.exit_code != 0:
            return False
    return True


def _started(container: Container, memory: Memory) -> bool:
    view = memory.probes.get(container.id)
    return view is None or view.started


def _renew_sandbox(pod: Obj, seen: PodObserved | None, memory: Memory, now: float, decision: Decision) -> None:
    for old in seen.sandboxes if seen else ():
        decision.actions.append(StopSandbox(old.id))
    if not due(memory.sandbox_retry_at, now):
        decision.wake(memory.sandbox_retry_at)
        return
    first = pods.init_containers(pod)[:1] or pods.containers(pod)
    for container in first:  # images come while the sandbox is made
        _ready_image(container, memory, now, decision)
    decision.actions.append(RunSandbox(max((s.attempt for s in seen.sandboxes), default=-1) + 1 if seen else 0))


def _init(pod: Obj, seen: PodObserved, memory: Memory, now: float, decision: Decision) -> bool:
    """Bring the init containers on; True when the main ones may run. Once those ran, init is over for good."""
    sidecars = [c for c in pods.init_containers(pod) if pods.is_sidecar(c)]
    if any(pods.in_sandbox(seen, c["name"]) for c in pods.containers(pod)):
        for container in sidecars:
            _keep(pod, container, seen, memory, now, decision, init=True)
        return True
    for container in pods.init_containers(pod):
        found = pods.in_sandbox(seen, container["name"])
        if pods.is_sidecar(container):
            _keep(pod, container, seen, memory, now, decision, init=True)
            if found is None or found.phase is not ContainerPhase.RUNNING or not _started(found, memory):
                return False
        elif found is None or found.phase is not ContainerPhase.EXITED or found.exit_code != 0:
            _keep(pod, container, seen, memory, now, decision, init=True)
            return False
    return True


def _keep(
    pod: Obj, container: Obj, seen: PodObserved, memory: Memory, now: float, decision: Decision, init: bool = False
) -> None:
    """Start, restart or kill one container as its state asks for."""
    name = container["name"]
    found = pods.in_sandbox(seen, name)
    if found is None:
        _start(container, seen, memory, now, decision, init)
    elif found.phase is ContainerPhase.RUNNING:
        message = _why_kill(container, found, memory)
        if message:
            grace = _probe_grace(pod, container, found, memory)
            decision.actions.append(KillContainer(name, found.id, grace, message))
        elif resizing(container, found, memory) or unsettled(found, memory):
            if due(memory.resize_retry_at, now):
                decision.actions.append(ResizeContainer(name, found.id))
            else:
                decision.wake(memory.resize_retry_at)
    elif found.phase is ContainerPhase.UNKNOWN:
        decision.actions.append(
            KillContainer(name, found.id, 2, f"Container {name} is in unknown state, try killing it")
        )
    elif found.phase is ContainerPhase.CREATED:
        # Its start is not known to have come to anything, and may yet: only once it is gone is there another one.
        decision.actions.append(RemoveContainer(found.id))
    elif pods.restarts(pod, container, found.exit_code, init=init):
        backoff = memory.backoffs.get(name) or seeded(found.attempt, found.started_at, found.finished_at)
        until = backoff.until(found.finished_at or found.created_at, now)
        if now < until:
            decision.wake(until)
        else:
            _start(container, seen, memory, now, decision, init)


def _why_kill(container: Obj, found: Container, memory: Memory) -> str:
    name = container["name"]
    if found.spec_hash and found.spec_hash != pods.spec_hash(container):
        return f"Container {name} definition changed, will be restarted"
    if resizing(container, found, memory) & restarting(container):
        return f"Container {name} resize requires restart"
    if found.id in memory.failed_hooks:
        return "FailedPostStartHook"
    view = memory.probes.get(found.id)
    if view is not None and not view.live:
        which = "liveness" if view.started else "startup"
        return f"Container {name} failed {which} probe, will be restarted"
    return ""


def _probe_grace(pod: Obj, container: Obj, found: Container, memory: Memory) -> float:
    view = memory.probes.get(found.id)
    if view is not None and not view.live:
        probe = container.get("livenessProbe" if view.started else "startupProbe") or {}
        if probe.get("terminationGracePeriodSeconds") is not None:
            return float(probe["terminationGracePeriodSeconds"])
    return pods.grace_seconds(pod)


def _start(container: Obj, seen: PodObserved, memory: Memory, now: float, decision: Decision, init: bool) -> None:
    name = container["name"]
    if any(c.name == name and c.phase in _ALIVE for c in seen.containers):
        return  # an older one, on its way out: see `_doubles`
    fault = memory.faults.get(name)
    if fault is not None and not due(fault.until, now):
        decision.wake(fault.until)
        return
    image_id = _ready_image(container, memory, now, decision)
    if image_id:
        attempt = pods.next_attempt(seen, memory.status, name, init)
        decision.actions.append(StartContainer(name, attempt, image_id, init))


def _ready_image(container: Obj, memory: Memory, now: float, decision: Decision) -> str:
    """The id of the image when it is there; otherwise see to it that it comes."""
    pull = memory.pulls.get(container["name"])
    if pull is None or (pull.state is PullState.FAILED and due(pull.retry_at, now)):
        decision.actions.append(EnsureImage(container["name"]))
    elif pull.state is PullState.FAILED:
        decision.wake(pull.retry_at)
        if pull.back_off_at and due(pull.back_off_at, now):
            decision.actions.append(BackOffPull(container["name"]))
        elif pull.back_off_at:
            decision.wake(pull.back_off_at)
    elif pull.state is PullState.PRESENT:
        return pull.image_id
    return ""


def _doubles(pod: Obj, seen: PodObserved) -> list[Action]:
    """Of each name one container at most runs, the newest: an older one was started by an agent that was killed before
    it knew of it."""
    newest = {name: seen.latest(name) for name in {c.name for c in seen.containers}}
    found: list[Action] = []
    for old in seen.containers:
        last = newest[old.name]
        if old.phase in _ALIVE and last is not None and last.id != old.id and last.phase is not ContainerPhase.CREATED:
            message = f"Container {old.name} runs twice, the older one is stopped"
            found.append(KillContainer(old.name, old.id, pods.grace_seconds(pod), message))
    return found


def _garbage(seen: PodObserved) -> list[Action]:
    """All but the newest two of each container: the last dead one is kept for `logs --previous`."""
    by_name: dict[str, list[Container]] = {}
    for container in seen.containers:
        by_name.setdefault(container.name, []).append(container)
    return [
        RemoveContainer(old.id)
        for found in by_name.values()
        for old in sorted(found, key=lambda c: (c.attempt, c.created_at))[:-2]
        if old.phase not in _ALIVE
    ]


def _stop(pod: Obj, seen: PodObserved | None, memory: Memory, decision: Decision) -> None:
    """Main containers first, then sidecars in reverse, then the sandbox."""
    running = {c.name: c for c in seen.containers if c.phase in _ALIVE} if seen else {}
    sidecars = [c["name"] for c in reversed(pods.init_containers(pod)) if c["name"] in running]
    main = [name for name in running if name not in sidecars]
    grace = pods.grace_seconds(pod) if memory.grace_s is None else min(memory.grace_s, pods.grace_seconds(pod))
    for name in main or sidecars[:1]:
        decision.actions.append(KillContainer(name, running[name].id, grace, f"Stopping container {name}"))
    if running:
        return
    if not memory.stopped:
        decision.actions += [StopSandbox(s.id) for s in seen.sandboxes] if seen else []
        decision.actions.append(Finish())
    elif pods.is_terminating(pod):
        decision.actions.append(Finish())
