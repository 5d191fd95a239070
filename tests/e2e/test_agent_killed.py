"""kill -9 of the agent at any moment, while pods come and while they go: nothing runs twice, nothing is left."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parkube.nodeagent.sync.manager import RELIST_S
from tests.e2e.conftest import Kubectl, Server
from tests.e2e.nodes import IMAGE, EdgeNode, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
PODS = 6
KILLS = 5


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeNode]:
    server = Server(tmp_path / "server")
    server.directory.mkdir()
    server.start()
    node = EdgeNode(tmp_path / "edge", server, "edge-1")
    try:
        node.start()
        yield node
    finally:
        node.close()
        server.stop()


def manifests() -> str:
    run = ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while true; do busybox sleep 0.2; done"]
    items: list[dict[str, Any]] = []
    for number in range(PODS):
        first = {"name": "first", "image": IMAGE, "command": ["/bin/busybox", "sleep", "0.3"]}
        spec = {
            "containers": [{"name": "c", "image": IMAGE, "command": run}], "terminationGracePeriodSeconds": 5,
            "initContainers": [first],
        }  # fmt: skip
        items.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}"}, "spec": spec})
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def kill_often(node: EdgeNode, chance: random.Random) -> None:
    """The agent dies and comes back, again and again."""
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.05, 1.6))
        node.kill()
        node.start()


def running(node: EdgeNode) -> int:
    return sum("RUNNING" in line for line in node.ctr("tasks", "ls").splitlines()[1:])


def test_killed_at_any_moment(edge: EdgeNode, kubectls: dict[str, Path]) -> None:
    kube: Kubectl = edge.server.kubectl(kubectls["new"], "default")
    chance = random.Random(int(os.environ.get("PARKUBE_TEST_SEED", "7")))
    kube("wait", "--for=create", "node/edge-1", "--timeout=60s")
    kube.wait_for(lambda: kube.run("get", "serviceaccount", "default").returncode == 0)
    kube.apply(manifests())
    kill_often(edge, chance)
    kube("wait", "--for=condition=Ready", "pod", "--all", "--timeout=40s")
    # A sandbox and a container each, no second one of anything. What containerd finished making while no agent lived
    # is found by the look every RELIST_S at the latest.
    until(lambda: running(edge) == 2 * PODS, 2 * RELIST_S + 5, "something runs twice")
    kube("delete", "pod", "--all", "--wait=false")
    kill_often(edge, chance)
    kube("wait", "--for=delete", "pod", "--all", "--timeout=40s")
    # A sandbox that containerd finished making while no agent lived is found by the look every RELIST_S at the latest.
    until(lambda: not edge.ctr("containers", "ls", "-q").strip(), 2 * RELIST_S + 5, "containers are left")
    for what in ("pods", "logs"):
        until(lambda what=what: not list((edge.data_dir / "agent" / what).iterdir()), 10, f"{what} are left")
    assert not [p for p in (edge.data_dir / "agent" / "cni" / "parkube").iterdir() if p.name[0].isdigit()]
