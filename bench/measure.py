"""What a process costs, read from /proc, and what a list of latencies says. Knows nothing of what is measured."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
QUIET = 15.0  # percent of a core that others may use beside a measurement


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


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB, shared pages counted in full: what it would be with nobody to share."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_percent(pids: Sequence[int], seconds: float) -> list[float]:
    """Percent of one core that each process uses over the next `seconds`."""
    before, began = [cpu_s(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return [(cpu_s(pid) - was) / took * 100 for pid, was in zip(pids, before, strict=True)]


class Noise:
    """What the machine does beside a measurement, while a `with` block lasts: `percent` of one core."""

    def __init__(self, *own: int) -> None:
        self._own = (*own, os.getpid())
        self.percent = 0.0

    def __enter__(self) -> Noise:
        self._began, self._before = time.monotonic(), self._others_s()
        return self

    def __exit__(self, *_: object) -> None:
        took = max(time.monotonic() - self._began, 1 / _TICKS)
        self.percent = max(0.0, (self._others_s() - self._before) / took * 100)

    def _others_s(self) -> float:
        return _busy_s() - sum(map(cpu_s, self._own))


def wait_for_quiet(*own: int, within_s: float = 30.0) -> None:
    """Wait until nothing else is busy on this machine, or not much longer: others may share it."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with Noise(*own) as noise:
            time.sleep(1.0)
        if noise.percent < QUIET:
            return


def quietest(run: Callable[[], list[float]], own: Sequence[int], rounds: int) -> tuple[list[float], str]:
    """The values of the round with the least noise beside it, and a sentence about it. A quiet round is the last."""
    best: tuple[float, list[float]] | None = None
    done = 0
    while done < rounds and (best is None or best[0] >= QUIET):
        wait_for_quiet(*own)
        with Noise(*own) as noise:
            values = run()
        done += 1
        if best is None or noise.percent < best[0]:
            best = (noise.percent, values)
    if best is None:
        raise BenchError("no round was run")
    which = "the only round" if done == 1 else f"the quietest of {done} rounds"
    return best[1], f"{which}: all else on the machine used {best[0]:.0f} % of a core"


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
