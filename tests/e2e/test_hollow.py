"""A hundred nodes that are real agents without containers: they join, hold one connection each, run a DaemonSet's pods,
and cost the server no more memory than 6,000 of them may. Nothing is timed here: that is the bench's.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509

from tests.e2e.conftest import Kubectl, Server
from tests.e2e.nodes import own_memory_mib
from tests.e2e.test_bad_input import Raw
from tests.e2e.test_workloads import Crowd

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

FIRST, NODES = 10, 100
NODE_KIB = 190  # of the server's PSS, for a node with its pod: 170, and what an allocator may add
EACH = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: garages}
spec:
  selector: {matchLabels: {app: garage}}
  template:
    metadata: {labels: {app: garage}}
    spec: {containers: [{name: app, image: "garage:1", env: [{name: GARAGE, value: one}]}]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server for this test alone: its memory is weighed."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def crowd(own: Server) -> Iterator[Crowd]:
    nodes = Crowd(own)
    yield nodes
    nodes.stop()


def running(client: Kubectl) -> list[Any]:
    """The pods that run, one a node."""
    pods = client.json("get", "pods", "--field-selector=status.phase=Running")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods)
    return list(pods)


def settled_memory_kib(server: Server) -> float:
    """The server's PSS once it does not grow any more."""
    before = 0.0
    for _ in range(10):
        now = own_memory_mib(server.pid)
        if abs(now - before) < 0.5:
            break
        before = now
        time.sleep(2)
    return now * 1024


def own_certificates(server: Server) -> None:
    """Each node comes under its own certificate, and one may not renew another's lease."""
    files = sorted((server.directory / "hollow").glob("hollow-*/agent/tls/client.crt"))
    subjects = [x509.load_pem_x509_certificate(file.read_bytes()).subject.rfc4514_string() for file in files]
    assert subjects == [f"CN=system:node:hollow-{number:04d},O=system:nodes" for number in range(FIRST + NODES)]
    context = ssl.create_default_context(cafile=str(files[0].parent / "server-ca.crt"))
    context.load_cert_chain(files[0], files[0].with_suffix(".key"))
    asks = Raw(server, context)
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert asks("GET", f"{leases}/hollow-0000")[0] == 200
    assert asks("GET", f"{leases}/hollow-0001")[0] == 403


def test_a_hundred_nodes(own: Server, crowd: Crowd, kubectls: dict[str, Path]) -> None:
    client = own.kubectl(kubectls["new"], "default")
    crowd.start(FIRST, 0)
    client.apply(EACH)
    client.wait_for(lambda: len(running(client)) == FIRST, 60)
    before = settled_memory_kib(own)
    process = crowd.start(NODES, FIRST)
    client.wait_for(lambda: len(running(client)) == FIRST + NODES, 90)
    client("rollout", "status", "daemonset/garages", "--timeout=30s")
    nodes = client.json("get", "nodes")["items"]
    assert len(nodes) == FIRST + NODES
    assert all(c["status"] == "True" for n in nodes for c in n["status"]["conditions"] if c["type"] == "Ready")
    own_certificates(own)
    connections = [c for c in psutil.Process(process.pid).net_connections("tcp") if c.status == "ESTABLISHED"]
    assert len(connections) == NODES, "one connection a node, everything in it"
    cost = (settled_memory_kib(own) - before) / NODES
    assert cost <= NODE_KIB, f"a node with its pod costs the server {cost:.0f} KiB"
