"""`make up` where the cluster cannot run: the parking half alone, three garage apps as plain processes.

Leaves out Kubernetes, nodes, containers and the operator: each gate is verified once, at the end, and not again.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from scripts.demo.cluster import PARKUBE, ROOT
from scripts.demo.errors import DemoError, exit_status
from scripts.demo.processes import Processes
from scripts.demo.town import CENTRE, REGISTER

FOLDER = ROOT / ".run"
PORT, BOARD_PORT, GARAGES = 8080, 5100, 3


class Alone:
    """The platform and its garages on loopback."""

    def __init__(
        self, folder: Path = FOLDER, *, port: int = PORT, board_port: int = BOARD_PORT, register: Path = REGISTER
    ) -> None:
        self.folder, self.board_port, self.register = folder, board_port, register
        self.listen = f"127.0.0.1:{port}"
        self.url = f"http://{self.listen}"
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = Processes(folder / "processes")
        secret = folder / "operator-token"
        if not secret.exists():
            secret.write_text(secrets.token_urlsafe(24))
            secret.chmod(0o600)
        self.token = secret.read_text()
        self.env = {
            "PARKUBE_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'platform.sqlite'}",
            "PARKUBE_OPERATOR_TOKEN": self.token, "PARKUBE_WEB_DIR": str(ROOT / "web/dist"),
        }  # fmt: skip

    def start_platform(self) -> None:
        """The platform, with the register imported before it starts."""
        words = ["import-npr", str(self.register)] if self.register.exists() else ["city"]
        done = subprocess.run(
            [PARKUBE, "parking", *words], env={**self.env, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise DemoError(f"the import failed: {done.stderr.strip()[-500:]}")
        self.processes.start("platform", [PARKUBE, "parking", "platform", "--listen", self.listen], env=self.env)
        self.wait("the platform", "platform", lambda: self.ask("GET", "/healthz") is not None)

    def open_garage(self, number: int, garage: dict[str, Any]) -> None:
        """A relay board and a garage app, each a process."""
        name, base = garage["id"], self.board_port + 10 * number
        coil = {"address": "127.0.0.1", "port": base}
        gates = [
            {
                "name": gate, "direction": direction, "relay": {**coil, "coil": coil_number},
                "scanner": {"address": "127.0.0.1", "port": base + 1 + coil_number},
            }
            for coil_number, (gate, direction) in enumerate((("entry", "in"), ("exit", "out")))
        ]  # fmt: skip
        directions = {"in": "entry", "out": "exit"}
        self.ask("PUT", f"/api/v1/operator/garages/{name}", {
            "gates": [{"name": g["name"], "direction": directions[str(g["direction"])]} for g in gates],
            "bookable": True,
        })  # fmt: skip
        token = self.ask("POST", f"/api/v1/operator/garages/{name}/token")["token"]
        config = self.folder / f"{name}.yaml"
        config.write_text(yaml.safe_dump({
            "garage": name, "platformUrl": self.url, "token": token, "dataDir": str(self.folder / name), "gates": gates,
            "testCoil": {**coil, "coil": 7}, "healthPort": base + 5,
        }))  # fmt: skip
        config.chmod(0o600)
        self.processes.start(f"board-{number}", [
            PARKUBE, "parking", "relay-board", "--modbus-port", str(base), "--scanner-port", str(base + 1),
            "--http-port", str(base + 4),
        ])  # fmt: skip
        self.processes.start(f"gate-{number}", [PARKUBE, "parking", "gate", "--config", config])

    def verified(self, garage: str) -> bool:
        """One synthetic gate cycle."""
        found = self.ask("POST", f"/api/v1/operator/garages/{garage}/verify")
        return bool(found and found.get("ok"))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer, None where there is none."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode() if body is not None else None, method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return json.loads(answer.read() or b"{}")
        except (urllib.error.URLError, OSError, ValueError):
            return None

    def wait(self, what: str, process: str, done: Any, within_s: float = 60) -> None:
        """Ask until it is so."""
        end = time.monotonic() + within_s
        while not done():
            self.processes.check(process)
            if time.monotonic() > end:
                raise DemoError(f"{what} was not ready in {within_s:.0f} s:\n{self.processes.last_words(process)}")
            time.sleep(0.5)


def bring_up(town: Alone) -> None:
    """All of it, in order."""
    print("up: starting the parking half alone: platform, garage apps and relay boards as plain processes", flush=True)
    town.start_platform()
    found = town.ask("GET", f"/api/v1/driver/garages?lat={CENTRE[0]}&lon={CENTRE[1]}&limit=60") or {"items": []}
    items = found["items"] or (town.ask("GET", "/api/v1/driver/garages?limit=60") or {"items": []})["items"]
    chosen = [g for g in items if (g.get("capacity") or 0) >= 20][:GARAGES]
    for number, garage in enumerate(chosen):
        town.open_garage(number, garage)
    for number, garage in enumerate(chosen):
        town.wait(f"the gate of {garage['name']}", f"gate-{number}", lambda g=garage["id"]: town.verified(g))
        print(f"up: {garage['name']}: its gate has opened in a synthetic cycle", flush=True)
    print(f"""
The parking half runs alone. Left out: Kubernetes, nodes, containers, and the operator that repeats the gate cycle.

  drivers     {town.url}/
  operators   {town.url}/operator?token={town.token}
  gates       {"  ".join(f"http://127.0.0.1:{town.board_port + 4 + 10 * n}/" for n in range(len(chosen)))}
  take away   make down
""")


if __name__ == "__main__":
    sys.exit(exit_status(lambda: bring_up(Alone())))
