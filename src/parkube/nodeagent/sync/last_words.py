"""A container's last words: what it left at its termination message path, or, where asked for, the end of its log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from parkube.kubeapi.errors import Obj

_LOG_BYTES, _LOG_LINES = 2048, 80  # the API's limits for FallbackToLogsOnError
_POD_BYTES = 12 << 10  # of all containers together, in equal parts
_KINDS = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def fill(status: Obj, before: Obj, read: Callable[[str, Obj], str]) -> None:
    """Put messages into the terminated states of `status`: those of `before` for the same containers, else what
    `read(container name, terminated)` finds; only the newest container of a name is read for."""
    part = _POD_BYTES // max(1, sum(len(status.get(kind) or ()) for kind in _KINDS))
    known = {t["containerID"]: t["message"] for _, t, _ in _terminated(before) if t.get("message")}
    for name, terminated, newest in _terminated(status):
        if terminated.get("message"):
            continue
        message = known.get(terminated.get("containerID", ""), "")
        if not message and newest:
            message = read(name, terminated)
        if message:
            terminated["message"] = message.encode()[:part].decode(errors="ignore")


def _terminated(status: Obj) -> Iterator[tuple[str, Obj, bool]]:
    for entry in [entry for kind in _KINDS for entry in status.get(kind) or ()]:
        for key in ("state", "lastState"):
            terminated = (entry.get(key) or {}).get("terminated")
            if terminated and terminated.get("containerID"):
                yield entry["name"], terminated, terminated["containerID"] == entry.get("containerID")


def end_of_log(path: Path) -> str:
    """The last lines of a CRI log file, without their times and streams."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 4 * _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    texts = [line.split(" ", 3)[3] for line in lines if line.count(" ") >= 3]
    return "\n".join(texts[-_LOG_LINES:])[-_LOG_BYTES:]
