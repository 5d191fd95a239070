"""Workloads over real agents without containers: roll-outs, history, a lost node, and a server killed half-way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Kubectl, Server

pytestmark = pytest.mark.e2e

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "web:1", ports: [{name: http, containerPort: 8080}]}]
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
"""
GATE = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: gate}
spec:
  selector: {matchLabels: {app: gate}}
  updateStrategy: {rollingUpdate: {maxUnavailable: 2}}
  template:
    metadata: {labels: {app: gate}}
    spec: {containers: [{name: gate, image: "gate:1"}]}
"""
NODES = 4


class Crowd:
    """Hollow nodes in processes of their own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._running: list[subprocess.Popen[str]] = []

    def start(self, count: int, first: int) -> subprocess.Popen[str]:
        """That many more nodes; returns once they are registered."""
        process = subprocess.Popen(
            [
                sys.executable, "-m", "parkube.nodeagent.main.hollow", "--server", self._server.url,
                "--token-file", str(self._server.data_dir / "server" / "node-token"), "--count", str(count),
                "--first", str(first), "--data-dir", str(self._server.directory / "hollow"),
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready")
        return process

    def stop(self) -> None:
        """End them all."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with four nodes; hollow-0003 is a process of its own, `lonely`."""
    server = Server(tmp_path_factory.mktemp("workloads"))
    server.start()
    crowd = Crowd(server)
    crowd.start(NODES - 1, 0)
    server.lonely = crowd.start(1, NODES - 1)  # type: ignore[attr-defined]
    yield server
    crowd.stop()
    server.stop()


@pytest.fixture
def both(populated: Server, kubectls: dict[str, Path]) -> Iterator[tuple[Kubectl, Kubectl]]:
    """Both kubectls on one fresh namespace."""
    name = f"w{time.monotonic_ns() % 10**9}"
    old, new = (populated.kubectl(kubectls[k], name) for k in ("old", "new"))
    new("create", "namespace", name)
    yield old, new
    new("delete", "namespace", name, "--timeout=30s")


def _images(kubectl: Kubectl, app: str) -> set[str]:
    pods = kubectl.json("get", "pods", "-l", f"app={app}")["items"]
    return {p["spec"]["containers"][0]["image"] for p in pods if not p["metadata"].get("deletionTimestamp")}


def test_a_deployment_through_its_life(both: tuple[Kubectl, Kubectl]) -> None:
    old, new = both
    new.apply(WEB)
    assert "successfully rolled out" in old("rollout", "status", "deploy/web", "--timeout=30s")
    nodes = {p["spec"]["nodeName"] for p in new.json("get", "pods")["items"]}
    assert len(nodes) == NODES  # spread
    addresses = new.wait_for(lambda: new("get", "endpoints", "web", "-o", "jsonpath={.subsets[0].addresses[*].ip}"))
    assert len(addresses.split()) == 4
    old("set", "image", "deploy/web", "web=web:2")
    new("rollout", "status", "deploy/web", "--timeout=30s")
    assert _images(new, "web") == {"web:2"}
    old("rollout", "undo", "deploy/web")
    old("rollout", "status", "deploy/web", "--timeout=30s")
    assert _images(new, "web") == {"web:1"}
    new("rollout", "restart", "deploy/web")
    new("rollout", "status", "deploy/web", "--timeout=30s")
    history = [line.split()[0] for line in old("rollout", "history", "deploy/web").splitlines() if line[:1].isdigit()]
    assert history == ["2", "3", "4"]
    new("scale", "deploy/web", "--replicas=6")
    new("wait", "--for=jsonpath={.status.readyReplicas}=6", "deploy/web", "--timeout=60s")
    assert "Scaled up replica set" in old("describe", "deploy", "web")


def test_a_daemonset_through_its_life(both: tuple[Kubectl, Kubectl]) -> None:
    old, new = both
    old.apply(GATE)
    new("rollout", "status", "ds/gate", "--timeout=30s")
    assert len(new.json("get", "pods", "-l", "app=gate")["items"]) == NODES
    new("set", "image", "ds/gate", "gate=gate:2")
    old("rollout", "status", "ds/gate", "--timeout=30s")
    assert _images(new, "gate") == {"gate:2"}
    new("rollout", "undo", "ds/gate", "--to-revision=1")
    new("rollout", "status", "ds/gate", "--timeout=30s")
    assert _images(new, "gate") == {"gate:1"}
    history = [line.split()[0] for line in new("rollout", "history", "ds/gate").splitlines() if line[:1].isdigit()]
    assert history == ["2", "3"]


def test_a_server_killed_in_the_middle_of_a_rollout_finishes_it(
    populated: Server, both: tuple[Kubectl, Kubectl]
) -> None:
    _, new = both
    new.apply(WEB)
    new("rollout", "status", "deploy/web", "--timeout=30s")
    new("set", "image", "deploy/web", "web=web:2")
    populated.stop(signal.SIGKILL)
    populated.start()
    new("rollout", "status", "deploy/web", "--timeout=60s")
    new.wait_for(lambda: _images(new, "web") == {"web:2"})
    assert len(new.json("get", "rs")["items"]) == 2


def test_a_lost_node_is_noticed_and_its_pods_move(populated: Server, both: tuple[Kubectl, Kubectl]) -> None:
    _, new = both
    lost = f"hollow-{NODES - 1:04d}"
    new.apply(WEB)
    new("rollout", "status", "deploy/web", "--timeout=30s")
    assert new("get", "pods", "--field-selector", f"spec.nodeName={lost}", "-o", "name")
    lonely: subprocess.Popen[str] = populated.lonely  # type: ignore[attr-defined]
    lonely.send_signal(signal.SIGSTOP)
    try:
        new("wait", "--for=condition=Ready=Unknown", f"node/{lost}", "--timeout=70s", timeout=80)
        keys = new.wait_for(lambda: new("get", "node", lost, "-o", "jsonpath={.spec.taints[*].effect}"))
        assert set(keys.split()) == {"NoExecute", "NoSchedule"}

        def moved() -> bool:
            pods = new.json("get", "pods")["items"]
            ready = [p for p in pods if p["spec"].get("nodeName") != lost and p["status"].get("phase") == "Running"]
            return len(ready) == 4

        new.wait_for(moved, 30)
    finally:
        lonely.send_signal(signal.SIGCONT)
    new("wait", "--for=condition=Ready", f"node/{lost}", "--timeout=60s", timeout=70)
    new.wait_for(lambda: not new("get", "node", lost, "-o", "jsonpath={.spec.taints}"))
    new.wait_for(lambda: not new("get", "pods", "--field-selector", f"spec.nodeName={lost}", "-o", "name"), 30)
