"""Watches the node's memory and disk, says under which pressures it is, and evicts one pod at a time until it is not.

Under disk pressure images that no container uses go first. What is decided how, `plan.pressure` says.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.model import ContainerPhase, PodObserved, Usage
from parkube.nodeagent.plan.pods import all_containers
from parkube.nodeagent.plan.pressure import DISK, Conditions, Shortage, Signals, amount_of, reason, shortages, victim
from parkube.nodeagent.runtime.pause import PAUSE_IMAGE
from parkube.nodeagent.runtime.port import Runtime, RuntimeFault
from parkube.nodeagent.sync.node_facts import NodeState

log = logging.getLogger(__name__)
_PERIOD_S = 10.0


class Tenants(Protocol):
    """As much of the node's pods as this needs."""

    def running(self) -> Iterable[Obj]: ...

    def evict(self, uid: str, message: str) -> None: ...


def read_signals(folder: Path) -> Signals:
    """The node's memory, and the disk that `folder` is on."""
    available = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    disk = os.statvfs(folder)
    size = disk.f_frsize
    return Signals(available, disk.f_bavail * size, disk.f_blocks * size, disk.f_favail, disk.f_files)


class Evictor:
    """`changed` is called when the node's pressures have changed."""

    def __init__(
        self, runtime: Runtime, tenants: Tenants, node: NodeState, read: Callable[[], Signals],
        changed: Callable[[], None], clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._runtime, self._tenants, self._node, self._read = runtime, tenants, node, read
        self._changed, self._clock = changed, clock
        self._conditions = Conditions()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except (RuntimeFault, TimeoutError, OSError) as fault:
                log.warning("the node's pressure is not known: %s", fault)
            await asyncio.sleep(_PERIOD_S)

    async def look(self) -> None:
        """Once: update the pressures, and make room where there are any."""
        found = shortages(self._read())
        pressures = self._conditions.update(found, self._clock())
        if pressures != self._node.pressures:
            self._node.pressures = pressures
            self._changed()
        if found and found[0].condition == DISK and await self._drop_images():
            found = shortages(self._read())
        if found:
            await self._evict(found[0])

    async def _evict(self, shortage: Shortage) -> None:
        usages = {usage.container_id: usage for usage in await self._runtime.usages()}
        by_pod = {pod.uid: _by_container(pod, usages, shortage) for pod in await self._runtime.pods()}
        totals = {uid: sum(used.values()) for uid, used in by_pod.items()}
        chosen = victim(shortage, self._tenants.running(), totals)
        if chosen is not None:
            uid = chosen["metadata"]["uid"]
            self._tenants.evict(uid, reason(shortage, chosen, by_pod.get(uid, {})))

    async def _drop_images(self) -> int:
        """Remove the images of no container and no pod; how many."""
        used = {container.image_id for pod in await self._runtime.pods() for container in pod.containers}
        used.update(name for pod in self._tenants.running() for name in _named(pod))
        dropped = 0
        for image in await self._runtime.images():
            if not used.intersection((image.id, *image.digests, *image.tags)) and PAUSE_IMAGE not in image.tags:
                await self._runtime.remove_image(image.id)
                dropped += 1
        return dropped


def _named(pod: Obj) -> Iterator[str]:
    yield from (container.get("image", "") for container in all_containers(pod))
    yield from ((volume.get("image") or {}).get("reference", "") for volume in pod["spec"].get("volumes") or ())


def _by_container(pod: PodObserved, usages: dict[str, Usage], shortage: Shortage) -> dict[str, int]:
    return {
        container.name: amount_of(usages[container.id], shortage.resource)
        for container in pod.containers
        if container.phase is ContainerPhase.RUNNING and container.id in usages
    }
