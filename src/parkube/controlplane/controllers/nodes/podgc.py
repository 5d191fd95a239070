"""Pods that nobody will end: those of lost nodes, those deleted before they were bound, and old finished ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.pods import note_disruption
from parkube.controlplane.controllers.runner import Env, in_flight, loop_time
from parkube.kubeapi.client import GVR, NODES, PODS
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.disruption import BY_POD_GC, disruption_target
from parkube.kubeapi.errors import ApiError, NotFound
from parkube.kubeapi.objects import rfc3339

log = logging.getLogger(__name__)
_QUARANTINE_S = 40.0


def unbound(pods: Iterable[PodInfo]) -> list[PodInfo]:
    """Pods that were deleted while no node had them."""
    return [p for p in pods if p.deleting and not p.node and not p.finalizers]


def surplus(pods: Iterable[PodInfo], kept: int) -> list[PodInfo]:
    """The oldest finished pods beyond `kept`."""
    finished = sorted((p for p in pods if p.finished and not p.deleting), key=lambda p: (p.created, p.name))
    return finished[: max(0, len(finished) - kept)]


class PodGc:
    """Looks every 20 s."""

    name: ClassVar[str] = "pod-gc"
    inputs: ClassVar[tuple[GVR, ...]] = (PODS, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS,)

    def __init__(self, env: Env, options: Options) -> None:
        self._env, self._options = env, options
        self._missing: dict[str, float] = {}  # node -> when it was first missed

    async def run(self) -> None:
        """Until cancelled."""
        await self._env.views.synced()
        while True:
            await asyncio.sleep(self._options.pod_gc_period)
            try:
                await self.collect()
            except (ApiError, OSError) as error:
                log.warning("pod garbage collection failed, trying again: %s", error)

    async def collect(self) -> None:
        """One round."""
        views = self._env.views
        everyone = [pod for _, pod in views.pods.items()]
        lost = [pod for node in await self._gone() for pod in views.index.on_node(node)]
        await in_flight([partial(self._give_up, pod) for pod in lost])
        drops = [*unbound(everyone), *surplus(everyone, self._options.finished_pods_kept)]
        await in_flight([partial(self._delete, pod) for pod in drops])

    async def _gone(self) -> list[str]:
        """Nodes that pods are bound to and that have been missing for 40 s, by the API's own word."""
        views, now = self._env.views, loop_time()
        missing = {name for name in views.index.nodes() if views.nodes.get(name) is None}
        self._missing = {name: self._missing.get(name, now) for name in missing}
        gone = []
        for name, since in self._missing.items():
            if now - since < _QUARANTINE_S:
                continue
            try:
                await self._env.client.get(NODES, name)
            except NotFound:
                gone.append(name)
        return gone

    async def _give_up(self, pod: PodInfo) -> None:
        """The pod went with its node: whoever counts failures may read why."""
        if not pod.finished:
            now = rfc3339(self._env.clock())
            condition = disruption_target(BY_POD_GC, "PodGC: node no longer exists", now)
            await note_disruption(self._env.client, pod, condition, phase="Failed")
        await self._delete(pod)

    async def _delete(self, pod: PodInfo) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
        try:
            await self._env.client.delete(PODS, pod.name, pod.namespace, options=options)
        except NotFound:
            return
