"""A `parkube server` for one measurement: its own folder and loopback port, ended and removed with the `with` block."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_server
from typing import Any

import yaml
from scripts.demo.cleaning import remove
from scripts.demo.processes import Processes

from bench.measure import BenchError, until

ROOT = Path(__file__).resolve().parents[1]
KUBECTL_S = 60.0


def free_port() -> int:
    """A loopback port that nobody holds now."""
    with closing(create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes with the measurement; on disk, for the disk's own time is part of the figures."""
    place = ROOT / "build/bench"
    place.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=place))
    try:
        yield made
    finally:
        remove(made)


@contextmanager
def processes(place: Path) -> Iterator[Processes]:
    """Processes that end with the block, the last first."""
    started = Processes(place / "processes")
    try:
        yield started
    finally:
        for name in started.names():
            started.stop(name)


class Api:
    """The server as its administrator: one kept connection for what is asked often, kubectl for what people do."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
        context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        pem = b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"])
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(file.name)
        self._connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """The answer's JSON, or its text. Raises BenchError on anything but success."""
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, {"Content-Type": kind})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise BenchError(f"{method} {path}: {answer.status} {text[:300].decode(errors='replace')}")
        return json.loads(text) if text.startswith(b"{") else text.decode()

    def read(self, path: str, accept: str) -> tuple[str, bytes]:
        """The answer's Content-Type and its body as it is. Raises BenchError on anything but success."""
        self._connection.request("GET", path, headers={"Accept": accept})
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise BenchError(f"GET {path} as {accept}: {answer.status}")
        return answer.headers["Content-Type"], body

    def kubectl(self, *words: str | Path, stdin: str | None = None) -> str:
        """What the newest kubectl of the machine prints."""
        return kubectl(self.kubeconfig, *words, stdin=stdin)


def kubectl(kubeconfig: Path, *words: str | Path, stdin: str | None = None) -> str:
    """`parkube kubectl …`; its caches lie beside the kubeconfig. Raises BenchError."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(kubeconfig.parent)}
    command = [sys.executable, "-m", "parkube.cli", "kubectl", *map(str, words)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, env=environment, timeout=KUBECTL_S
    )
    if done.returncode:
        raise BenchError(f"kubectl {' '.join(map(str, words[:3]))}: {done.stderr.strip()[-400:]}")
    return done.stdout


class LoopbackServer:
    """A server without a node."""

    def __init__(self, place: Path, running: Processes) -> None:
        self.place, self.running = place, running
        self.port = free_port()
        self.kubeconfig = place / "kubeconfig.yaml"
        self.url = f"https://127.0.0.1:{self.port}"
        self.token_file = place / "data/server/node-token"
        self.pid = 0

    def start(self) -> None:
        """Start it; returns at once."""
        self.pid = self.running.start("server", [
            sys.executable, "-m", "parkube.cli", "server", "--disable-agent", "--data-dir", self.place / "data",
            "--bind-address", "127.0.0.1", "--https-listen-port", str(self.port), "--write-kubeconfig", self.kubeconfig,
        ])  # fmt: skip

    def ready(self) -> Api:
        """Wait until /readyz says ok. Raises BenchError with its last words."""
        try:
            until("the server", self._answers, 60)
        except BenchError as error:
            raise BenchError(f"{error}: {self.running.last_words('server')}") from error
        return Api(self.kubeconfig)

    def _answers(self) -> bool:
        if not self.running.pid("server"):
            raise BenchError("the server ended")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        asking = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=5)
        try:
            asking.request("GET", "/readyz")
            return asking.getresponse().read() == b"ok"
        except OSError:
            return False
        finally:
            asking.close()


def wait_quiet(seconds: float) -> None:
    """Let what was just done settle."""
    time.sleep(seconds)


def copy_into(folder_: Path, *files: Path) -> None:
    """Lay files into a folder that is made for them."""
    folder_.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder_ / file.name)
