"""Starts processes that outlive us and remembers them in a folder, so that a later command can end just those."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts.demo.errors import DemoError


class Processes:
    """Processes of one demonstration; a file with pid and start time for each under `folder`, its output beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def start(
        self, name: str, command: Sequence[str | Path], *, netns: str = "", env: Mapping[str, str] | None = None
    ) -> int:
        """Start in a session of its own, in a network namespace if named; its pid. One that runs already is kept."""
        running = self.pid(name)
        if running:
            return running
        words = [str(word) for word in command]
        if netns:
            words = ["nsenter", f"--net=/run/netns/{netns}", *words]
        with self.log(name).open("ab") as out:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        (self.folder / f"{name}.pid").write_text(f"{process.pid} {_born(process.pid)}")
        return process.pid

    def pid(self, name: str) -> int:
        """The pid, 0 when it does not run any more."""
        try:
            pid, born = (self.folder / f"{name}.pid").read_text().split()
        except (OSError, ValueError):
            return 0
        return int(pid) if _born(int(pid)) == born else 0

    def log(self, name: str) -> Path:
        """Where its output goes."""
        return self.folder / f"{name}.log"

    def last_words(self, name: str, lines: int = 5) -> str:
        """The end of its output."""
        try:
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def check(self, name: str) -> None:
        """Raise DemoError with its last words when it has ended."""
        if not self.pid(name):
            raise DemoError(f"{name} has ended (its output is in {self.log(name)}):\n{self.last_words(name)}")

    def stop(self, name: str, *, signal_: int = signal.SIGTERM, wait_s: float = 10.0) -> None:
        """End it, and by force after `wait_s` seconds."""
        for number, patience_s in ((signal_, wait_s), (signal.SIGKILL, 5.0)):
            pid = self.pid(name)
            if not pid:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            end = time.monotonic() + patience_s
            while self.pid(name) and time.monotonic() < end:
                _reap(pid)
                time.sleep(0.05)
        (self.folder / f"{name}.pid").unlink(missing_ok=True)

    def names(self) -> list[str]:
        """All that were started and not stopped, the last first."""
        files = sorted(self.folder.glob("*.pid"), key=lambda file: file.stat().st_mtime, reverse=True)
        return [file.stem for file in files]


def descendants(root: int) -> Iterator[int]:
    """All processes below a process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            todo.append(child)
            yield child


def mentioning(path: Path) -> list[int]:
    """Our processes, containerd and its shims that name a path: not a pager or a shell that happens to name it too."""
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = cmdline.read_bytes().decode(errors="replace").split("\0")
            names = [Path(word).name for word in words[:3]]
            ours = any(n in ("parkube", "parkube.cli", "containerd") or n.startswith("containerd-shim") for n in names)
            if ours and any(str(path) in word for word in words) and int(cmdline.parent.name) != os.getpid():
                found.append(int(cmdline.parent.name))
    return found


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _born(pid: int) -> str:
    """The process's start time in ticks: with the pid it is unmistakable. Empty when it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
