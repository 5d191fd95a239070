"""Takes away what containers leave behind: shims and what runs below them, mounts, cgroups, firewall tables."""

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


def remove_tables(prefix: str) -> None:
    """Delete the nftables tables whose name begins so, in this network namespace."""
    if not shutil.which("nft"):
        return
    tables = subprocess.run(["nft", "list", "tables"], check=False, capture_output=True, text=True).stdout
    for line in tables.splitlines():
        _, family, name = line.split()
        if name.startswith(prefix):
            subprocess.run(["nft", "delete", "table", family, name], check=False)


def remove(folder: Path) -> None:
    """Delete a folder, what was mounted in it excepted: that must be gone before."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
