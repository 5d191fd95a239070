"""Gives back the cgroups of a pod that is over: runtimes make a pod's own group, but removes its containers' alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

_CLASSES = ("", "burstable", "besteffort")


def remove_pod_groups(uid: str, root: Path = Path("/sys/fs/cgroup")) -> int:
    """Remove the pod's empty groups in every hierarchy, v1 and v2; how many there were. One still in use stays."""
    removed = 0
    for tree in [root, *(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())]:
        for quality in _CLASSES:
            group = tree / "kubepods" / quality / f"pod{uid}"
            if group.is_dir():
                below = sorted((each for each in group.rglob("*") if each.is_dir()), key=lambda g: -len(g.parts))
                for each in [*below, group]:
                    with contextlib.suppress(OSError):
                        each.rmdir()
                        removed += 1
    return removed
