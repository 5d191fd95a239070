"""A Parkube cluster on this machine: one server with its own node, and garages that each join from a namespace.

Knows processes, folders and kubectl; knows nothing of parking beyond the garages' names and labels.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.demo.cleaning import end_containers, remove, unmount_below
from scripts.demo.errors import DemoError
from scripts.demo.network import Network, run
from scripts.demo.processes import Processes

ROOT = Path(__file__).resolve().parents[2]
PARKUBE = ROOT / ".venv/bin/parkube"
PYTHON = ROOT / ".venv/bin/python"


@dataclass
class Cluster:
    """Everything lies under `folder`; `server_site` empty: the server is this machine itself."""

    folder: Path
    prefix: str = "parkube"
    subnet: str = "10.77.0"
    server_site: str = ""
    port: int = 6443
    sites: dict[str, int] = field(default_factory=dict)  # garage sites: name -> number in the subnet

    def __post_init__(self) -> None:
        self.network = Network(self.prefix, self.subnet)
        self.processes = Processes(self.folder / "processes")

    @property
    def address(self) -> str:
        """The server's public address."""
        return self.network.address(2 if self.server_site else 1)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig.yaml"

    @property
    def token(self) -> str:
        """The join token."""
        return (self.folder / "server/server/node-token").read_text().strip()

    def start_server(self, *images: str) -> None:
        """Start the server and wait until it answers. `images`: what it serves as a registry mirror."""
        self.network.up()
        if self.server_site:
            self.network.add_site(self.server_site, 2)
        self._lay_images(self.folder / "server/server/images", images)
        self.processes.start("server", [
            PARKUBE, "server", "--data-dir", self.folder / "server", "--write-kubeconfig", self.kubeconfig,
            "--https-listen-port", str(self.port), "--advertise-address", self.address, "--tls-san", self.address,
            "--node-name", f"{self.prefix}-server", "--node-ip", self.address,
        ], netns=self.network.netns(self.server_site) if self.server_site else "")  # fmt: skip
        self.wait("the server", lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok", "server", 60)

    def start_agent(self, site: str, *labels: str, name: str = "") -> None:
        """Join a node from a namespace of its own."""
        number = self.sites[site]
        self.network.add_site(site, number)
        words: list[str | Path] = [
            PARKUBE, "agent", "--server", f"https://{self.address}:{self.port}", "--token", self.token,
            "--data-dir", self.folder / site, "--config-dir", self.folder / site / "etc", "--node-name", name or site,
            "--node-ip", self.network.address(number),
        ]  # fmt: skip
        for label in labels:
            words += ["--node-label", label]
        self.processes.start(f"agent-{site}", words, netns=self.network.netns(site))

    def kubectl(self, *words: str | Path, check: bool = True, stdin: str | None = None) -> str:
        """kubectl's output."""
        return run(*self.kubectl_words, *words, check=check, stdin=stdin)

    @property
    def kubectl_words(self) -> list[str | Path]:
        """How kubectl begins here: as the administrator of this cluster."""
        environment = ["env", f"KUBECONFIG={self.kubeconfig}", f"HOME={self.folder}"]
        server = f"--server=https://{self.address}:{self.port}"  # the kubeconfig's own is 127.0.0.1
        return [*environment, PARKUBE, "kubectl", server]

    def get(self, *words: str) -> Any:
        """What `kubectl get … -o json` says, None where it fails."""
        try:
            return json.loads(self.kubectl("get", *words, "-o", "json"))
        except (DemoError, ValueError):
            return None

    def wait(self, what: str, done: Callable[[], bool], process: str = "", within_s: float = 120) -> None:
        """Ask until it is so. Raises DemoError when a process it needs has ended, or it takes too long."""
        end = time.monotonic() + within_s
        while not done():
            if process:
                self.processes.check(process)
            if time.monotonic() > end:
                hint = f"; its last words:\n{self.processes.last_words(process)}" if process else ""
                raise DemoError(f"{what} was not ready within {within_s:.0f} seconds{hint}")
            time.sleep(0.25)

    def down(self) -> None:
        """End and remove everything this cluster made."""
        for name in self.processes.names():
            self.processes.stop(name)
        nodes = {site: self.network.netns(site) for site in self.sites}
        nodes["server"] = self.network.netns(self.server_site) if self.server_site else ""
        cleaning = [self._clean_node(site, netns) for site, netns in nodes.items() if (self.folder / site).exists()]
        for process in cleaning:
            process.wait(60)
        end_containers(self.folder)
        unmount_below(self.folder)
        self.network.down([*self.sites, self.server_site])
        remove(self.folder)

    def _clean_node(self, site: str, netns: str) -> subprocess.Popen[bytes]:
        """End a node's containers by the agent's own cleanup, which also gives back addresses and firewall rules."""
        words = [PYTHON, "-m", "parkube.nodeagent.main.cleanup", "--data-dir", self.folder / site]
        enter = ["nsenter", f"--net=/run/netns/{netns}"] if netns and Path(f"/run/netns/{netns}").exists() else []
        quiet = subprocess.DEVNULL
        return subprocess.Popen([*enter, *map(str, words)], stdin=quiet, stdout=quiet, stderr=quiet)

    @staticmethod
    def _lay_images(folder: Path, names: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            source, target = ROOT / f"build/images/{name}.tar", folder / f"{name}.tar"
            if not source.exists():
                raise DemoError(f"the image {source} is missing: run scripts/setup")
            if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
                continue
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:
                shutil.copy(source, target)
