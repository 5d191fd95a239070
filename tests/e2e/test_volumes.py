"""A claim of the default class on a real node: what a pod writes, its successor reads; what nobody claims is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Kubectl, Server
from tests.e2e.nodes import IMAGE, EdgeNode, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("volumes-server"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def node(server_here: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeNode]:
    edge = EdgeNode(tmp_path_factory.mktemp("volumes-edge"), server_here, "edge-1")
    try:
        edge.start()
        yield edge
    finally:
        edge.close()


@pytest.fixture(scope="module")
def kube(server_here: Server, node: EdgeNode, kubectls: dict[str, Path]) -> Kubectl:
    client = server_here.kubectl(kubectls["new"], "default")
    client("wait", "--for=create", f"node/{node.name}", "--timeout=60s")
    client("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=60s")
    client.wait_for(lambda: client.run("get", "serviceaccount", "default").returncode == 0)
    return client


def claim(name: str, **spec: Any) -> str:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}, **spec}
    return json.dumps({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": wanted})


def pod(name: str, script: str, volume: dict[str, Any], **mount: Any) -> str:
    container = {
        "name": "c", "image": IMAGE, "command": ["/bin/busybox", "sh", "-c", f"{script}; exec busybox sleep 1000"],
        "volumeMounts": [{"name": "data", "mountPath": "/data", **mount}], "securityContext": {"runAsUser": 1000},
    }  # fmt: skip
    spec = {"containers": [container], "volumes": [{"name": "data", **volume}], "terminationGracePeriodSeconds": 0}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def test_what_a_pod_writes_its_successor_reads_and_the_directory_goes_with_the_claim(
    kube: Kubectl, node: EdgeNode
) -> None:
    mine = {"persistentVolumeClaim": {"claimName": "ledger"}}
    storage = node.data_dir / "storage"
    kube.apply(claim("ledger"))
    assert "local-path (default)" in kube("get", "storageclass")
    kube.apply(pod("writer", "echo 42 > /data/stays", mine))
    kube("wait", "--for=condition=Ready", "pod/writer", "--timeout=60s")
    (directory,) = storage.iterdir()
    volume = kube("get", "pvc", "ledger", "-o", "jsonpath={.spec.volumeName}")
    assert directory.name == f"{volume}_default_ledger"
    until(lambda: (directory / "stays").exists())
    kube("delete", "pvc", "ledger", "--wait=false")
    assert "Terminating" in kube("get", "pvc", "ledger")  # a pod uses it
    kube("delete", "pod", "writer", "--timeout=60s")
    kube("wait", "--for=delete", "pvc/ledger", "--timeout=60s")
    until(lambda: not list(storage.iterdir()), 10, "the directory of a claim that is gone is still there")
    kube("wait", "--for=delete", f"pv/{volume}", "--timeout=60s")

    kube.apply(claim("kept"))
    mine = {"persistentVolumeClaim": {"claimName": "kept"}}
    kube.apply(pod("first", "echo 43 > /data/stays", mine, subPath="below"))
    kube("wait", "--for=condition=Ready", "pod/first", "--timeout=60s")
    until(lambda: list(storage.glob("*/below/stays")))
    kube("delete", "pod", "first", "--timeout=60s")
    kube.apply(pod("second", "cat /data/below/stays", mine))
    kube("wait", "--for=condition=Ready", "pod/second", "--timeout=60s")
    assert kube("logs", "second") == "43\n"
    ephemeral = {"ephemeral": {"volumeClaimTemplate": {"spec": json.loads(claim("x"))["spec"]}}}
    kube.apply(pod("third", "echo scratch > /data/x", ephemeral))
    kube("wait", "--for=condition=Ready", "pod/third", "--timeout=60s")
    assert len(list(storage.iterdir())) == 2
    kube("delete", "pod", "second", "third", "--timeout=60s")
    kube("delete", "pvc", "kept", "--timeout=60s")
    until(lambda: not list(storage.iterdir()), 20, "a directory is still there")


def test_an_images_files_are_a_volume(kube: Kubectl) -> None:
    source = {"image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}
    kube.apply(pod("reader", "busybox ls /data/bin; busybox touch /data/x 2>&1", source))
    kube("wait", "--for=condition=Ready", "pod/reader", "--timeout=60s")
    kube.wait_for(lambda: "Read-only" in kube("logs", "reader"))
    assert kube("logs", "reader").startswith("busybox\n")
    kube("delete", "pod", "reader", "--timeout=60s")


def test_a_volume_that_outgrows_its_limit_costs_the_pod_its_place(kube: Kubectl) -> None:
    kube.apply(pod("greedy", "busybox head -c 200000 /dev/zero > /data/x", {"emptyDir": {"sizeLimit": "64Ki"}}))
    kube("wait", "--for=jsonpath={.status.phase}=Failed", "pod/greedy", "--timeout=40s")
    status = kube.json("get", "pod", "greedy")["status"]
    assert status["reason"] == "Evicted"
    assert 'Usage of EmptyDir volume "data" exceeds the limit "64Ki".' in status["message"]
    kube("delete", "pod", "greedy", "--timeout=60s")
