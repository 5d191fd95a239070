"""One pod's loop: look, decide, act, write the status; again when something happened or the plan's time has come.

wake ──> decide ──> status ──> actions ──> (look again, decide again)
  ^                                │ none
  └──── event, probe, timer <──────┘          gone from the API and from the runtime: the worker ends
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import actions as act
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.admission import refusal, resize_refusal
from parkube.nodeagent.plan.decide import decide
from parkube.nodeagent.plan.memory import Memory, ProbeView
from parkube.nodeagent.plan.model import Container, ContainerPhase, PodObserved
from parkube.nodeagent.plan.resize import accept, given, in_progress, pending, remember, told
from parkube.nodeagent.plan.status import crash_looping, pod_status, unix_seconds
from parkube.nodeagent.probes.prober import Prober
from parkube.nodeagent.runtime.port import RuntimeFault
from parkube.nodeagent.sync.desired import Desired
from parkube.nodeagent.sync.executor import Executor
from parkube.nodeagent.sync.last_words import end_of_log, fill

log = logging.getLogger(__name__)
_FAULT_RETRY_S = 2.0
_EVICTION_GRACE_S = 1.0  # where there is no time for a pod's own
_RESIZE_RETRY_S = 5.0  # others may have gone meanwhile
_LONGEST_PAUSE_S = 600.0  # the clock may be set back meanwhile


class Board(Protocol):
    """What a worker needs of the manager."""

    def seen(self, uid: str) -> PodObserved | None: ...

    async def look(self) -> None: ...

    def others(self, uid: str) -> list[Obj]:
        """The other pods that the node has taken, with the resources that they have."""
        ...

    def publish(self, desired: Desired, status: Obj) -> None: ...

    def confirm_deleted(self, desired: Desired, status: Obj) -> None: ...

    def ended(self, uid: str) -> None: ...

    def changed(self) -> None: ...


class Worker:
    """Runs as one task. `update` and `wake` may be called at any time."""

    def __init__(
        self, desired: Desired, executor: Executor, prober: Prober, board: Board, clock: Callable[[], float]
    ) -> None:
        self._executor, self._prober, self._board, self._clock = executor, prober, board, clock
        self._wake = asyncio.Event()
        self._kills: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._pulls: dict[str, asyncio.Task[None]] = {}
        self._refresh_at = 0.0
        self._stale_volumes = False
        self.gone = False  # no longer in the API
        self.desired = desired
        self.wanted = self.pod = desired.pod()  # as the API has it; with the resources that the node gives it
        self.memory = Memory(unix_seconds(self.pod["status"].get("startTime")) or clock(), status=self.pod["status"])
        self.status: Obj = self.pod["status"]  # what the API holds already is not written again
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._wake.set()
        self.task = asyncio.create_task(self._run(), name=f"pod {self.desired.namespace}/{self.desired.name}")

    def wake(self) -> None:
        """Something happened: look again."""
        self._wake.set()

    def update(self, desired: Desired) -> None:
        """The pod was changed in the API."""
        if desired.body != self.desired.body:
            self._stale_volumes = True  # labels may lie in a downwardAPI volume
            self._try_again()  # or an annotation in what made a container impossible
        self.desired = desired
        status = self.status
        self.wanted = desired.pod()
        self.pod = given(self.wanted, self.memory)
        ready = next((c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"), desired.ready)
        if desired.ready != ready:
            self.status = {}  # somebody else wrote it: say it again
        self.wake()

    def volumes_changed(self) -> None:
        """A ConfigMap or Secret of this pod has changed."""
        self._stale_volumes = True
        self._try_again()
        self.wake()

    def _try_again(self) -> None:
        for name, fault in list(self.memory.faults.items()):
            if fault.reason == "CreateContainerConfigError":  # what was missing may be there now
                del self.memory.faults[name]

    def remove(self) -> None:
        """The pod is gone from the API: end it."""
        self.gone = True
        meta = self.pod["metadata"]
        meta.setdefault("deletionTimestamp", meta.get("creationTimestamp") or "1970-01-01T00:00:00Z")
        self.wake()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wake_at = await self._round()
            except (RuntimeFault, TimeoutError, OSError) as fault:
                log.warning("pod %s/%s: %s", self.desired.namespace, self.desired.name, fault)
                wake_at = self._clock() + _FAULT_RETRY_S
                with contextlib.suppress(RuntimeFault, TimeoutError, OSError):
                    await self._board.look()  # what it failed on may have changed meanwhile
            except Exception:
                log.exception("pod %s/%s", self.desired.namespace, self.desired.name)
                wake_at = self._clock() + 10 * _FAULT_RETRY_S
            if self.gone and self.memory.stopped and not self._kills and self._board.seen(self.desired.uid) is None:
                self._board.ended(self.desired.uid)
                return
            await self._pause(wake_at)

    async def _pause(self, wake_at: float) -> None:
        if self._refresh_at:
            wake_at = min(wake_at or self._refresh_at, self._refresh_at)
        if not wake_at:
            await self._wake.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(0.0, wake_at - self._clock()), _LONGEST_PAUSE_S)):
                await self._wake.wait()

    async def _round(self) -> float:
        """Decide and act until there is nothing to do but wait; when to come again."""
        for _ in range(20):  # a bound, so that a mistake cannot spin
            seen = self._board.seen(self.desired.uid)
            self._watch_probes(seen)
            await self._refresh_volumes(seen)
            self._admit(seen)
            moments = [self._check_deadline(), self._judge_resize(seen)]
            decision = decide(self.pod, seen, self.memory, self._clock())
            for moment in filter(None, moments):
                decision.wake(moment)
            self._publish(seen)
            todo = [a for a in decision.actions if not self._under_way(a)]
            if not todo:
                return decision.wake_at
            looked = False
            for action in todo:
                looked = await self._perform(action, self._board.seen(self.desired.uid)) or looked
            if looked:
                await self._board.look()
            elif not self.memory.volumes_ready or not any(isinstance(a, act.PrepareVolumes) for a in todo):
                return decision.wake_at  # what goes on in the background wakes us itself
        return self._clock() + _FAULT_RETRY_S

    def _admit(self, seen: PodObserved | None) -> None:
        """Once, before anything of it is made: a pod that this node cannot take is rejected."""
        memory = self.memory
        if memory.admitted or memory.rejected:
            return
        over = pods.is_terminating(self.pod) or pods.is_terminal(self.pod)
        if seen is None and not memory.status.get("startTime") and not over:
            node = self._executor.node
            why = refusal(self.pod, self._board.others(self.desired.uid), node.allocatable, node.pressures)
            if why is not None:
                memory.rejected = (why[0], f"Pod was rejected: {why[1]}")
                self._executor.tell(self.pod, "Warning", *why, "")
                return
        memory.admitted = True
        remember(self.wanted, memory)

    def _judge_resize(self, seen: PodObserved | None) -> float:
        """Whether the pod may have the other resources that it asks for, and has them; when to ask again."""
        memory, generation = self.memory, int(self.wanted["metadata"].get("generation") or 0)
        if not memory.admitted or pods.is_terminating(self.pod) or memory.stopped:
            return 0.0
        why = None
        if pending(self.wanted, memory):
            why = resize_refusal(self.wanted, self._board.others(self.desired.uid), self._executor.node.allocatable)
            if why is None:
                accept(self.wanted, memory)
                self.pod = given(self.wanted, memory)
                self._tell_resize("Normal", "Started", self.wanted, memory.resize_generation)
        if why is not None and (why[0], generation) != memory.resize_told:
            memory.resize_told = (why[0], generation)
            self._tell_resize("Warning", why[0], self.wanted, generation, why[1])
        memory.resize_hold = why
        if memory.resize_generation and not in_progress(self.pod, seen, memory):
            self._tell_resize("Normal", "Completed", self.pod, memory.resize_generation)
            memory.resize_generation, memory.resize_fault, memory.unsettled = 0, "", False
        return self._clock() + _RESIZE_RETRY_S if why is not None and why[0] == "Deferred" else 0.0

    def _tell_resize(self, kind: str, what: str, pod: Obj, generation: int, why: str = "") -> None:
        self._executor.tell(self.pod, kind, f"Resize{what}", told(what, pod, generation, why), "")

    def evict(self, message: str) -> None:
        """The node needs the room: end it for good, quickly."""
        if not self.memory.rejected:
            self.memory.rejected, self.memory.grace_s = ("Evicted", message), _EVICTION_GRACE_S
            self._executor.tell(self.pod, "Warning", "Evicted", message, "")
            self.wake()

    def allocated(self) -> Obj:
        """The pod with the resources that the node gives it."""
        return self.pod

    def _check_deadline(self) -> float:
        """When `activeDeadlineSeconds` will be over; a pod that outlived it is rejected from now on."""
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None or self.memory.rejected or self.memory.stopped:
            return 0.0
        deadline = self.memory.start_time + float(seconds)
        if self._clock() < deadline:
            return deadline
        message = "Pod was active on the node longer than the specified deadline"
        self.memory.rejected = ("DeadlineExceeded", message)
        self._executor.tell(self.pod, "Normal", "DeadlineExceeded", message, "")
        return 0.0

    def _under_way(self, action: act.Action) -> bool:
        if isinstance(action, act.KillContainer):
            known = self._kills.get(action.container_id)
            return known is not None and known[0] <= action.grace_s
        if isinstance(action, act.EnsureImage):
            return action.container in self._pulls
        return False

    async def _perform(self, action: act.Action, seen: PodObserved | None) -> bool:
        """True when the runtime should be looked at again."""
        runtime = self._executor.runtime
        match action:
            case act.PrepareVolumes():
                self._refresh_at = await self._executor.prepare(self.pod, seen, self.memory)
                return False
            case act.EnsureImage(container):
                self._pull(container)
                return False
            case act.BackOffPull(container):
                self._executor.back_off(self.pod, container, self.memory)
            case act.RunSandbox():
                if seen is not None and seen.sandboxes:
                    words = "Pod sandbox changed, it will be killed and re-created."
                    self._executor.tell(self.pod, "Normal", "SandboxChanged", words, "")
                await self._executor.run_sandbox(self.pod, action, self.memory)
            case act.StartContainer():
                if seen is not None:
                    await self._executor.start(self.pod, action, seen, self.memory)
            case act.KillContainer():
                self._kill(action, seen)
                return False
            case act.ResizeContainer():
                await self._executor.resize(self.pod, action, self.memory)
            case act.RemoveContainer(container_id):
                self.memory.applied.pop(container_id, None)
                self.memory.failed_hooks.discard(container_id)
                await runtime.remove_container(container_id)
            case act.StopSandbox(sandbox_id):
                await runtime.stop_sandbox(sandbox_id)
            case act.RemoveSandbox(sandbox_id):
                await runtime.remove_sandbox(sandbox_id)
            case act.Finish():
                return await self._finish(seen)
        return True

    def _pull(self, name: str) -> None:
        container = next(c for c in pods.all_containers(self.pod) if c["name"] == name)
        task = asyncio.create_task(self._executor.ensure_image(self.pod, container, self.memory))
        self._pulls[name] = task

        def done(_: asyncio.Task[None]) -> None:
            self._pulls.pop(name, None)
            self.wake()

        task.add_done_callback(done)

    def _kill(self, action: act.KillContainer, seen: PodObserved | None) -> None:
        before = self._kills.get(action.container_id)
        if before is not None:  # a shorter grace was asked for meanwhile
            before[1].cancel()
            action = act.KillContainer(
                action.container, action.container_id, action.grace_s, action.message, prestop=False
            )

        async def kill() -> None:
            await self._executor.kill(self.pod, action, seen)
            await self._board.look()

        task = asyncio.create_task(kill())
        self._kills[action.container_id] = (action.grace_s, task)

        def done(_: asyncio.Task[None]) -> None:
            if self._kills.get(action.container_id, (0, None))[1] is task:
                del self._kills[action.container_id]
            self.wake()

        task.add_done_callback(done)

    async def _finish(self, seen: PodObserved | None) -> bool:
        self.memory.stopped = True
        self._publish(seen)
        if not self.gone:
            if pods.is_terminating(self.pod):
                self._board.confirm_deleted(self.desired, self.status)
            return False
        if seen is not None:
            await self._executor.remove(seen)
        return True

    async def _refresh_volumes(self, seen: PodObserved | None) -> None:
        time_has_come = bool(self._refresh_at) and self._clock() >= self._refresh_at
        if self.memory.volumes_ready and not self.memory.stopped and (time_has_come or self._stale_volumes):
            self._stale_volumes = False
            self._refresh_at = await self._executor.prepare(self.pod, seen, self.memory)

    # Status and probes

    def _publish(self, seen: PodObserved | None) -> None:
        status = pod_status(self.pod, seen, self.memory, self._clock(), self._executor.node.host_ips)
        fill(status, self.memory.status, self._read_last_words(seen))
        if status == self.status:
            return
        for name in sorted(crash_looping(status) - crash_looping(self.status)):
            words = f"Back-off restarting failed container {name[0]} in pod {pods.full_name(self.pod)}"
            self._executor.tell(self.pod, "Warning", "BackOff", words, name[0])
        self.status = self.memory.status = status
        self._board.changed()
        if not self.gone:
            self._board.publish(self.desired, status)

    def _read_last_words(self, seen: PodObserved | None) -> Callable[[str, Obj], str]:
        def read(name: str, terminated: Obj) -> str:
            words = self._executor.volumes.termination_message(self.desired.uid, name)
            spec = next((c for c in pods.all_containers(self.pod) if c["name"] == name), {})
            latest = seen.latest(name) if seen else None
            fallback = spec.get("terminationMessagePolicy") == "FallbackToLogsOnError" and terminated["exitCode"] != 0
            return end_of_log(Path(latest.log_path)) if not words and fallback and latest else words

        return read

    def _watch_probes(self, seen: PodObserved | None) -> None:
        """Every running container is asked, every other one is forgotten."""
        running = {c.id: c for c in seen.containers if c.phase is ContainerPhase.RUNNING} if seen else {}
        by_name = {c["name"]: c for c in pods.all_containers(self.pod)}
        stopping = pods.is_terminating(self.pod)
        for container_id in list(self.memory.probes):
            if container_id not in running:
                self._prober.forget(container_id)
                del self.memory.probes[container_id]
        for container in running.values():
            spec = by_name.get(container.name)
            if spec is None or stopping or container.id in self.memory.probes:
                continue
            view = self._prober.watch(
                container.id, spec, self._executor.target(self.pod, spec, container.id, seen), container.started_at,
                self._known_view(container, spec), self.wake, self._unhealthy(container.name),
            )  # fmt: skip
            if view is not None:
                self.memory.probes[container.id] = view

    def _known_view(self, container: Container, spec: Obj) -> ProbeView | None:
        """What the last status said of this very container: an agent that comes back makes nothing unready."""
        for entry in self.memory.status.get("containerStatuses") or ():
            if entry.get("containerID") == f"containerd://{container.id}" and entry.get("started"):
                return ProbeView(started=True, ready=bool(entry.get("ready")))
        return None

    def _unhealthy(self, name: str) -> Callable[[str, str], None]:
        return lambda reason, message: self._executor.tell(self.pod, "Warning", reason, message, name)

    async def close(self) -> None:
        """Stop looking; the containers run on."""
        tasks = [self.task, *(t for _, t in self._kills.values()), *self._pulls.values()]
        for task in tasks:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
