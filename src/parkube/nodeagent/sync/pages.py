"""What the agent shows at kubelet's paths: its pods, what they use, its settings, the machine's logs. Reads only.

    /pods  /runningpods/  /stats/summary  /metrics/resource  /configz  /logs/<path>

Source: Kubernetes documentation, "Kubelet authentication/authorization" (the paths) and "Node metrics data".
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import orjson

from parkube.kubeapi.errors import NotFound, Obj
from parkube.nodeagent.plan.pressure import Signals
from parkube.nodeagent.runtime.port import Runtime
from parkube.nodeagent.sync.summary import Sample, metrics, summary

_JSON, _TEXT, _HTML = "application/json", "text/plain; version=0.0.4", "text/html; charset=utf-8"
_MAX_FILE = 8 << 20  # bytes: of a longer file the end


class Page(NamedTuple):
    """What is shown."""

    content_type: str
    body: bytes


class Pages:
    """Implements the stream server's `Pages`."""

    def __init__(
        self, node: str, pods: Callable[[], Iterable[tuple[Obj, Obj]]], runtime: Runtime,
        signals: Callable[[], Signals], memory_total: int, settings: Obj, clock: Callable[[], float],
        logs: Path = Path("/var/log"), proc: Path = Path("/proc"),
    ) -> None:  # fmt: skip
        self._node, self._pods, self._runtime, self._signals = node, pods, runtime, signals
        self._memory_total, self._settings, self._clock = memory_total, settings, clock
        self._logs, self._proc = logs, proc
        self._before: Sample | None = None

    async def page(self, path: str) -> Page:
        """The page at a path. Raises `NotFound`, and what the runtime raises."""
        match path.strip("/").split("/"):
            case ["pods"] | ["runningpods"]:
                items = [{**pod, "status": status} for pod, status in self._pods()]
                return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
            case ["stats", "summary"]:
                now, before = await self._sample(), self._before
                self._before = now
                return _json(summary(self._node, now, before))
            case ["metrics", "resource"]:
                return Page(_TEXT, metrics(await self._sample()).encode())
            case ["configz"]:
                return _json({"kubeletconfig": self._settings})
            case ["logs", *rest]:
                return await asyncio.to_thread(show, self._logs, "/".join(rest))
        raise NotFound(f"the agent serves nothing at {path}")

    async def _sample(self) -> Sample:
        usages = {usage.container_id: usage for usage in await self._runtime.usages()}
        pods = tuple(pod for pod in await self._runtime.pods() if pod.uid)
        cpu_ns, booted_at = _cpu_time(self._proc)
        return Sample(self._clock(), pods, usages, self._signals(), self._memory_total, cpu_ns, booted_at)


def _json(body: Obj) -> Page:
    return Page(_JSON, orjson.dumps(body))


def _cpu_time(proc: Path) -> tuple[int, float]:
    """Nanoseconds that the machine has worked since its start, and when that was."""
    worked, booted = 0, 0.0
    for line in (proc / "stat").read_text().splitlines():
        words = line.split()
        if words and words[0] == "cpu":
            ticks = [int(word) for word in words[1:9]]
            worked = (sum(ticks) - ticks[3] - ticks[4]) * 10_000_000  # all but idle and waiting; a tick is 10 ms
        elif words and words[0] == "btime":
            booted = float(words[1])
    return worked, booted


def show(root: Path, path: str) -> Page:
    """A file below `root`, or what is in a folder. Raises `NotFound`, also for what leads out of it."""
    where = (root / path).resolve()
    if not where.is_relative_to(root.resolve()):
        raise NotFound(f"{path} is not below the logs")
    try:
        if where.is_dir():
            names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in where.iterdir())
            rows = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
            return Page(_HTML, f"<pre>\n{rows}</pre>\n".encode())
        if where.is_file():
            with where.open("rb") as file:
                file.seek(max(0, where.stat().st_size - _MAX_FILE))
                return Page("text/plain; charset=utf-8", file.read(_MAX_FILE))
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
    raise NotFound(f"{path} is not there")
