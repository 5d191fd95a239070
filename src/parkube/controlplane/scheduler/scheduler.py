"""The scheduler: gives every pending pod a node, and tells why when it cannot.

    pending --fits somewhere--> assumed --bound--> (the agent's)
       ^  \\--fits nowhere--> unschedulable --something changed, or 60 s--> pending
       +-------binding failed (back-off)----+

One task decides, pod by pod; bindings are written by many at once. Only pods that name `default-scheduler` are ours.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Protocol

from parkube.controlplane.scheduler.affinity import Between
from parkube.controlplane.scheduler.candidates import Candidates
from parkube.controlplane.scheduler.cluster import Cluster, NodeState
from parkube.controlplane.scheduler.rules import AFFINITY, reasons, room_score, static_score, unavailable
from parkube.controlplane.scheduler.volumes import Claims, Verdict
from parkube.controlplane.scheduler.volumes import Shared as Storage
from parkube.kubeapi.client import GVR, NODES, PODS, Client
from parkube.kubeapi.compact import NodeInfo, PodInfo, PodShape
from parkube.kubeapi.errors import ApiError, Conflict, NotFound, Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.objects import rfc3339
from parkube.kubeapi.recorder import Recorder, Reference

log = logging.getLogger(__name__)
NAME = "default-scheduler"
_SHAPES, _BINDING, _BATCH = 128, 50, 32
_GATHER_S, _RETRY_S, _FLUSH_S, _TELL_AGAIN_S = 0.2, 1.0, 60.0, 60.0
_PLACED = "PodScheduled"


class Shared(Storage, Protocol):
    """The informers that the scheduler shares with the controllers."""

    @property
    def pods(self) -> Informer[PodInfo]: ...

    @property
    def nodes(self) -> Informer[NodeInfo]: ...


class Scheduler:
    """`clock` is wall time, s since 1970; `random` breaks ties."""

    name: ClassVar[str] = "scheduler"
    inputs: ClassVar[tuple[GVR, ...]] = (PODS, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS,)

    def __init__(
        self, client: Client, shared: Shared, *, clock: Callable[[], float], recorder: Recorder,
        random: Callable[[], float] = randomness.random,
    ) -> None:  # fmt: skip
        self._client, self._pods, self._clock = client, shared.pods, clock
        self._nodes, self._recorder, self._random = shared.nodes, recorder, random
        self.cluster = Cluster()
        self._shapes: OrderedDict[int, Candidates] = OrderedDict()  # by id of the shape, which they keep alive
        self._queue: deque[str] = deque()
        self._queued: set[str] = set()
        self._unschedulable: dict[str, tuple[str, float]] = {}  # key -> what was told, and when
        self._apart: set[str] = set()  # placed pods with terms about other pods
        self._wake = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None
        self._bindings: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(_BINDING)
        self._claims, self._shared = Claims(client, shared), shared
        shared.nodes.subscribe(self._node_changed)
        for view in (shared.claims, shared.volumes, shared.classes):
            view.subscribe(lambda *_: self._again())
        shared.pods.subscribe(self._pod_changed)

    # -- what happens

    def _node_changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if new is None:
            self.cluster.drop_node(key)
            return
        if old is not None and _placement(old) == _placement(new):
            return
        self.cluster.set_node(new)
        self._again()

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        if new is None:
            self._unschedulable.pop(key, None)
            self._queued.discard(key)
            self._apart.discard(key)
            if self.cluster.remove(key):
                self._again()
            return
        if new.node or new.finished:
            self._unschedulable.pop(key, None)
            if self.cluster.see(new):
                self._again()
            if new.shape.pod_terms and new.node and not new.finished:
                self._apart.add(key)
            else:
                self._apart.discard(key)
        elif _ours(new) and not self.cluster.node_of(key) and (old is None or old.shape is not new.shape):
            self._add(key)

    def _add(self, key: str) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._queue.append(key)
            self._wake.set()

    def _again(self) -> None:
        """Something may have made room: look at what did not fit, a moment later."""
        if self._unschedulable and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(_GATHER_S, self._requeue)

    def _requeue(self) -> None:
        self._retry = None
        for key in self._unschedulable:
            self._add(key)

    # -- the loop

    async def run(self) -> None:
        """Schedule until cancelled."""
        await self._pods.synced()
        await self._nodes.synced()
        for view in (self._shared.claims, self._shared.volumes, self._shared.classes):
            await view.synced()
        flusher = asyncio.create_task(self._flush())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    for _ in range(min(_BATCH, len(self._queue))):
                        self._try(self._queue.popleft())
                    await asyncio.sleep(0)
        finally:
            flusher.cancel()
            for task in self._bindings:
                task.cancel()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            self._requeue()

    def _try(self, key: str) -> None:
        """One pod that cannot be understood must not keep the others waiting."""
        try:
            self._schedule(key)
        except Exception:
            log.exception("scheduling pod %s failed, trying again", key)
            self.cluster.remove(key)
            asyncio.get_running_loop().call_later(_FLUSH_S, self._add, key)

    def _schedule(self, key: str) -> None:
        if key not in self._queued:
            return
        self._queued.discard(key)
        pod = self._pods.get(key)
        if pod is None or pod.node or not _ours(pod) or self.cluster.node_of(key):
            return
        self._hand_out_changes()
        state, against = self._find(pod)
        if state is None:
            self._task(self._tell(pod, unavailable(len(self.cluster), against)))
            return
        self.cluster.place(key, state.info.name, pod.shape)
        self._task(self._bind(pod, state.info.name))

    def _find(self, pod: PodInfo) -> tuple[NodeState | None, dict[str, int]]:
        """The node to take, or the reasons against every node."""
        verdict = self._claims.verdict(pod, (p for _, p in self._pods.items() if p.node)) if pod.claims else None
        if verdict is not None and verdict.unready:
            return None, {verdict.unready: len(self.cluster)}
        if pod.pin:
            return self._pinned(pod, verdict)
        if pod.shape.pod_terms or self._apart or verdict is not None:
            return self._among_pods(pod, verdict)
        candidates = self._candidates(pod.shape)
        state = candidates.best()
        return state, {} if state is not None else candidates.against()

    def _pinned(self, pod: PodInfo, verdict: Verdict | None) -> tuple[NodeState | None, dict[str, int]]:
        """A pod that only one node may take, as those of DaemonSets."""
        state = self.cluster.get(pod.pin)
        others = len(self.cluster) - (state is not None)
        against = {AFFINITY: others} if others else {}
        if state is None:
            return None, against
        why = reasons(pod.shape, state)
        if not why and verdict is not None:
            why = [w for w in (verdict.reason(state.info),) if w]
        return (None, {**against, **{w: against.get(w, 0) + 1 for w in why}}) if why else (state, {})

    def _among_pods(self, pod: PodInfo, verdict: Verdict | None) -> tuple[NodeState | None, dict[str, int]]:
        """The slow path: every node, with the rules between pods."""
        placed = []
        for key, other in self._pods.items():
            state = self.cluster.get(self.cluster.node_of(key))
            if state is not None and not other.finished:
                placed.append((other, state.info))
        between = Between(pod, placed)
        best: tuple[float, float, NodeState] | None = None
        against: dict[str, int] = {}
        for state in self.cluster.states():
            rules = (between,) if verdict is None else (between, verdict)
            why = reasons(pod.shape, state) or [w for rule in rules if (w := rule.reason(state.info))]
            for reason in why:
                against[reason] = against.get(reason, 0) + 1
            if not why:
                rank = (static_score(pod.shape, state.info) + room_score(pod.shape, state), self._random())
                if best is None or rank > best[:2]:
                    best = (*rank, state)
        return (best[2], {}) if best is not None else (None, against)

    def _candidates(self, shape: PodShape) -> Candidates:
        found = self._shapes.get(id(shape))
        if found is None:
            found = self._shapes[id(shape)] = Candidates(shape, self.cluster, self._random)
            if len(self._shapes) > _SHAPES:
                self._shapes.popitem(last=False)
        self._shapes.move_to_end(id(shape))
        return found

    def _hand_out_changes(self) -> None:
        """Tell every shape's candidates which nodes changed since the last pod."""
        changed = self.cluster.changed
        if not changed:
            return
        for candidates in self._shapes.values():
            stale = candidates.stale
            for name, whole in changed.items():
                stale[name] = whole or stale.get(name, False)
        changed.clear()

    # -- what is written

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._bindings.add(task)
        task.add_done_callback(self._bindings.discard)

    async def _bind(self, pod: PodInfo, node: str) -> None:
        binding: Obj = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }  # fmt: skip
        about = Reference("v1", "Pod", pod.namespace, pod.name, pod.uid)
        try:
            if pod.claims and (state := self.cluster.get(node)) is not None:
                await self._claims.settle(pod, state.info)
            async with self._gate:
                await self._client.create(PODS, binding, pod.namespace, name=pod.name, subresource="binding")
        except (NotFound, Conflict):
            self.cluster.remove(pod.key)  # gone, or bound by another: its own events say which
            seen = self._pods.get(pod.key)
            if seen is not None:
                self.cluster.see(seen)
                self._later(pod.key)
        except (ApiError, OSError) as error:
            self.cluster.remove(pod.key)
            self._recorder.warning(about, "FailedScheduling", f"binding rejected: {error}")
            self._later(pod.key)
        else:
            self._unschedulable.pop(pod.key, None)
            self._recorder.normal(about, "Scheduled", f"Successfully assigned {pod.key} to {node}")

    def _later(self, key: str) -> None:
        asyncio.get_running_loop().call_later(_RETRY_S, self._add, key)

    async def _tell(self, pod: PodInfo, why: str) -> None:
        """Say why a pod stays pending: an event, and its condition PodScheduled."""
        now = self._clock()
        told = self._unschedulable.get(pod.key)
        if told is not None and told[0] == why and now - told[1] < _TELL_AGAIN_S:
            return
        self._unschedulable[pod.key] = (why, now)
        self._recorder.warning(Reference("v1", "Pod", pod.namespace, pod.name, pod.uid), "FailedScheduling", why)
        if told is not None and told[0] == why:
            return
        try:
            async with self._gate:
                await self._write_condition(pod, why, now)
        except (ApiError, OSError) as error:
            log.debug("cannot note on pod %s why it is pending: %s", pod.key, error)

    async def _write_condition(self, pod: PodInfo, why: str, now: float) -> None:
        obj = await self._client.get(PODS, pod.name, pod.namespace)
        status = obj.get("status") or {}
        old: Obj = next((c for c in status.get("conditions") or () if c.get("type") == _PLACED), {})
        since = old.get("lastTransitionTime") if old.get("status") == "False" else rfc3339(now)
        fresh = {
            "type": _PLACED, "status": "False", "reason": "Unschedulable", "message": why, "lastProbeTime": None,
            "lastTransitionTime": since,
        }  # fmt: skip
        conditions = [*(c for c in status.get("conditions") or () if c.get("type") != _PLACED), fresh]
        new = {**obj, "status": {**status, "conditions": conditions}}
        await self._client.update(PODS, new, subresource="status")


def _ours(pod: PodInfo) -> bool:
    return pod.shape.scheduler == NAME and not pod.shape.gated and not pod.deleting and not pod.finished


def _placement(node: NodeInfo) -> tuple[object, ...]:
    """What of a node matters to placement."""
    return (node.uid, node.labels, node.taints, node.unschedulable, node.allocatable)
