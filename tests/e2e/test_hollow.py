"""A hundred hollow nodes, each the real agent under its own certificate, and what one of them costs the server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Kubectl, Server
from tests.e2e.nodes import cpu_seconds, own_memory_mib, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
COUNT = 100
NODE_KIB = 200  # PSS of the server for one idle node: its connection, watches, lease and object
IDLE_CPU = 0.02  # of a core for a hundred nodes


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("hollow-server"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def crowd(quiet: Server) -> Iterator[list[str]]:
    folder = Path("/dev/shm") / f"pkt-hollow-{quiet.port}"
    yield [
        sys.executable, "-m", "parkube.nodeagent.main.hollow", "--server", quiet.url, "--token-file",
        str(quiet.data_dir / "server" / "node-token"), "--count", str(COUNT), "--data-dir", str(folder),
    ]  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)


def test_a_hundred_nodes_join_run_a_daemonset_and_cost_little(
    quiet: Server, crowd: list[str], kubectls: dict[str, Path]
) -> None:
    kube: Kubectl = quiet.kubectl(kubectls["new"], "default")
    kube("get", "nodes")
    before = own_memory_mib(quiet.pid)
    process = subprocess.Popen(crowd, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"ready {COUNT} ")
        until(lambda: kube("get", "nodes").count(" Ready ") == COUNT, 30, "not all nodes are Ready")
        time.sleep(2)  # what came with the joins is over
        grown = (own_memory_mib(quiet.pid) - before) * 1024 / COUNT
        spent, since = cpu_seconds(quiet.pid), time.monotonic()
        time.sleep(6)
        idle = (cpu_seconds(quiet.pid) - spent) / (time.monotonic() - since)
        template = {
            "metadata": {"labels": {"app": "all"}},
            "spec": {"containers": [{"name": "c", "image": "app:1"}]},
        }  # fmt: skip
        kube.apply(json.dumps({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "all"},
            "spec": {"selector": {"matchLabels": {"app": "all"}}, "template": template},
        }))  # fmt: skip
        kube("rollout", "status", "daemonset/all", "--timeout=40s")
        assert kube.json("get", "daemonset", "all")["status"]["numberReady"] == COUNT
        assert grown < NODE_KIB, f"{grown:.0f} KiB a node"
        assert idle < IDLE_CPU, f"{idle:.1%} of a core"
    finally:
        process.terminate()
        process.wait(20)
