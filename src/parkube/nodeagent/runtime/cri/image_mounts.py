"""An image's files as a folder: a read-only view of its snapshot in containerd, mounted by the system's own `mount`.

CRI has image mounts only since containerd 2.1; the snapshot service, which is older, is asked on every version. A view
is labelled as a root of containerd's garbage collection, so that it stays until it is removed.
Source: containerd, api/services/snapshots/v1/snapshots.proto; docs/garbage-collection.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import orjson

from parkube.nodeagent.runtime.cri.channel import UnixChannel
from parkube.nodeagent.runtime.cri.messages import IMAGES, RUNTIME, SNAPSHOTS
from parkube.nodeagent.runtime.cri.wire import Message
from parkube.nodeagent.runtime.port import ImageFault, NoSuchContainer, RuntimeFault

_NAMESPACE = {"containerd-namespace": "k8s.io"}
_ROOT = {"containerd.io/gc.root": "1970-01-01T00:00:00Z"}
_READ_ONLY = ("ro", "noexec")


def chain_id(diff_ids: Sequence[str]) -> str:
    """The name of the snapshot with all layers. Source: OCI image specification, "Layer ChainID"."""
    chain = diff_ids[0]
    for diff in diff_ids[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff}".encode()).hexdigest()
    return chain


def mount_words(mount: Message, target: Path) -> list[str]:
    """The command line for one of containerd's mounts, read-only."""
    kind, options = mount.get("type", ""), [o for o in mount.get("options", ()) if o != "rw"]
    bind = kind == "bind" or "bind" in options or "rbind" in options
    options += [word for word in (*(("bind",) if bind else ()), *_READ_ONLY) if word not in options]
    types = [] if bind else ["-t", kind]
    return ["mount", *types, "-o", ",".join(options), mount.get("source") or "none", str(target)]


class ImageMounts:
    """Views of images by key."""

    def __init__(self, channel: UnixChannel) -> None:
        self._channel = channel
        self._snapshotter = ""

    async def mount(self, image_id: str, key: str, target: Path) -> None:
        """Mount the image's files at `target`. Raises `ImageFault`, `RuntimeFault`."""
        snapshotter, parent = await self._which(), await self._top(image_id)
        request = {"snapshotter": snapshotter, "key": key, "parent": parent, "labels": _ROOT}
        try:
            reply = await self._ask("View", "ViewSnapshotRequest", request, "MountsResponse")
        except RuntimeFault as fault:
            if "already exists" not in str(fault):
                raise
            known = {"snapshotter": snapshotter, "key": key}
            reply = await self._ask("Mounts", "SnapshotRequest", known, "MountsResponse")
        target.mkdir(parents=True, exist_ok=True)
        for found in reply.get("mounts", ()):
            await _run(*mount_words(found, target))

    async def unmount(self, key: str, target: Path) -> None:
        """The reverse; what is not there is fine."""
        with contextlib.suppress(RuntimeFault):
            await _run("umount", str(target))
        with contextlib.suppress(RuntimeFault, NoSuchContainer):
            await self._ask("Remove", "SnapshotRequest", {"snapshotter": await self._which(), "key": key}, "Empty")

    async def _ask(self, verb: str, kind: str, request: Message, reply: str) -> Message:
        return await self._channel.call(SNAPSHOTS + verb, kind, request, reply, metadata=_NAMESPACE)

    async def _which(self) -> str:
        """The snapshotter that CRI uses, by its own word."""
        if not self._snapshotter:
            reply = await self._channel.call(RUNTIME + "Status", "StatusRequest", {"verbose": True}, "StatusResponse")
            config = orjson.loads(reply.get("info", {}).get("config") or b"{}")
            self._snapshotter = str((config.get("containerd") or {}).get("snapshotter") or "overlayfs")
        return self._snapshotter

    async def _top(self, image_id: str) -> str:
        request = {"image": {"image": image_id}, "verbose": True}
        reply = await self._channel.call(IMAGES + "ImageStatus", "ImageStatusRequest", request, "ImageStatusResponse")
        info = orjson.loads(reply.get("info", {}).get("info") or b"{}")
        layers = ((info.get("imageSpec") or {}).get("rootfs") or {}).get("diff_ids") or []
        if not layers:
            raise ImageFault(f'image "{image_id}" has no files')
        return chain_id(layers)


async def _run(*command: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await child.communicate()
    if child.returncode:
        raise RuntimeFault(f"{command[0]}: {stderr.decode(errors='replace').strip()}")
