"""Real servers and real clients for the end-to-end tests. Each server has its own data directory and port."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OLD_KUBECTL = ROOT / ".tools" / "kubectl-1.20" / "usr" / "bin" / "kubectl"
_numbers = itertools.count(1)


def free_port() -> int:
    """A port that nobody holds now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def free_block(size: int) -> int:
    """The first of so many ports in a row that nobody holds now."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + size):
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        return first


def newest_kubectl() -> Path | None:
    """The kubectl with the highest version beside the one on PATH."""
    first = shutil.which("kubectl")
    if first is None:
        return None
    path = Path(first).resolve()
    named = {p: re.fullmatch(r"kubectl\.(\d+)\.(\d+)", p.name) for p in path.parent.glob("kubectl.*")}
    numbered = [(int(m[1]), int(m[2]), p) for p, m in named.items() if m]
    return max(numbered)[2] if numbered else path


class KubectlError(AssertionError):
    """kubectl said no; `stderr` is what it said."""

    def __init__(self, arguments: Sequence[str], result: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: {result.returncode}\n{result.stdout}{result.stderr}")
        self.stdout, self.stderr = result.stdout, result.stderr


@dataclass
class Kubectl:
    """One kubectl with one kubeconfig and, mostly, one namespace. Calling it gives what it printed."""

    program: Path
    kubeconfig: Path
    namespace: str = ""
    home: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    def command(self, *arguments: str) -> list[str]:
        """The whole command line."""
        here = ["--namespace", self.namespace] if self.namespace else []
        return [str(self.program), *here, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """With the kubeconfig, and a home for its caches."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)}

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run it whatever comes."""
        return subprocess.run(
            self.command(*arguments), env=self.environment, input=stdin, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """stdout; raises KubectlError on any exit code but 0."""
        result = self.run(*arguments, stdin=stdin, timeout=timeout)
        if result.returncode:
            raise KubectlError(arguments, result)
        return result.stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """stderr of a command that must fail."""
        result = self.run(*arguments, stdin=stdin)
        assert result.returncode != 0, f"kubectl {' '.join(arguments)} worked:\n{result.stdout}"
        return result.stderr

    def json(self, *arguments: str) -> Any:
        """What `-o json` prints."""
        return json.loads(self(*arguments, "-o", "json"))

    def apply(self, text: str, *arguments: str) -> str:
        """`kubectl apply -f -`."""
        return self("apply", "-f", "-", *arguments, stdin=text)

    def wait_for(self, what: Callable[[], Any], seconds: float = 45) -> Any:
        """Ask until the answer is true; the answer."""
        end = time.monotonic() + seconds
        while True:
            answer = what()
            if answer:
                return answer
            assert time.monotonic() < end, "it did not come"
            time.sleep(0.05)


class Server:
    """A `parkube server` in a data directory of its own."""

    def __init__(self, directory: Path, *arguments: str, agent: bool = False) -> None:
        self.directory, self.port = directory, free_port()
        self.data_dir, self.kubeconfig = directory / "data", directory / "parkube.yaml"
        self.url = f"https://127.0.0.1:{self.port}"
        self.log = directory / "server.log"
        self.arguments = [*([] if agent else ["--disable-agent"]), *arguments]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30) -> None:
        """Start it and wait until it answers."""
        command = [
            sys.executable, "-m", "parkube.cli", "server", "--data-dir", str(self.data_dir),
            "--https-listen-port", str(self.port), "--write-kubeconfig", str(self.kubeconfig), *self.arguments,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        offset, end = self.log.stat().st_size, time.monotonic() + timeout
        while b"is ready at" not in self.log.read_bytes()[offset:]:
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()}"
            assert time.monotonic() < end, f"the server is not ready:\n{self.log.read_text()}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self.process is not None
        return self.process.pid

    def kubectl(self, program: Path, namespace: str = "") -> Kubectl:
        """A kubectl for this server."""
        return Kubectl(program, self.kubeconfig, namespace, self.directory)


@pytest.fixture(scope="session")
def kubectls() -> dict[str, Path]:
    """The kubectl binaries by nickname: `old` is Debian's 1.20, `new` the newest on the machine."""
    newest = newest_kubectl()
    found = {"old": OLD_KUBECTL, "new": newest or OLD_KUBECTL}
    missing = [str(path) for path in found.values() if not path.exists()]
    assert not missing, f"{missing} missing: run scripts/setup"
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One control plane without a node, for all tests of the session."""
    running = Server(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=["old", "new"])
def kubectl(request: pytest.FixtureRequest, server: Server, kubectls: dict[str, Path]) -> Iterator[Kubectl]:
    """Both kubectls in turn, each test in a namespace of its own."""
    client = server.kubectl(kubectls[request.param])
    name = f"t{next(_numbers)}"
    client("create", "namespace", name)
    client.namespace = name
    yield client
    client.run("delete", "namespace", name, "--wait=false")
