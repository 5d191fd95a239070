"""A pod's own cgroups, which runtimes make but neither limit nor remove: they see to its containers' alone.

Sources: the kernel's documentation, "Control Group v2" and "CGroup v1"; KEP-2254 for v1's shares as v2's weight.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from parkube.nodeagent.plan.model import Amounts

_ROOT = Path("/sys/fs/cgroup")
_CLASSES = ("", "burstable", "besteffort")


def limit_pod_groups(parent: str, amounts: Amounts, root: Path = _ROOT) -> None:
    """Hold the pod to its resources as a whole, in v2's files and in v1's. `parent`: the pod's group, from the root.
    Raises `OSError`."""
    files: dict[str, str] = {}
    if amounts.cpu_shares:
        files["cpu/cpu.shares"] = str(amounts.cpu_shares)
        files["cpu.weight"] = str(1 + (amounts.cpu_shares - 2) * 9999 // 262142)
    if amounts.cpu_quota:
        files["cpu/cpu.cfs_period_us"] = str(amounts.cpu_period)
        files["cpu/cpu.cfs_quota_us"] = str(amounts.cpu_quota)
        files["cpu.max"] = f"{amounts.cpu_quota} {amounts.cpu_period}"
    if amounts.memory_limit:
        files["memory/memory.limit_in_bytes"] = files["memory.max"] = str(amounts.memory_limit)
    for name, text in files.items():
        tree, _, file = name.rpartition("/")
        path = root / tree / parent.lstrip("/") / file
        if path.exists():
            path.write_text(text)


def remove_pod_groups(uid: str, root: Path = _ROOT) -> int:
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
