"""Evicts pods whose emptyDir volumes outgrew their sizeLimit. A node without such volumes measures nothing.

Memory-backed ones are held by their tmpfs. Source: Kubernetes documentation, "Local ephemeral storage".
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.resources import amount
from parkube.nodeagent.sync.eviction import Tenants

_PERIOD_S, _BLOCK = 10.0, 512


def limited(pod: Obj) -> Iterator[Obj]:
    """Its volumes on disk that have a limit."""
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("emptyDir") or {}
        if source.get("sizeLimit") and source.get("medium") != "Memory" and amount(source["sizeLimit"]) > 0:
            yield volume


def used_bytes(folder: Path) -> int:
    """What a folder takes on its disk; a file of several names counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                found = os.lstat(os.path.join(path, name))
            except OSError:
                continue
            if (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                total += found.st_blocks * _BLOCK
    return total


class VolumeLimits:
    """`path` says where a volume of the pod with that uid lies."""

    def __init__(
        self, tenants: Tenants, path: Callable[[str, Obj], Path], measure: Callable[[Path], int] = used_bytes
    ) -> None:
        self._tenants, self._path, self._measure = tenants, path, measure

    async def run(self) -> None:
        """Look every ten seconds, until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self.look()

    async def look(self) -> None:
        """Once."""
        for pod in list(self._tenants.running()):
            uid = pod["metadata"]["uid"]
            for volume in limited(pod):
                limit = volume["emptyDir"]["sizeLimit"]
                if await asyncio.to_thread(self._measure, self._path(uid, volume)) > amount(limit):
                    text = f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
                    self._tenants.evict(uid, text)
                    break
