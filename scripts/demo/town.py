"""The parking half on a cluster: platform, operator, imported register, and garages whose gates open.

Everything is done as a person would do it: kubectl, HTTP, and the relay boards' own pages.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from scripts.demo.cluster import PARKUBE, ROOT, Cluster
from scripts.demo.errors import DemoError

REGISTER = ROOT.parent / "shared/data/nl_npr_facilities_2019.csv"
CENTRE = (52.3731, 4.8926)  # where the demonstration's garages are looked for
MODBUS_PORT, SCANNER_PORT, BOARD_PORT = 5020, 4001, 8090
NODE_PORT = 30080


class Town:
    """The parking half on one cluster, with a garage at each of the cluster's sites."""

    def __init__(self, cluster: Cluster, interval: str = "10m") -> None:
        self.cluster = cluster
        self.interval = interval
        self.secrets = cluster.folder / "platform-secrets.json"

    @property
    def url(self) -> str:
        """The platform's public URL."""
        return f"http://{self.cluster.address}:{NODE_PORT}"

    @property
    def platform_data(self) -> Path:
        """Where the platform's database lies on its node."""
        return self.cluster.folder / "platform"

    @property
    def operator_token(self) -> str:
        """The operator's token; made once."""
        if not self.secrets.exists():
            self.secrets.write_text(json.dumps({"operator": secrets.token_urlsafe(24)}))
            self.secrets.chmod(0o600)
        return str(json.loads(self.secrets.read_text())["operator"])

    def deploy(self) -> None:
        """Put platform and operator on the cluster, and wait until the platform answers."""
        cluster = self.cluster
        cluster.kubectl("apply", "-k", self._overlay())
        settings = [
            {
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "platform", "namespace": "parkube"},
                "stringData": {
                    "databaseUrl": "sqlite+aiosqlite:////data/platform.sqlite", "operatorToken": self.operator_token,
                },
            },
            {
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "platform", "namespace": "parkube"},
                "data": {
                    "publicUrl": self.url, "garageImage": "docker.io/parkube/garage:dev",
                    "garageData": str(cluster.folder / "journals"),
                },
            },
        ]  # fmt: skip
        cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(settings))
        established = "--for=condition=Established"
        cluster.kubectl("wait", established, "crd/garages.parkube.io", "crd/tariffs.parkube.io", "--timeout=30s")
        cluster.kubectl("apply", "-f", ROOT / "deploy/demo/tariff.yaml")
        try:
            cluster.wait("the platform", self._platform_answers, "server", 120)
        except DemoError as error:
            pods = cluster.kubectl("-n", "parkube", "get", "pods", "-o", "wide", check=False)
            raise DemoError(f"{error}\n{pods}") from error

    def _overlay(self) -> Path:
        """The base on the server's own node, the platform's database below this cluster's folder: it goes with it.

        In the words of kustomize 2, which kubectl 1.20 has; the newer ones still know them.
        """
        folder, claim = self.cluster.folder / "deploy", {"name": "data", "hostPath": {"path": str(self.platform_data)}}
        folder.mkdir(exist_ok=True)
        here = {"node-role.kubernetes.io/control-plane": "true"}
        patches = [
            {
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "parkube"},
                "spec": {"template": {"spec": {"nodeSelector": here, **more}}},
            }
            for name, more in (("platform", {"volumes": [claim]}), ("operator", {}))
        ]  # fmt: skip
        base = os.path.relpath(ROOT / "deploy/base", folder.resolve())
        (folder / "patches.yaml").write_text(yaml.safe_dump_all(patches))
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "bases": [base],
            "patchesStrategicMerge": ["patches.yaml"],
        }))  # fmt: skip
        return folder

    def import_register(self) -> str:
        """Import the register of car parks, or the small generated city where the file is not here."""
        exec_ = [
            *self.cluster.kubectl_words, "-n", "parkube", "exec", "-i", "deploy/platform", "--", "python3", "-m",
            "parkube.cli", "parking",
        ]  # fmt: skip
        here = REGISTER.exists()
        words = [*exec_, "import-npr", "/dev/stdin"] if here else [*exec_, "city"]
        with (REGISTER if here else Path("/dev/null")).open("rb") as source:
            done = subprocess.run(words, stdin=source, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"the import failed: {(done.stderr or done.stdout).strip()[-800:]}")
        return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "imported"

    def choose_garages(self) -> dict[str, Any]:
        """A garage of the register for each site, the nearest to the centre with enough bays."""
        at = f"lat={CENTRE[0]}&lon={CENTRE[1]}&limit=60"
        if not REGISTER.exists():
            at = "limit=60"
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found[:] = [g for g in self.ask(f"/api/v1/driver/garages?{at}")["items"] if (g.get("capacity") or 0) >= 20]
            return len(found) >= len(self.cluster.sites)

        self.cluster.wait("the search for garages with bays near the centre", enough, within_s=60)
        return dict(zip(self.cluster.sites, found, strict=False))

    def open_garage(self, site: str, garage: dict[str, Any]) -> None:
        """A relay board, a node that carries the garage's label, and the Garage that names it."""
        address = self.cluster.network.address(self.cluster.sites[site])
        self.start_board(site)
        self.cluster.start_agent(site, f"parkube.io/garage={garage['id']}")
        self.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(self.garage(garage, address)))

    def start_board(self, site: str) -> None:
        """The gate controller of a site, a process of its own in the site's namespace."""
        self.cluster.network.add_site(site, self.cluster.sites[site])
        self.cluster.processes.start(f"board-{site}", [
            PARKUBE, "parking", "relay-board", "--host", "0.0.0.0", "--modbus-port", str(MODBUS_PORT),
            "--scanner-port", str(SCANNER_PORT), "--http-port", str(BOARD_PORT),
        ], netns=self.cluster.network.netns(site))  # fmt: skip

    def garage(self, garage: dict[str, Any], address: str) -> dict[str, Any]:
        """The Garage resource of one of the register's garages, with its board at `address`."""
        board = {"address": address, "port": MODBUS_PORT}
        gates = [
            {
                "name": name, "direction": direction, "relay": {**board, "coil": number},
                "scanner": {"address": address, "port": SCANNER_PORT + number},
            }
            for number, (name, direction) in enumerate((("entry", "in"), ("exit", "out")))
        ]  # fmt: skip
        location = {"latitude": garage["latitude"], "longitude": garage["longitude"], "city": garage.get("city") or ""}
        return {
            "apiVersion": "parkube.io/v1", "kind": "Garage",
            "metadata": {"name": garage["id"], "namespace": "parkube"},
            "spec": {
                "displayName": garage["name"], "location": location, "tariff": "centre", "gates": gates,
                "bays": [{"kind": "standard", "count": garage["capacity"]}],
                "testCoil": {**board, "coil": 7}, "verify": {"interval": self.interval},
            },
        }  # fmt: skip

    def verified(self, garage: str) -> str:
        """The condition Verified of a garage: True, False, Unknown, or nothing yet."""
        found = self.cluster.get("-n", "parkube", "garage", garage) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return str(next((c["status"] for c in conditions if c["type"] == "Verified"), ""))

    def board(self, site: str) -> str:
        """The URL of a site's relay board."""
        return f"http://{self.cluster.network.address(self.cluster.sites[site])}:{BOARD_PORT}"

    def ask(self, path: str) -> Any:
        """GET a JSON answer of the platform. Raises DemoError."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise DemoError(f"the platform at {self.url} does not answer: {error}") from error

    def _platform_answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
