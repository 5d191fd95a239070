"""The scheduler: gives every pending pod a node, and tells why when it cannot.

    pending --fits somewhere--> assumed --bound--> (the agent's)
       ^  \\--fits nowhere--> parked --something that helps, or 60 s--> pending
       |            \\--lower priorities in the way--> nominated, victims deleted --> parked
       +-------binding failed (back-off)----+

One task decides, pod by pod; bindings are written by many at once. Only pods that name `default-scheduler` are ours.
"""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, ClassVar, Protocol

from parkube.controlplane.scheduler.affinity import Between
from parkube.controlplane.scheduler.candidates import Candidates
from parkube.controlplane.scheduler.cluster import Cluster, NodeState
from parkube.controlplane.scheduler.hints import helps
from parkube.controlplane.scheduler.neighbours import Neighbours, best_of
from parkube.controlplane.scheduler.preemption import Budget, Victims, least, victims_on
from parkube.controlplane.scheduler.queue import Happened, PodQueue
from parkube.controlplane.scheduler.rules import AFFINITY, reasons, static_reason, unavailable
from parkube.controlplane.scheduler.spread import Spread
from parkube.controlplane.scheduler.volumes import Claims, Verdict
from parkube.controlplane.scheduler.volumes import Shared as Storage
from parkube.controlplane.scheduler.writes import Writes, about
from parkube.kubeapi.client import GVR, NODES, PODS, Client
from parkube.kubeapi.compact import Labels, NodeInfo, PodInfo, PodShape
from parkube.kubeapi.errors import ApiError, Conflict, NotFound
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.recorder import Recorder

log = logging.getLogger(__name__)
NAME = "default-scheduler"
_SHAPES, _BINDING, _BATCH, _LEAST_OFFERS = 128, 50, 32, 100
_GATHER_S, _RETRY_S, _FLUSH_S, _TELL_AGAIN_S = 0.2, 1.0, 60.0, 60.0


class Namespace(Protocol):
    """What the scheduler reads of a namespace."""

    @property
    def labels(self) -> Labels: ...


class Shared(Storage, Protocol):
    """The informers that the scheduler shares with the controllers."""

    @property
    def pods(self) -> Informer[PodInfo]: ...

    @property
    def nodes(self) -> Informer[NodeInfo]: ...

    @property
    def namespaces(self) -> Informer[Any]: ...

    @property
    def budgets(self) -> Informer[Any]: ...


class Scheduler:
    """`clock` is wall time, s since 1970; `random` breaks ties."""

    name: ClassVar[str] = "scheduler"
    inputs: ClassVar[tuple[GVR, ...]] = (PODS, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS,)

    def __init__(
        self, client: Client, shared: Shared, *, clock: Callable[[], float], recorder: Recorder,
        random: Callable[[], float] = randomness.random,
    ) -> None:  # fmt: skip
        self._pods, self._nodes, self._shared, self._clock = shared.pods, shared.nodes, shared, clock
        self._recorder, self._random = recorder, random
        self._writes = Writes(client, recorder, clock)
        self.cluster = Cluster()
        self._shapes: OrderedDict[int, Candidates] = OrderedDict()  # by id of the shape, which they keep alive
        self._queue = PodQueue()
        self._told: dict[str, tuple[str, float]] = {}  # key -> why it is pending, and when that was said
        self._social: set[str] = set()  # placed pods with terms about other pods
        self._wake = asyncio.Event()
        self._happened: set[Happened] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Semaphore(_BINDING)
        self._claims = Claims(client, shared)
        shared.nodes.subscribe(self._node_changed)
        for view in (shared.claims, shared.volumes, shared.classes):
            view.subscribe(lambda *_: self._again(Happened.VOLUME))
        shared.pods.subscribe(self._pod_changed)
        shared.namespaces.subscribe(self._namespace_changed)

    # -- what happens

    def _node_changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if new is None:
            self.cluster.drop_node(key)
            return
        if old is not None and _placement(old) == _placement(new):
            return
        self.cluster.set_node(new)
        self._again(Happened.NODE)

    def _namespace_changed(self, kind: str, key: str, old: Namespace | None, new: Namespace | None) -> None:
        if old is not None and new is not None and old.labels is not new.labels:
            self._again(Happened.NAMESPACE)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        if new is None or new.node or new.finished:
            self._forget(key)
            if new is None or not new.node or new.finished or not new.shape.pod_terms:
                self._social.discard(key)
            else:
                self._social.add(key)
        if new is None:
            if self.cluster.remove(key):
                self._again(Happened.ROOM)
        elif new.node or new.finished:
            if self.cluster.see(new):
                self._again(Happened.ROOM)
            if old is None or _seen_by_others(old) != _seen_by_others(new):
                self._again(Happened.NEIGHBOUR)
        elif _ours(new) and not self.cluster.node_of(key):
            self._pending(key, old, new)

    def _pending(self, key: str, old: PodInfo | None, new: PodInfo) -> None:
        before = old.nominated if old is not None else ""
        if new.nominated != before:
            self.cluster.nominate(key, new.nominated, new.shape)
        if old is None or old.shape is not new.shape or old.labels is not new.labels:
            self._add(key)

    def _forget(self, key: str) -> None:
        self._told.pop(key, None)
        self._queue.forget(key)
        self.cluster.nominate(key, "", None)

    def _add(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is not None:
            self._queue.add(key, pod.shape.priority)
            self._wake.set()

    def _again(self, happened: Happened) -> None:
        """Something may have helped: look at what did not fit, a moment later."""
        if self._queue.idle:
            return
        self._happened.add(happened)
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(_GATHER_S, self._requeue)

    def _requeue(self) -> None:
        self._retry = None
        now = self._now()
        again = self._queue.wake(self._happened, now)
        self._happened.clear()
        if again is not None:
            self._retry = asyncio.get_running_loop().call_later(max(0.01, again - now), self._requeue)
        self._wake.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    # -- the loop

    async def run(self) -> None:
        """Schedule until cancelled."""
        shared = self._shared
        views = (shared.pods, shared.nodes, shared.namespaces, shared.budgets)
        for view in (*views, shared.claims, shared.volumes, shared.classes):
            await view.synced()
        flusher = asyncio.create_task(self._flush())
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while len(self._queue):
                    for _ in range(min(_BATCH, len(self._queue))):
                        self._try(self._queue.pop())
                    await asyncio.sleep(0)
        finally:
            flusher.cancel()
            for task in self._tasks:
                task.cancel()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            self._queue.flush()
            self._wake.set()

    def _try(self, key: str) -> None:
        """One pod that cannot be understood must not keep the others waiting."""
        try:
            self._schedule(key)
        except Exception:
            log.exception("scheduling pod %s failed, trying again", key)
            self.cluster.remove(key)
            asyncio.get_running_loop().call_later(_FLUSH_S, self._add, key)

    def _schedule(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.node or not _ours(pod) or self.cluster.node_of(key):
            return
        nominated = self.cluster.nominee(key)
        self.cluster.nominate(key, "", None)  # its own room is not taken
        self._hand_out_changes()
        neighbours = self._neighbours(pod)
        state, against = self._find(pod, nominated, neighbours)
        if state is None:
            self._preempt_or_wait(pod, nominated, neighbours, against)
            return
        self.cluster.place(key, state.info.name, pod.shape)
        if pod.shape.pod_terms:
            self._social.add(key)
        self._task(self._bind(pod, state.info.name))

    # -- where to

    def _neighbours(self, pod: PodInfo) -> Neighbours | None:
        """The rules between this pod and others; None where there are none."""
        own = bool(pod.shape.pod_terms or pod.shape.spread)
        if not own and not self._social:
            return None
        placed = self._placed(key for key, _ in self._pods.items()) if own else self._placed(self._social)
        between = Between(pod, placed, self._labels_of)
        if not own and between.idle:
            return None
        nodes = (state.info for state in self.cluster.states())
        return Neighbours(between, Spread(pod, nodes, placed) if pod.shape.spread else None)

    def _placed(self, keys: Iterable[str]) -> list[tuple[PodInfo, NodeInfo]]:
        found = []
        for key in keys:
            state, pod = self.cluster.get(self.cluster.node_of(key)), self._pods.get(key)
            if state is not None and pod is not None and not pod.finished:
                found.append((pod, state.info))
        return found

    def _labels_of(self, namespace: str) -> Labels:
        found: Namespace | None = self._shared.namespaces.get(namespace)
        return found.labels if found is not None else Labels()

    def _find(
        self, pod: PodInfo, nominated: str, neighbours: Neighbours | None
    ) -> tuple[NodeState | None, dict[str, int]]:
        """The node to take, or the reasons against every node."""

        verdict = self._verdict(pod)
        if verdict is not None and verdict.unready:
            return None, {verdict.unready: len(self.cluster)}
        rules = [rule for rule in (verdict, neighbours) if rule is not None]

        def why(state: NodeState) -> list[str]:
            return reasons(pod.shape, state) or [w for rule in rules if (w := rule.reason(state.info))][:1]

        cleared = self.cluster.get(nominated)
        if cleared is not None and not pod.pin and not why(cleared):
            return cleared, {}
        if pod.pin:
            return self._pinned(pod, why)
        if not rules:
            candidates = self._candidates(pod.shape)
            state = candidates.best()
            return state, {} if state is not None else candidates.against()
        against: dict[str, int] = {}
        fitting: list[NodeState] = []
        for state in self.cluster.states():
            found = why(state)
            for reason in found:
                against[reason] = against.get(reason, 0) + 1
            if not found:
                fitting.append(state)
        return best_of(pod.shape, fitting, neighbours, self._random), against

    def _verdict(self, pod: PodInfo) -> Verdict | None:
        return self._claims.verdict(pod, (p for _, p in self._pods.items() if p.node)) if pod.claims else None

    def _pinned(self, pod: PodInfo, why: Callable[[NodeState], list[str]]) -> tuple[NodeState | None, dict[str, int]]:
        """A pod that only one node may take, as those of DaemonSets."""
        state = self.cluster.get(pod.pin)
        others = len(self.cluster) - (state is not None)
        against = {AFFINITY: others} if others else {}
        if state is None:
            return None, against
        found = why(state)
        return (None, {**against, **{w: against.get(w, 0) + 1 for w in found}}) if found else (state, {})

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

    # -- when nothing fits

    def _cannot(self, pod: PodInfo, against: dict[str, int]) -> None:
        self._queue.park(pod.key, pod.shape.priority, helps(against), self._now())
        self._task(self._tell(pod, unavailable(len(self.cluster), against)))

    def _preempt_or_wait(
        self, pod: PodInfo, nominated: str, neighbours: Neighbours | None, against: dict[str, int]
    ) -> None:  # fmt: skip
        self._cannot(pod, against)
        priority = pod.shape.priority
        if nominated and self._leaving(nominated, priority):
            self.cluster.nominate(pod.key, nominated, pod.shape)  # they are on their way out
            return
        victims = self._victims(pod, neighbours) if pod.shape.preempts and self.cluster.has_below(priority) else None
        if victims is not None:
            self.cluster.nominate(pod.key, victims.node, pod.shape)
            self._task(self._make_room(pod, victims))
        elif nominated or pod.nominated:
            self._task(self._writes.nominate(pod, ""))

    def _leaving(self, node: str, priority: int) -> bool:
        state = self.cluster.get(node)
        pods = (self._pods.get(key) for key in (state.keys if state is not None else ()))
        return any(p is not None and p.deleting and p.shape.priority < priority for p in pods)

    def _victims(self, pod: PodInfo, neighbours: Neighbours | None) -> Victims | None:
        """Whose going would let the pod stand somewhere; a tenth of a large cluster is looked at."""
        verdict = self._verdict(pod)
        if verdict is not None and verdict.unready:
            return None
        rules = neighbours or Neighbours(Between(pod, (), self._labels_of), None)
        budgets: list[Budget] = [budget for _, budget in self._shared.budgets.items()]
        enough, offers = max(_LEAST_OFFERS, len(self.cluster) // 10), []
        pinned = self.cluster.get(pod.pin) if pod.pin else None
        for state in self.cluster.states() if not pod.pin else [pinned] if pinned is not None else []:
            if static_reason(pod.shape, state.info) or (verdict is not None and verdict.reason(state.info)):
                continue
            there = [p for key in state.keys if (p := self._pods.get(key)) is not None and p.node]
            offer = victims_on(pod, state, there, rules, budgets)
            if offer is not None and offer.pods:
                offers.append(offer)
                if len(offers) >= enough:
                    break
        return least(offers)

    async def _make_room(self, pod: PodInfo, victims: Victims) -> None:
        """Note who gets the node, and send away who is in the way; others that waited for it look elsewhere."""
        await self._writes.nominate(pod, victims.node)
        state = self.cluster.get(victims.node)
        for key, shape in list(state.nominated.items()) if state is not None else ():
            other = self._pods.get(key)
            if shape.priority < pod.shape.priority and other is not None:
                self.cluster.nominate(key, "", None)
                await self._writes.nominate(other, "")
        if not await self._writes.send_away(victims, pod):
            self._later(pod.key)

    # -- what is written

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bind(self, pod: PodInfo, node: str) -> None:
        try:
            if pod.claims and (state := self.cluster.get(node)) is not None:
                await self._claims.settle(pod, state.info)
            async with self._gate:
                await self._writes.bind(pod, node)
        except (NotFound, Conflict):
            self.cluster.remove(pod.key)  # gone, or bound by another: its own events say which
            seen = self._pods.get(pod.key)
            if seen is not None:
                self.cluster.see(seen)
                self._later(pod.key)
        except (ApiError, OSError) as error:  # a TimeoutError is an OSError
            self.cluster.remove(pod.key)
            self._recorder.warning(about(pod), "FailedScheduling", f"binding rejected: {error}")
            self._later(pod.key)
        else:
            self._told.pop(pod.key, None)
            self._recorder.normal(about(pod), "Scheduled", f"Successfully assigned {pod.key} to {node}")

    def _later(self, key: str) -> None:
        asyncio.get_running_loop().call_later(_RETRY_S, self._add, key)

    async def _tell(self, pod: PodInfo, why: str) -> None:
        """Say why a pod stays pending: an event, and its condition PodScheduled."""
        now = self._clock()
        told = self._told.get(pod.key)
        if told is not None and told[0] == why and now - told[1] < _TELL_AGAIN_S:
            return
        self._told[pod.key] = (why, now)
        self._recorder.warning(about(pod), "FailedScheduling", why)
        if told is not None and told[0] == why:
            return
        async with self._gate:
            await self._writes.note_pending(pod, why)


def _ours(pod: PodInfo) -> bool:
    return pod.shape.scheduler == NAME and not pod.shape.gated and not pod.deleting and not pod.finished


def _placement(node: NodeInfo) -> tuple[object, ...]:
    """What of a node matters to placement."""
    return (node.uid, node.labels, node.taints, node.unschedulable, node.allocatable)


def _seen_by_others(pod: PodInfo) -> tuple[object, ...]:
    """What of a pod the rules between pods look at."""
    return (pod.node, pod.labels, bool(pod.deleting))
