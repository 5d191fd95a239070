"""The node lifecycle controller: sweeps over what was heard of nodes, and writes only when something changed.

600 lease renewals a second each cost one dictionary write here; the rest is a sweep every five seconds.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.nodes.health import (
    Budget,
    Pace,
    Times,
    evicting,
    pace,
    silent,
    unknown_conditions,
    wanted_taints,
)
from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.runner import Env, Reconciler, in_flight, loop_time
from parkube.controlplane.controllers.views import LEASE_NAMESPACE
from parkube.kubeapi.client import GVR, LEASES, NODES, PODS
from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Conflict, NotFound, Obj
from parkube.kubeapi.objects import rfc3339, split_key
from parkube.kubeapi.recorder import Reference

_NEW_S = 60.0


class NodeLifecycle(Reconciler):
    """Marks silent nodes Unknown and keeps the taints that follow from nodes' conditions."""

    name: ClassVar[str] = "node-lifecycle"
    inputs: ClassVar[tuple[GVR, ...]] = (NODES, LEASES, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (NODES, PODS)
    workers: ClassVar[int] = 8
    source: ClassVar[str] = "node-controller"

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._options = options
        self._times: dict[str, Times] = {}
        self._budget = Budget()
        self._pace: tuple[float, Pace] | None = None  # and when it was worked out
        self._told: set[str] = set()  # nodes whose pods were marked not ready
        env.views.leases.subscribe(self._renewed)
        env.views.nodes.subscribe(self._node_changed)

    def _renewed(self, kind: str, key: str, old: str | None, new: str | None) -> None:
        if new is not None:
            self._times[key[len(LEASE_NAMESPACE) + 1 :]] = Times(loop_time(), True)

    def _node_changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if new is None:
            self._times.pop(key, None)
            self._told.discard(key)
            self.queue.add(key)
            return
        if old is None:
            self._times.setdefault(key, Times(loop_time(), False))
            if self.clock() - new.created < _NEW_S:  # else thousands of old nodes would be told of at every start
                text = f"Node {key} event: Registered Node {key} in Controller"
                self.recorder.normal(Reference("v1", "Node", "", key, key), "RegisteredNode", text)
        elif (old.ready, old.conditions) != (new.ready, new.conditions) and new.ready == "True":
            seen = self._times.get(key)
            self._times[key] = Times(loop_time(), seen.reported if seen else False)
        self.queue.add(key)

    async def run(self) -> None:
        """Until cancelled."""
        await self.views.synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.queue.run(self._reconcile, self.workers))
            group.create_task(self._sweep_for_ever())

    async def _sweep_for_ever(self) -> None:
        while True:
            before = loop_time()
            await asyncio.sleep(self._options.monitor_period)
            late = loop_time() - before - self._options.monitor_period
            if late > self._options.monitor_grace / 2:
                self._forgive()
            self.sweep()

    def _forgive(self) -> None:
        """This process itself stood still: the leases it did not see prove nothing."""
        now = loop_time()
        for name, times in self._times.items():
            self._times[name] = times._replace(seen=now)

    def sweep(self) -> None:
        """Queue every node that fell silent, and those that still wait for their NoExecute taint."""
        now, options = loop_time(), self._options
        disrupted = self._current_pace().disrupted
        for name, node in self.views.nodes.items():
            times = self._times.get(name)
            if times is None:
                self._times[name] = Times(now, False)
            elif (node.ready != "Unknown" and silent(times, now, options.monitor_grace, options.startup_grace)) or (
                node.ready != "True" and evicting(node) == disrupted
            ):
                self.queue.add(name)

    def _current_pace(self) -> Pace:
        now = loop_time()
        if self._pace is None or now - self._pace[0] >= 1.0:
            self._pace = (now, pace((node for _, node in self.views.nodes.items()), self._options.eviction_rate))
        return self._pace[1]

    async def reconcile(self, key: str) -> float | None:
        """One node: its conditions, its taints, its pods."""
        info = self.views.nodes.get(key)
        if info is None:
            await self._forget(key)
            return None
        times = self._times.get(key)
        if (
            times is not None
            and info.ready != "Unknown"
            and silent(times, loop_time(), self._options.monitor_grace, self._options.startup_grace)
        ):
            await self._mark_unknown(key)
            return None  # the change comes back as an event
        await self._taint(info)
        if info.ready == "True":
            self._told.discard(key)
        elif info.ready and key not in self._told:
            self._told.add(key)
            await self._pods_not_ready(key)
        return None

    async def _mark_unknown(self, name: str) -> None:
        node = await self.client.get(NODES, name)
        conditions = unknown_conditions(node, rfc3339(self.clock()))
        status = {**(node.get("status") or {}), "conditions": conditions}
        await self.client.update(NODES, {**node, "status": status}, subresource="status")
        about = Reference("v1", "Node", "", name, name)
        self.recorder.normal(about, "NodeNotReady", f"Node {name} status is now: NodeNotReady")

    async def _taint(self, info: NodeInfo) -> None:
        now = rfc3339(self.clock())
        speed, allowed = self._current_pace(), False
        if info.ready != "True" and not evicting(info):
            allowed = self._budget.take(loop_time(), speed.rate)
        elif info.ready != "True":
            allowed = True  # it is evicting already: the key may change from not-ready to unreachable
        want = wanted_taints(info, no_execute=allowed, now=now, disrupted=speed.disrupted)
        if want == info.taints:
            return
        node = await self.client.get(NODES, info.name)
        spec = {**(node.get("spec") or {}), "taints": [taint.object() for taint in want]}
        if not want:
            del spec["taints"]
        current = (node.get("spec") or {}).get("taints") or []
        if [(t.get("key"), t.get("value") or "", t.get("effect")) for t in current] != [t[:3] for t in info.taints]:
            raise Conflict("the node's taints changed since they were read")
        await self.client.update(NODES, {**node, "spec": spec})

    async def _pods_not_ready(self, name: str) -> None:
        pods = [p for p in self.views.index.on_node(name) if p.ready]
        for pod in pods:
            about = Reference("v1", "Pod", pod.namespace, pod.name, pod.uid)
            self.recorder.warning(about, "NodeNotReady", "Node is not ready")
        await in_flight([partial(self._pod_not_ready, pod) for pod in pods])

    async def _pod_not_ready(self, pod: PodInfo) -> None:
        try:
            obj: Obj = await self.client.get(PODS, pod.name, pod.namespace)
            status = obj.get("status") or {}
            conditions = [dict(c) for c in status.get("conditions") or ()]
            for condition in conditions:
                if condition.get("type") == "Ready" and condition.get("status") == "True":
                    condition.update(status="False", lastTransitionTime=rfc3339(self.clock()))
                    fresh = {**obj, "status": {**status, "conditions": conditions}}
                    await self.client.update(PODS, fresh, subresource="status")
        except NotFound:
            return

    async def _forget(self, name: str) -> None:
        """The node is gone: so is its lease."""
        self._times.pop(name, None)
        _, lease = split_key(name)
        await self.client.delete(LEASES, lease, LEASE_NAMESPACE)
