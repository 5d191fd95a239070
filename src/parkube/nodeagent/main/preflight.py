"""What must be true of a machine before it can run pods; everything missing is named at once, one sentence each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from parkube.nodeagent.main.config import ConfigError

_NEEDED = {
    "containerd": "containerd", "runc": "runc", "ctr": "containerd", "nft": "nftables", "ip": "iproute2",
    "openssl": "openssl", "mount": "mount",
}  # fmt: skip
_CONTROLLERS = ("cpu", "memory", "pids")


def faults(
    *,
    root: Path = Path("/"),
    uid: int | None = None,
    which: Callable[[str], str | None] = shutil.which,
    own_runtime: bool = True,
) -> list[str]:
    """Everything that keeps this machine from running pods."""
    found = []
    if (os.geteuid() if uid is None else uid) != 0:
        found.append("running containers needs root")
    needed = _NEEDED if own_runtime else {"nft": "nftables"}
    missing = sorted({package for program, package in needed.items() if which(program) is None})
    if missing:
        found.append(f"these Debian packages are missing: {', '.join(missing)}")
    plugins = [root / path / "bridge" for path in ("usr/lib/cni", "opt/cni/bin", "usr/libexec/cni")]
    if own_runtime and not any(path.exists() for path in plugins):
        found.append("the CNI plugins are missing: install the Debian package containernetworking-plugins")
    absent = [name for name in _CONTROLLERS if name not in controllers(root)]
    if absent:
        found.append(
            f"the kernel offers no cgroup controller for {', '.join(absent)}: "
            "on a Raspberry Pi add `cgroup_enable=memory cgroup_memory=1` to /boot/cmdline.txt and reboot"
        )
    if swap(root):
        found.append("swap is on, and pods' memory limits would not hold: turn it off with `swapoff -a`")
    return found


def controllers(root: Path = Path("/")) -> set[str]:
    """The cgroup controllers that are mounted, v1 or v2 or both."""
    result: set[str] = set()
    base = root / "sys/fs/cgroup"
    for tree in (base, base / "unified"):
        try:
            result |= set((tree / "cgroup.controllers").read_text().split())
        except OSError:
            continue
    try:
        for entry in base.iterdir():
            if (entry / "cgroup.procs").exists() or (entry / "tasks").exists():
                result |= set(entry.name.split(","))
    except OSError:
        pass
    return result


def swap(root: Path = Path("/")) -> bool:
    """Whether any swap but zram is in use."""
    try:
        lines = (root / "proc/swaps").read_text().splitlines()[1:]
    except OSError:
        return False
    return any(line and not line.startswith("/dev/zram") for line in lines)


def check(*, own_runtime: bool = True) -> None:
    """Raises `ConfigError` naming all faults in one sentence."""
    found = faults(own_runtime=own_runtime)
    if found:
        raise ConfigError("this machine cannot run pods: " + "; ".join(found))
