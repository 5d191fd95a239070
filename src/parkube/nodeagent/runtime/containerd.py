"""Starts containerd under the agent's data directory, or takes over the one that already runs there.

Its containers outlive it and it outlives the agent: it is a session of its own, found again by its socket.
Source: containerd 1.6, docs/cri/config.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parkube.nodeagent.runtime.cri.channel import answers
from parkube.nodeagent.runtime.pause import PAUSE_IMAGE
from parkube.nodeagent.runtime.port import RuntimeFault

CNI_PATHS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_CAP_SYS_RESOURCE = 24
_START_TIMEOUT_S = 30.0
_LOG_LIMIT = 4 * 1024 * 1024  # bytes, at a start

_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", \
"io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing"]

[debug]
  level = "warn"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  sandbox_image = "{pause}"
  restrict_oom_score_adj = {restrict}
  max_container_log_line_size = 16384
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{snapshotter}"
  disable_snapshot_annotations = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{cni_bin}"
  conf_dir = "{cni_conf}"
  max_conf_num = 1

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{registry}"
"""


@dataclass(frozen=True, slots=True)
class ContainerdPaths:
    """Where one containerd lives; all under one folder but the binaries."""

    base: Path
    socket: Path
    registry: Path

    @property
    def config(self) -> Path:
        """config.toml."""
        return self.base / "config.toml"

    @property
    def log(self) -> Path:
        """Standard output and error of containerd."""
        return self.base / "containerd.log"

    @property
    def pid(self) -> Path:
        """Its process id."""
        return self.base / "containerd.pid"

    @property
    def cni_conf(self) -> Path:
        """CNI's conf_dir."""
        return self.base / "net.d"


def lacks_sys_resource(status: str) -> bool:
    """Whether a process with this /proc/<pid>/status may not lower an OOM score below its own."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return not int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1
    return False


def cni_bin_dir(exists: Callable[[str], bool] = os.path.exists) -> str:
    """The folder with the CNI plugins. Raises `RuntimeFault`."""
    for path in CNI_PATHS:
        if exists(f"{path}/bridge"):
            return path
    raise RuntimeFault("no CNI plugins: install the package containernetworking-plugins")


def render_config(paths: ContainerdPaths, *, snapshotter: str, restrict_oom: bool, cni_bin: str) -> str:
    """config.toml of containerd 1.6."""
    return _CONFIG.format(
        root=paths.base / "root", state=paths.base / "state", socket=paths.socket, opt=paths.base / "opt",
        pause=PAUSE_IMAGE, restrict=str(restrict_oom).lower(), snapshotter=snapshotter, cni_bin=cni_bin,
        cni_conf=paths.cni_conf, registry=paths.registry,
    )  # fmt: skip


async def pick_snapshotter(base: Path) -> str:
    """`overlayfs` where an overlay can be mounted under `base`, else `native`."""
    scratch = base / "overlay-check"
    for part in ("l", "u", "w", "m"):
        (scratch / part).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={scratch}/l,upperdir={scratch}/u,workdir={scratch}/w"
    works = await _run("mount", "-t", "overlay", "overlay", "-o", options, f"{scratch}/m") == 0
    if works:
        await _run("umount", f"{scratch}/m")
    shutil.rmtree(scratch, ignore_errors=True)
    return "overlayfs" if works else "native"


async def ensure_containerd(paths: ContainerdPaths, snapshotter: str = "") -> bool:
    """Have containerd run with our configuration; True when it was started now. Raises `RuntimeFault`."""
    binary = shutil.which("containerd")
    if binary is None or shutil.which("runc") is None:
        raise RuntimeFault("no containerd: install the packages containerd and runc")
    paths.base.mkdir(parents=True, exist_ok=True, mode=0o711)
    paths.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    paths.cni_conf.mkdir(exist_ok=True)
    paths.registry.mkdir(parents=True, exist_ok=True)
    config = render_config(
        paths,
        snapshotter=snapshotter or _chosen_before(paths) or await pick_snapshotter(paths.base),
        restrict_oom=lacks_sys_resource(Path("/proc/self/status").read_text()),
        cni_bin=cni_bin_dir(),
    )
    same = paths.config.exists() and paths.config.read_text() == config
    if await answers(paths.socket):
        if same:
            return False
        await stop_containerd(paths)
    if not same:
        paths.config.write_text(config)
    with contextlib.suppress(OSError):
        if paths.log.stat().st_size > _LOG_LIMIT:
            paths.log.rename(paths.log.with_suffix(".log.1"))
    # A session of its own and no child of ours: it must outlive the agent, and nobody has to wait for it.
    start = 'echo $$ > "$1"; exec "$2" --config "$3"'
    with paths.log.open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            "setsid", "--fork", "sh", "-c", start, "sh", str(paths.pid), binary, str(paths.config),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
        )  # fmt: skip
        await child.wait()
    await _wait_for_socket(paths)
    return True


async def _wait_for_socket(paths: ContainerdPaths) -> None:
    deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
    while not await answers(paths.socket):
        now = asyncio.get_running_loop().time()
        if now > deadline - _START_TIMEOUT_S + 1 and _running(paths) is None:
            raise RuntimeFault(f"containerd ended at once: {_last_line(paths.log)}")
        if now > deadline:
            raise RuntimeFault(f"containerd does not answer after {_START_TIMEOUT_S:.0f} s: see {paths.log}")
        await asyncio.sleep(0.02)


async def stop_containerd(paths: ContainerdPaths) -> None:
    """End containerd (not its containers) and wait until it is gone."""
    pid = _running(paths)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        for _ in range(500):
            if _running(paths) is None:
                return
            await asyncio.sleep(0.02)
        os.kill(pid, signal.SIGKILL)


def _running(paths: ContainerdPaths) -> int | None:
    """The process id of our containerd, when it lives."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(paths.pid.read_text())
        if str(paths.config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


def _chosen_before(paths: ContainerdPaths) -> str:
    """Images belong to a snapshotter: once chosen it stays."""
    with contextlib.suppress(OSError):
        for line in paths.config.read_text().splitlines():
            if line.strip().startswith("snapshotter = "):
                return line.split('"')[1]
    return ""


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return f"see {log}"


async def _run(*command: str) -> int:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await child.wait()
