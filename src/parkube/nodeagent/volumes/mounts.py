"""Makes a pod's volumes on disk and says what each container mounts.

A volume lives at `<pods>/<uid>/volumes/<name>`, a claim's as a link; hostPath volumes are the host's own. Memory-backed
ones are tmpfs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.environment import Lookup, expand
from parkube.nodeagent.plan.model import Mount
from parkube.nodeagent.plan.resources import amount
from parkube.nodeagent.runtime.port import Runtime
from parkube.nodeagent.volumes.atomic import File, write_files
from parkube.nodeagent.volumes.claims import claim_name, persistent_volume, place
from parkube.nodeagent.volumes.project import MountFault, TokenOf, volume_files

_PROJECTED = ("configMap", "secret", "downwardAPI", "projected")
_READ_ONLY = (*_PROJECTED, "image")
_PROPAGATION = {"HostToContainer": 1, "Bidirectional": 2}


class Volumes:
    """The volumes of all pods of a node."""

    def __init__(self, pods_dir: Path, runtime: Runtime) -> None:
        self._root, self._runtime = pods_dir, runtime

    def folder(self, uid: str) -> Path:
        """All of one pod."""
        return self._root / uid

    def path(self, uid: str, volume: Obj) -> Path:
        """Where one volume is on the host."""
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "image" in volume:
            return self.folder(uid) / "images" / str(volume["name"])
        return self.folder(uid) / "volumes" / str(volume["name"])

    def has_image(self, pod: Obj, volume: Obj) -> bool:
        """Whether an image volume is there already."""
        uid = pod["metadata"]["uid"]
        return os.path.ismount(self.path(uid, volume))

    async def mount_image(self, pod: Obj, volume: Obj, image_id: str) -> None:
        """Mount an image volume. Raises `RuntimeFault`."""
        uid, name = pod["metadata"]["uid"], str(volume["name"])
        where = self.path(uid, volume)
        await self._runtime.mount_image(image_id, f"parkube/{uid}/{name}", where)

    async def prepare(
        self, pod: Obj, lookup: Lookup, token: TokenOf, facts: Mapping[str, str], allocatable: Mapping[str, str]
    ) -> None:
        """Make every volume, or bring it up to date. Raises `MountFault`."""
        uid = pod["metadata"]["uid"]
        self.folder(uid).mkdir(parents=True, exist_ok=True, mode=0o750)
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        for volume in pod["spec"].get("volumes") or ():
            where = self.path(uid, volume)
            try:
                if any(kind in volume for kind in _PROJECTED):
                    files = volume_files(volume, pod, lookup, token, facts, allocatable)
                    write_files(where, _for_group(files, group))
                elif "hostPath" in volume:
                    _host_path(where, str(volume["hostPath"].get("type") or ""))
                elif "image" in volume:
                    continue  # mounted already
                elif "emptyDir" in volume:
                    await _empty_dir(where, volume["emptyDir"] or {}, group)
                elif name := claim_name(pod, volume):
                    await _claim(where, persistent_volume(name, lookup), group)
                else:
                    kind = next((key for key in volume if key != "name"), "?")
                    raise MountFault(f'volume type "{kind}" is not in this version')
            except MountFault as fault:
                raise MountFault(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {fault}') from fault
            except (OSError, ValueError) as error:
                raise MountFault(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error

    def mounts(self, pod: Obj, container: Obj, env: Mapping[str, str]) -> list[Mount]:
        """What the container mounts; sub-paths are made where they are missing. Raises `MountFault`."""
        uid = pod["metadata"]["uid"]
        volumes = {v["name"]: v for v in pod["spec"].get("volumes") or ()}
        result = []
        for entry in container.get("volumeMounts") or ():
            volume = volumes[entry["name"]]
            host = self.path(uid, volume).resolve()
            sub = entry.get("subPath") or expand(entry.get("subPathExpr") or "", env)
            if sub:
                host = _sub_path(host, sub)
            if entry.get("recursiveReadOnly") == "Enabled":
                raise MountFault("the runtime does not support recursive read-only mounts")
            fixed = (volume.get("persistentVolumeClaim") or {}).get("readOnly")
            read_only = bool(entry.get("readOnly") or fixed) or any(kind in volume for kind in _READ_ONLY)
            result.append(
                Mount(entry["mountPath"], str(host), read_only, _PROPAGATION.get(entry.get("mountPropagation", ""), 0))
            )
        words = container.get("terminationMessagePath") or "/dev/termination-log"
        if all(mount.container_path != words for mount in result):
            result.append(Mount(words, str(self._termination_log(uid, container["name"]))))
        return result

    def devices(self, pod: Obj, container: Obj) -> list[tuple[str, str, str]]:
        """The block devices that the container gets: its path, the host's, and what it may do."""
        uid = pod["metadata"]["uid"]
        volumes = {v["name"]: v for v in pod["spec"].get("volumes") or ()}
        found = []
        for entry in container.get("volumeDevices") or ():
            volume = volumes[entry["name"]]
            fixed = (volume.get("persistentVolumeClaim") or {}).get("readOnly")
            found.append((entry["devicePath"], str(self.path(uid, volume).resolve()), "r" if fixed else "mrw"))
        return found

    def termination_message(self, uid: str, container: str) -> str:
        """The end of what the container left as its last words; at most 4 KiB."""
        path = self._log_path(uid, container)
        try:
            return path.read_bytes()[-4096:].decode("utf-8", "replace")
        except OSError:
            return ""

    def _log_path(self, uid: str, container: str) -> Path:
        return self.folder(uid) / "containers" / container / "termination-log"

    def _termination_log(self, uid: str, container: str) -> Path:
        path = self._log_path(uid, container)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o666)
        return path

    def kept(self) -> list[str]:
        """The uids of pods that have folders here."""
        return [entry.name for entry in self._root.iterdir()] if self._root.exists() else []

    async def release(self, uid: str) -> None:
        """Unmount and delete all volumes of a pod."""
        folder = self.folder(uid)
        if not folder.exists():
            return
        images = folder / "images"
        for entry in list(images.iterdir()) if images.exists() else []:
            await self._runtime.unmount_image(f"parkube/{uid}/{entry.name}", entry)
        volumes = folder / "volumes"
        for entry in list(volumes.iterdir()) if volumes.exists() else []:
            if os.path.ismount(entry):
                await _run("umount", str(entry))
        await asyncio.to_thread(shutil.rmtree, folder, True)


def _for_group(files: dict[str, File], group: int | None) -> dict[str, File]:
    """With an fsGroup the files are that group's, and it may read them."""
    if group is None:
        return files
    return {path: f._replace(gid=group, mode=f.mode | (f.mode & 0o400) >> 3) for path, f in files.items()}


async def _empty_dir(where: Path, source: Obj, group: int | None) -> None:
    if where.exists():
        return
    where.mkdir(parents=True)
    if source.get("medium") == "Memory":
        options = "mode=0777"
        if source.get("sizeLimit"):
            options += f",size={int(amount(source['sizeLimit']))}"
        if await _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(where)):
            where.rmdir()
            raise MountFault("tmpfs cannot be mounted")
    where.chmod(0o777)
    if group is not None:
        os.chown(where, -1, group)
        where.chmod(0o2777)


async def _claim(link: Path, volume: Obj, group: int | None) -> None:
    """A link to where the volume is."""
    path, check, owned, block = place(volume)
    if block:
        check = "BlockDevice"
    elif owned and not path.is_dir():
        raise MountFault(f'path "{path}" does not exist')
    if block or not owned:
        _host_path(path, check)
    if owned and not block and group is not None and path.stat().st_gid != group:
        await asyncio.to_thread(_give, path, group)
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(path)


def _give(path: Path, group: int) -> None:
    """All below belongs to the group, the top last: by it one sees that it is done."""
    for folder, _, files in os.walk(path, topdown=False):
        for entry in (*(Path(folder, name) for name in files), Path(folder)):
            if not entry.is_symlink():
                os.chown(entry, -1, group)
                entry.chmod(entry.stat().st_mode | (0o2770 if entry.is_dir() else 0o660))


_CHECKS = {
    "Directory": (stat.S_ISDIR, "a directory"), "File": (stat.S_ISREG, "a file"), "Socket": (stat.S_ISSOCK, "a socket"),
    "CharDevice": (stat.S_ISCHR, "a character device"), "BlockDevice": (stat.S_ISBLK, "a block device"),
}  # fmt: skip


def _host_path(path: Path, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644)
    elif kind == "":
        if not path.exists():
            path.mkdir(parents=True, mode=0o755)
    elif not path.exists() or not _CHECKS[kind][0](path.stat().st_mode):
        raise MountFault(f"hostPath type check failed: {path} is not {_CHECKS[kind][1]}")


def _sub_path(root: Path, sub: str) -> Path:
    if sub.startswith("/") or ".." in Path(sub).parts:
        raise MountFault(f'subPath "{sub}" leaves the volume')
    target = (root / sub).resolve()
    if not target.is_relative_to(root.resolve()):
        raise MountFault(f'subPath "{sub}" leaves the volume')
    if not target.exists():
        target.mkdir(parents=True, mode=0o750)
        target.chmod(0o777)
    return target


async def _run(*command: str) -> int:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await child.wait()
