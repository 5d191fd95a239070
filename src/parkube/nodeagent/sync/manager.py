"""The pods of a node: desired ones come in, each gets its worker, and the runtime is looked at for all of them at once.

Desired pods come from the API, and before that from the checkpoint; strangers in the runtime are ended, once the API
has said what it wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from parkube.kubeapi.client import PODS, Client
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.recorder import Recorder, Reference
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.plan.model import PodObserved
from parkube.nodeagent.plan.names import log_directory
from parkube.nodeagent.plan.pods import is_terminal
from parkube.nodeagent.probes.prober import Prober
from parkube.nodeagent.runtime.port import Runtime, RuntimeFault
from parkube.nodeagent.sync.desired import Desired, restore
from parkube.nodeagent.sync.executor import Executor
from parkube.nodeagent.sync.static import StaticPods
from parkube.nodeagent.sync.statuses import Statuses
from parkube.nodeagent.sync.worker import Worker

log = logging.getLogger(__name__)
_PATIENCE_S = 2.0  # for the API at start, before the checkpoint speaks
RELIST_S = 20.0  # a look without a reason, should an event have been missed
_AFTER_EVENT_S = (0.03, 0.15, 0.5, 2.0)
_KIND = "pods"


class Pods:
    """All pods of the node. Implements the workers' `Board`."""

    def __init__(
        self, client: Client, node: str, runtime: Runtime, executor: Executor, prober: Prober, checkpoint: Checkpoint,
        recorder: Recorder, clock: Callable[[], float], logs_dir: Path, static: StaticPods,
    ) -> None:  # fmt: skip
        self._runtime, self._executor, self._prober, self._checkpoint = runtime, executor, prober, checkpoint
        self._recorder, self._clock, self._logs_dir = recorder, clock, logs_dir
        self.workers: dict[str, Worker] = {}
        self._static = static
        static.keep, static.drop, static.mirrored = self._want, self._unwanted, self._show_static
        self.statuses = Statuses(client)
        self.informer: Informer[Desired] = Informer(client, PODS, Desired, field_selector=f"spec.nodeName={node}")
        self._seen: dict[str, PodObserved] = {}
        self._looking: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._look_soon = asyncio.Event()
        self._fault = ""
        self._listeners: list[Callable[[], None]] = []
        self._ending: set[asyncio.Task[None]] = set()

    # The Board

    def seen(self, uid: str) -> PodObserved | None:
        """What the last look found of a pod."""
        return self._seen.get(uid)

    async def look(self) -> None:
        """List the runtime once, beginning after this call; all who call meanwhile share the next listing."""
        if self._looking is None:
            task = self._looking = asyncio.create_task(self._list(None))
        else:
            if self._next is None:
                self._next = asyncio.create_task(self._list(self._looking))
            task = self._next
        await asyncio.shield(task)

    async def _list(self, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
            self._looking, self._next = self._next, None
        try:
            found = {pod.uid: pod for pod in await self._runtime.pods() if pod.uid}
        finally:
            if self._looking is asyncio.current_task():
                self._looking = None
        before, self._seen = self._seen, found
        for uid in {*before, *found}:
            if before.get(uid) != found.get(uid):
                worker = self.workers.get(uid)
                if worker is not None:
                    worker.wake()
        self._end_strangers()

    def others(self, uid: str) -> list[Obj]:
        """The pods that the node has taken, without that one, with the resources that they have."""
        return [worker.allocated() for worker in self._active() if worker.desired.uid != uid]

    def running(self) -> list[Obj]:
        """The pods that the node has taken."""
        return [worker.pod for worker in self._active()]

    def _active(self) -> list[Worker]:
        return [
            worker
            for worker in self
            if not worker.gone and worker.memory.admitted and not worker.memory.stopped and not worker.memory.rejected
            and not is_terminal(worker.pod)
        ]  # fmt: skip

    def evict(self, uid: str, message: str) -> None:
        """End a pod because the node needs the room."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.evict(message)

    def publish(self, desired: Desired, status: Obj) -> None:
        """Have a status written."""
        uid = self._static.mirror_uid(desired)
        if uid:
            self.statuses.put(uid, desired.namespace, desired.name, status)

    def _show_static(self, uid: str) -> None:
        """A static pod has a mirror now: its status goes there."""
        worker = self.workers.get(uid)
        if worker is not None and worker.status:
            self.publish(worker.desired, worker.status)

    def confirm_deleted(self, desired: Desired, status: Obj) -> None:
        """The pod is stopped: its object may go."""
        self.statuses.put(desired.uid, desired.namespace, desired.name, status, delete=True)

    def changed(self) -> None:
        """A pod's status moved: tell those who look at all pods (the Services)."""
        for listener in self._listeners:
            listener()

    def ended(self, uid: str) -> None:
        """The pod is gone everywhere: clean up after it."""
        worker = self.workers.pop(uid, None)
        self.changed()
        if worker is not None:
            desired = worker.desired
            logs = log_directory(self._logs_dir, desired.namespace, desired.name, uid)
            self._spawn(self._clean(uid, logs))

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _clean(self, uid: str, logs: str) -> None:
        await self._executor.references.release(uid)
        self._executor.tokens.release(uid)
        self.statuses.forget(uid)
        self._checkpoint.delete(_KIND, uid)
        await self._executor.volumes.release(uid)
        await asyncio.to_thread(shutil.rmtree, logs, True)

    # In and out

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call when some pod's status moved or a pod went."""
        self._listeners.append(listener)

    def __iter__(self) -> Iterator[Worker]:
        return iter(tuple(self.workers.values()))

    def volumes_changed(self, uid: str) -> None:
        """A ConfigMap or Secret of that pod has changed."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.volumes_changed()

    def tell(self, pod: Obj, kind: str, reason: str, message: str, container: str) -> None:
        """Record an event about a pod or one of its containers."""
        about = Reference.of({**pod, "apiVersion": "v1", "kind": "Pod"})
        if container:
            about = about._replace(field_path=f"spec.containers{{{container}}}")
        (self._recorder.warning if kind == "Warning" else self._recorder.normal)(about, reason, message)

    def restore(self) -> int:
        """Start from the checkpoint; how many pods it held."""
        count = 0
        for uid, content in self._checkpoint.load(_KIND).items():
            try:
                desired = restore(content)
            except ValueError:
                log.error("the kept state of pod %s cannot be read", uid)
                continue
            self._want(desired)
            count += 1
        return count

    def _want(self, desired: Desired) -> None:
        worker = self.workers.get(desired.uid)
        if worker is not None:
            worker.update(desired)
            return
        worker = self.workers[desired.uid] = Worker(desired, self._executor, self._prober, self, self._clock)
        worker.start()

    def _on_pod(self, change: str, _key: str, old: Desired | None, new: Desired | None) -> None:
        if self._static.take_mirror(old, new):
            return
        if new is not None:
            if old is not None and old.uid != new.uid:
                self._unwanted(old.uid)
            self._checkpoint.put(_KIND, new.uid, new.kept())
            self._want(new)
        elif old is not None:
            self._unwanted(old.uid)

    def _unwanted(self, uid: str) -> None:
        self._checkpoint.delete(_KIND, uid)
        self.statuses.forget(uid)
        worker = self.workers.get(uid)
        if worker is not None:
            worker.remove()

    def _end_strangers(self) -> None:
        if not self.informer.has_synced:
            return
        wanted = {desired.uid for _, desired in self.informer.items()} | set(self._static.pods)
        for uid, worker in list(self.workers.items()):
            if uid not in wanted and not worker.gone:
                self._unwanted(uid)  # deleted while we were away
        for uid, pod in self._seen.items():
            if uid not in self.workers:
                log.info("ending pod %s/%s, which nobody wants", pod.namespace, pod.name)
                meta = {"uid": uid, "namespace": pod.namespace, "name": pod.name}
                self._want(Desired({"metadata": meta, "spec": {"containers": []}}))
                self.workers[uid].remove()

    # Running

    async def run(self) -> None:
        """Keep the pods until cancelled; the containers run on."""
        self._runtime.on_change(self._look_soon.set)
        with contextlib.suppress(RuntimeFault):
            await self.look()
        self._static.read()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.informer.run())
                with contextlib.suppress(TimeoutError):  # the API knows more than the disk, when it answers
                    async with asyncio.timeout(_PATIENCE_S):
                        await self.informer.synced()
                if not self.informer.has_synced:
                    log.warning("the server does not answer: %d pods start from what the disk holds", self.restore())
                self.informer.subscribe(self._on_pod)
                group.create_task(self.statuses.run())
                group.create_task(self._look_always())
                group.create_task(self._when_synced())
                group.create_task(self._static.run(lambda: self.informer.has_synced))
        finally:
            for worker in self:
                await worker.close()
            for task in tuple(self._ending):
                task.cancel()
            await asyncio.gather(*self._ending, return_exceptions=True)
            await self._prober.close()
            await self._executor.references.close()

    async def _when_synced(self) -> None:
        await self.informer.synced()
        self._end_strangers()
        for uid in self._executor.volumes.kept():  # left by an agent that was killed while it cleaned up
            if uid not in self.workers:
                self._spawn(self._executor.volumes.release(uid))
        for logs in self._logs_dir.glob("*_*_*"):
            if logs.name.rpartition("_")[2] not in self.workers:
                self._spawn(asyncio.to_thread(shutil.rmtree, logs, True))

    async def _look_always(self) -> None:
        """After an event: at once, and once more if nothing was to be seen yet; the runtime tells of an exit a moment
        before its own lists show it."""
        while True:
            try:
                async with asyncio.timeout(RELIST_S):
                    await self._look_soon.wait()
            except TimeoutError:
                delays: tuple[float, ...] = (0.0,)
            else:
                delays = _AFTER_EVENT_S
            self._look_soon.clear()
            for delay in delays:
                await asyncio.sleep(delay)
                before = self._seen
                try:
                    await self.look()
                    self._fault = ""
                except (RuntimeFault, TimeoutError, OSError) as fault:
                    if str(fault) != self._fault:  # said once, not at every attempt
                        log.warning("%s", fault)
                    self._fault = str(fault)
                    await asyncio.sleep(1)
                if before != self._seen:
                    break
