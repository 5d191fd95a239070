"""Takes away what containers leave behind: shims and what runs below them, mounts, cgroups."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from scripts.demo.processes import descendants, mentioning


def end_containers(folder: Path) -> None:
    """End every containerd, shim and container that lives under `folder`."""
    shims = mentioning(folder)
    doomed = [pid for shim in shims for pid in descendants(shim)] + shims
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while time.monotonic() < end and any(Path(f"/proc/{pid}").exists() for pid in doomed):
        for pid in doomed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)


def unmount_below(folder: Path) -> None:
    """Unmount everything below `folder`, the deepest first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [place.encode().decode("unicode_escape") for place in places if place.startswith(f"{folder}/")]
    for place in sorted(inside, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


def remove_empty_cgroups() -> None:
    """Remove what pods left of the cgroup tree; one that is in use cannot be removed, and stays."""
    for top in Path("/sys/fs/cgroup").glob("**/kubepods"):
        for group in sorted(
            (each for each in top.rglob("*") if each.is_dir()), key=lambda g: len(g.parts), reverse=True
        ):
            with contextlib.suppress(OSError):
                group.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()


def remove(folder: Path) -> None:
    """Delete a folder, what was mounted in it excepted: that must be gone before."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
