"""An edge node for end-to-end tests: a network namespace with its own agent and containerd, and a cable to us."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.runtime.pause import architecture, oci_image
from tests.e2e.conftest import Server

IMAGE = "docker.io/parkube/busybox:test"
_numbers = itertools.count(1)


def busybox_tar() -> bytes:
    """An image whose one program is Debian's static busybox, as its shell and whatever applet is named."""
    program = Path("/bin/busybox")
    assert program.exists(), "busybox-static is missing: run scripts/setup"
    return oci_image(IMAGE, {"bin/busybox": program.read_bytes()}, architecture(), Entrypoint=["/bin/busybox"])


def run(*words: str, check: bool = True) -> str:
    """A command's output."""
    return subprocess.run(words, check=check, capture_output=True, text=True).stdout


class EdgeNode:
    """`start`, `kill`, `unplug`, `plug`; `curl` asks from outside, over the cable."""

    def __init__(self, directory: Path, server: Server, name: str) -> None:
        number = os.getpid() % 200 * 256 + next(_numbers)
        self.name, self.server, self.directory = name, server, directory
        self.netns, self._cable = f"pkt-{os.getpid()}-{number % 256}", f"pkt{number}"
        base = 4 * (number % 16384)
        self.gateway = f"10.{90 + base // 65536}.{base // 256 % 256}.{base % 256 + 1}"
        self.address = f"10.{90 + base // 65536}.{base // 256 % 256}.{base % 256 + 2}"
        self.data_dir, self.log = directory / "data", directory / "agent.log"
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        run("ip", "netns", "add", self.netns)
        run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.netns)
        run("ip", "addr", "add", f"{self.gateway}/30", "dev", self._cable)
        run("ip", "-n", self.netns, "addr", "add", f"{self.address}/30", "dev", "eth0")
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        self.plug()

    def plug(self) -> None:
        """The cable works."""
        run("ip", "link", "set", self._cable, "up")
        run("ip", "-n", self.netns, "link", "set", "eth0", "up")
        run("ip", "-n", self.netns, "route", "replace", "default", "via", self.gateway)

    def unplug(self) -> None:
        """The node is cut off."""
        run("ip", "link", "set", self._cable, "down")

    def inside(self, *words: str) -> list[str]:
        """A command line that runs in the node's network."""
        return ["nsenter", f"--net=/run/netns/{self.netns}", *words]

    def start(self, *arguments: str) -> None:
        """Start the agent."""
        images = self.data_dir / "agent" / "images"
        if not images.exists():
            images.mkdir(parents=True)
            (images / "busybox.tar").write_bytes(busybox_tar())
        command = self.inside(
            sys.executable, "-m", "parkube.cli", "agent", "--server", f"https://{self.gateway}:{self.server.port}",
            "--token-file", str(self.server.data_dir / "server" / "node-token"), "--node-name", self.name,
            "--data-dir", str(self.data_dir), "--config-dir", str(self.directory / "etc"), *arguments,
        )  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """The agent's process (nsenter becomes it)."""
        assert self.process is not None
        return self.process.pid

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the agent alone; its containers run on."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)

    def ctr(self, *words: str) -> str:
        """containerd's own view."""
        socket = AgentConfig(server="", data_dir=self.data_dir).runtime_socket
        return run("ctr", "--address", str(socket), "--namespace", "k8s.io", *words)

    def curl(self, port: int, path: str = "/", *, inside: bool = False, host: str = "") -> str:
        """What the node's address answers on that port; empty when it does not."""
        words = ["curl", "-s", "--max-time", "3", "--noproxy", "*", f"http://{host or self.address}:{port}{path}"]
        return run(*(self.inside(*words) if inside else words), check=False)

    def close(self) -> None:
        """End everything and unplug for good."""
        self.kill(signal.SIGTERM)
        run(*self.inside(sys.executable, "-m", "parkube.nodeagent.main.cleanup", "--data-dir", str(self.data_dir)))
        run("ip", "netns", "del", self.netns)
        run("ip", "link", "del", self._cable, check=False)


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_memory_mib(pid: int) -> float:
    """PSS of a process."""
    line = next(x for x in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if x.startswith("Pss:"))
    return int(line.split()[1]) / 1024


def until(what: Callable[[], Any], seconds: float = 20, why: str = "") -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < end, why or "it did not come"
        time.sleep(0.1)
