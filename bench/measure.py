"""What a process costs, read from /proc, and what a list of latencies says. Knows nothing of what is measured."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A row could not be measured; one sentence says why."""


def cpu_s(pid: int) -> float:
    """CPU that a process has used since its start, user and system, all threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def pss_mib(pid: int) -> float:
    """Proportional set size of a process in MiB: shared pages are divided among those who share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise BenchError(f"process {pid} has no Pss line in smaps_rollup")


def cpu_percent(pids: Sequence[int], seconds: float) -> list[float]:
    """Percent of one core that each process uses over the next `seconds`."""
    before, began = [cpu_s(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return [(cpu_s(pid) - was) / took * 100 for pid, was in zip(pids, before, strict=True)]


def others_percent(own: Sequence[int], seconds: float) -> float:
    """Percent of one core that the machine spends on everything but `own`: the noise beside a measurement."""
    before, began = _busy_s() - sum(map(cpu_s, own)), time.monotonic()
    time.sleep(seconds)
    return max(0.0, (_busy_s() - sum(map(cpu_s, own)) - before) / (time.monotonic() - began) * 100)


def _busy_s() -> float:
    numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(numbers[:3]) + sum(numbers[5:8])) / _TICKS


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part (0..1) of all lie. Raises BenchError when there are none."""
    if not values:
        raise BenchError("nothing was measured")
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def until(what: str, done: Callable[[], bool], within_s: float, every_s: float = 0.02) -> float:
    """Ask until it is so; the seconds it took. Raises BenchError when it takes too long."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > within_s:
            raise BenchError(f"{what} was not ready within {within_s:.0f} seconds")
        time.sleep(every_s)
    return time.monotonic() - began
