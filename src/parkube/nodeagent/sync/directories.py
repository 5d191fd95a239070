"""The directories of local-path volumes: made for a volume's first pod, removed when the volume is to go.

    (none) --first pod--> finalizer on the PersistentVolume --> directory
    directory --the volume is being deleted, nobody has it--> removed, if its policy is Delete --> finalizer off

Written down first, done second: a volume whose directory lies here cannot vanish unseen. Each such volume is watched
by name, as long as there is its directory; a node without any watches nothing. What no volume speaks of stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path
from typing import NamedTuple

from parkube.kubeapi.claims import LOCAL_DIRECTORY, VOLUME_PROTECTION
from parkube.kubeapi.client import PERSISTENTVOLUMES, Client
from parkube.kubeapi.errors import ApiError, Conflict, Forbidden, NotFound, Obj
from parkube.kubeapi.informer import Informer
from parkube.nodeagent.volumes.claims import own_directory
from parkube.nodeagent.volumes.project import MountFault

log = logging.getLogger(__name__)
_UNKNOWN_S, _RETRY_S = 600.0, 5.0


class _State(NamedTuple):
    """What is looked at of a PersistentVolume."""

    revision: str
    deleting: bool
    finalizers: tuple[str, ...]
    policy: str

    @property
    def to_go(self) -> bool:
        """Whether the directory is all that keeps it."""
        return self.deleting and LOCAL_DIRECTORY in self.finalizers and VOLUME_PROTECTION not in self.finalizers


def _state(obj: Obj) -> _State:
    m = obj["metadata"]
    return _State(
        m.get("resourceVersion", ""), bool(m.get("deletionTimestamp")), tuple(m.get("finalizers") or ()),
        (obj.get("spec") or {}).get("persistentVolumeReclaimPolicy") or "Retain",
    )  # fmt: skip


class LocalDirectories:
    """Those under `root`, named `<volume>_<namespace>_<claim>`."""

    def __init__(self, client: Client, root: Path) -> None:
        self._client, self._root = client, root
        self._followed: dict[str, asyncio.Task[None]] = {}

    async def make(self, volume: Obj) -> None:
        """See that the volume's directory is there, if it is one of this node's. Raises `MountFault`."""
        entry = own_directory(volume, self._root)
        if not entry:
            return
        path = self._root / entry
        if not path.exists():
            await self._announce(volume["metadata"]["name"])
            self._root.mkdir(parents=True, exist_ok=True, mode=0o711)
            path.mkdir(exist_ok=True)
            path.chmod(0o777)  # whoever the pod runs as; the folder above is root's
        self._follow(entry)

    async def _announce(self, name: str) -> None:
        try:
            found = await self._client.get(PERSISTENTVOLUMES, name)
            m = found["metadata"]
            if m.get("deletionTimestamp"):
                raise MountFault(f'persistentvolume "{name}" is being deleted')
            if LOCAL_DIRECTORY not in (m.get("finalizers") or ()):
                await self._write(name, m["resourceVersion"], (*(m.get("finalizers") or ()), LOCAL_DIRECTORY))
        except (ApiError, OSError, EOFError) as error:
            raise MountFault(f'persistentvolume "{name}" cannot be taken into use: {error}') from error

    async def _write(self, name: str, revision: str, finalizers: tuple[str, ...]) -> None:
        patch = {"metadata": {"resourceVersion": revision, "finalizers": list(finalizers)}}
        await self._client.patch(PERSISTENTVOLUMES, name, patch)

    async def run(self) -> None:
        """Follow what lies here already, until cancelled."""
        for path in self._root.iterdir() if self._root.exists() else ():
            if path.is_dir() and "_" in path.name:
                self._follow(path.name)
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._followed.values():
                task.cancel()
            await asyncio.gather(*self._followed.values(), return_exceptions=True)

    def _follow(self, entry: str) -> None:
        if entry in self._followed:
            return
        task = self._followed[entry] = asyncio.create_task(self._watch(entry), name=f"volume {entry}")
        task.add_done_callback(lambda _: self._followed.pop(entry, None))

    async def _watch(self, entry: str) -> None:
        name = entry.partition("_")[0]
        while not await self._known(name):
            await asyncio.sleep(_UNKNOWN_S)
        informer = Informer(self._client, PERSISTENTVOLUMES, _state, field_selector=f"metadata.name={name}")
        moved = asyncio.Event()
        informer.subscribe(lambda *_: moved.set())
        task = asyncio.create_task(informer.run())
        try:
            await informer.synced()
            while (state := informer.get(name)) is not None:
                moved.clear()
                if state.to_go and not await self._let_go(entry, name, state):
                    await asyncio.sleep(_RETRY_S)
                    continue
                await moved.wait()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _known(self, name: str) -> bool:
        """Whether the API knows the volume; one that it does not is asked for seldom."""
        while True:
            try:
                await self._client.get(PERSISTENTVOLUMES, name)
            except (NotFound, Forbidden):
                return False
            except (ApiError, OSError, EOFError):
                await asyncio.sleep(_RETRY_S)
            else:
                return True

    async def _let_go(self, entry: str, name: str, state: _State) -> bool:
        """Remove the directory and say so; False where it must be tried again."""
        path = self._root / entry
        try:
            if state.policy == "Delete" and path.exists():
                await asyncio.to_thread(shutil.rmtree, path)
                log.info("the directory of volume %s is removed", name)
            await self._write(name, state.revision, tuple(f for f in state.finalizers if f != LOCAL_DIRECTORY))
        except (NotFound, Conflict):
            return True  # gone, or changed: that is an event of its own
        except (ApiError, OSError, EOFError) as error:
            log.warning("volume %s cannot be let go yet: %s", name, error)
            return False
        return True
