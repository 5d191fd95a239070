"""The Python clients that people use, unchanged, each from a namespace to a pod's shell: kubernetes, lightkube, kr8s
and kopf."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kr8s
import kubernetes
import lightkube
import pytest
from kr8s.objects import Deployment as Kr8sDeployment
from kr8s.objects import Pod as Kr8sPod
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.stream import portforward, stream
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod
from lightkube.types import CascadeType, PatchType

from tests.e2e.conftest import Server
from tests.e2e.images import box_tar
from tests.e2e.nodes import EdgeNode, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
BOX = "docker.io/parkube/box:1"
SERVE = [
    "sh",
    "-c",
    "mkdir -p /tmp/w && echo hello from $HOSTNAME > /tmp/w/index.html && echo up && httpd -f -p 8080 -h /tmp/w",
]
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lifts.people.test}
spec:
  group: people.test
  scope: Namespaced
  names: {plural: lifts, singular: lift, kind: Lift}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {floor: {type: integer, minimum: 0}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""
OPERATOR = """
import kopf

@kopf.on.create("people.test", "v1", "lifts")
@kopf.on.update("people.test", "v1", "lifts", field="spec.floor")
def move(spec, patch, body, **_):
    patch.status["at"] = spec["floor"]
    kopf.info(body, reason="Moved", message=f"to floor {spec['floor']}")

@kopf.on.delete("people.test", "v1", "lifts")
def empty(name, **_):
    print("emptied", name, flush=True)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server, one real node with an image, and the CRD of lifts."""
    directory = tmp_path_factory.mktemp("clients")
    server = Server(directory)
    server.start()
    node = EdgeNode(directory / "edge", server, "edge")
    try:
        images = node.data_dir / "agent" / "images"
        images.mkdir(parents=True)
        (images / "box.tar").write_bytes(box_tar(BOX))
        node.start()
        kubectl = server.kubectl(Path("kubectl"))
        kubectl.wait_for(
            lambda: kubectl.run("wait", "--for=condition=Ready", "node/edge", "--timeout=1s").returncode == 0, 40
        )
        kubectl.apply(CRD)
        kubectl("wait", "--for=condition=Established", "crd/lifts.people.test", "--timeout=60s")
        yield server
    finally:
        node.close()
        server.stop()


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    """A web server, as a plain object."""
    labels = {"app": name}
    container = {"name": "web", "image": BOX, "command": SERVE, "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "containers": [container], "terminationGracePeriodSeconds": 0,
            }},
        },
    }  # fmt: skip


def test_kubernetes_the_official_client(cluster: Server) -> None:
    """Typed and dynamic, watches, patches, logs, exec and a forwarded port."""
    api = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))
    core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
    assert kubernetes.client.VersionApi(api).get_code().minor >= "36"
    core.create_namespace({"metadata": {"name": "official"}})
    until(lambda: any(s.metadata.name == "default" for s in core.list_namespaced_service_account("official").items))

    made = apps.create_namespaced_deployment("official", deployment("web"))
    assert made.metadata.uid
    assert made.spec.strategy.type == "RollingUpdate"
    seen = []
    for event in kubernetes.watch.Watch().stream(
        apps.list_namespaced_deployment, "official", label_selector="app=web", timeout_seconds=40
    ):
        seen.append(event["type"])
        if event["object"].status.ready_replicas == 1:
            break
    assert seen[0] == "ADDED"
    assert "MODIFIED" in seen

    pod = core.list_namespaced_pod("official", label_selector="app=web").items[0]
    name = pod.metadata.name
    assert core.read_namespaced_pod_log(name, "official") == "up\n"
    said = stream(
        core.connect_get_namespaced_pod_exec, name, "official", command=["cat", "/tmp/w/index.html"],
        stdout=True, stderr=True, stdin=False, tty=False,
    )  # fmt: skip
    assert said == f"hello from {name}\n"
    forwarded = portforward(core.connect_get_namespaced_pod_portforward, name, "official", ports="8080")
    socket = forwarded.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while chunk := socket.recv(4096):
        answer += chunk
    assert f"hello from {name}".encode() in answer

    scaled = apps.patch_namespaced_deployment_scale("web", "official", {"spec": {"replicas": 2}})
    assert scaled.spec.replicas == 2
    core.patch_namespaced_pod(name, "official", [{"op": "add", "path": "/metadata/labels/x", "value": "1"}])
    assert [p.metadata.name for p in core.list_namespaced_pod("official", label_selector="x in (1,2)").items] == [name]
    with pytest.raises(ApiException) as refused:
        core.create_namespaced_config_map("official", {"metadata": {"name": "Not A Name"}})
    assert json.loads(refused.value.body)["details"]["causes"][0]["field"] == "metadata.name"

    lifts = DynamicClient(api).resources.get(api_version="people.test/v1", kind="Lift")
    lifts.create(namespace="official", body={**lift("a", 3)})
    assert lifts.get(name="a", namespace="official").spec.floor == 3
    changed = lifts.server_side_apply(
        namespace="official", name="a", body=lift("a", 4), field_manager="tests", force_conflicts=True
    )
    assert changed.spec.floor == 4
    assert "tests" in {m.manager for m in changed.metadata.managedFields}
    core.delete_namespace("official")
    until(lambda: "official" not in {n.metadata.name for n in core.list_namespace().items}, 40)
    api.close()


def lift(name: str, floor: int) -> dict[str, Any]:
    """One custom resource."""
    return {"apiVersion": "people.test/v1", "kind": "Lift", "metadata": {"name": name}, "spec": {"floor": floor}}


def test_lightkube(cluster: Server) -> None:
    """Dataclasses, apply, waits, scale, logs, a custom resource and a delete that cascades."""
    config = lightkube.KubeConfig.from_file(str(cluster.kubeconfig))
    client = lightkube.Client(config=config, namespace="light", field_manager="tests")
    client.create(Namespace(metadata=ObjectMeta(name="light")))
    until(lambda: cluster.kubectl(Path("kubectl"), "light").run("get", "sa", "default").returncode == 0)
    wanted = Deployment(
        metadata=ObjectMeta(name="web", namespace="light"),
        spec=DeploymentSpec(
            replicas=1,
            selector=LabelSelector(matchLabels={"app": "web"}),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels={"app": "web"}),
                spec=PodSpec(
                    containers=[Container(name="web", image=BOX, command=SERVE)], terminationGracePeriodSeconds=0
                ),
            ),
        ),
    )
    client.apply(wanted)
    client.wait(Deployment, "web", for_conditions=["Available"], namespace="light")
    pod = next(iter(client.list(Pod, labels={"app": "web"})))
    assert pod.metadata is not None
    assert pod.metadata.name is not None
    assert list(client.log(pod.metadata.name)) == ["up\n"]
    scale = client.get(Deployment.Scale, "web")
    scale.spec = ScaleSpec(replicas=2)
    assert client.replace(scale, "web").spec == ScaleSpec(replicas=2)  # type: ignore[call-overload]

    client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "1"}))
    client.patch(ConfigMap, "c", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    assert client.get(ConfigMap, "c").data == {"a": "1", "b": "2"}
    with pytest.raises(ApiError) as refused:
        client.create(ConfigMap(metadata=ObjectMeta(name="c")))
    assert refused.value.status.reason == "AlreadyExists"

    kind = create_namespaced_resource("people.test", "v1", "Lift", "lifts")
    client.create(kind(metadata=ObjectMeta(name="b"), spec={"floor": 1}))
    assert client.get(kind, "b").spec == {"floor": 1}
    client.delete(Deployment, "web", cascade=CascadeType.FOREGROUND)
    until(lambda: not list(client.list(Pod, labels={"app": "web"})), 30)
    client.delete(Namespace, "light")


def test_kr8s(cluster: Server) -> None:
    """Objects that know their verbs: ready, scale, pods, logs, exec, label, a forwarded port."""
    api = kr8s.api(kubeconfig=str(cluster.kubeconfig))
    space = kr8s.objects.Namespace({"metadata": {"name": "kr8s"}}, api=api)
    space.create()
    until(lambda: cluster.kubectl(Path("kubectl"), "kr8s").run("get", "sa", "default").returncode == 0)
    body = deployment("web")
    body["metadata"]["namespace"] = "kr8s"
    web = Kr8sDeployment(body, api=api)
    web.create()
    until(web.ready, 40)
    [pod] = web.pods()
    assert isinstance(pod, Kr8sPod)
    assert list(pod.logs()) == ["up"]
    assert pod.exec(["echo", "hello"]).stdout == b"hello\n"
    with pod.portforward(remote_port=8080, local_port="auto") as port:
        said = subprocess.run(
            ["curl", "-s", "--max-time", "10", f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
        )
    assert said.stdout == f"hello from {pod.name}\n"
    web.label({"seen": "yes"})
    assert [d.name for d in api.get("deployments", namespace="kr8s", label_selector="seen=yes")] == ["web"]
    web.scale(0)
    until(lambda: not list(api.get("pods", namespace="kr8s")), 30)
    assert {"default", "kr8s"} <= {str(n.name) for n in api.get("namespaces")}
    space.delete()


def test_kopf_runs_an_operator(cluster: Server, tmp_path: Path) -> None:
    """Its handlers see a resource made, changed and deleted; its status, events and finalizer work."""
    kubectl = cluster.kubectl(Path("kubectl"), "operated")
    kubectl("create", "namespace", "operated")
    (tmp_path / "lifts.py").write_text(textwrap.dedent(OPERATOR))
    command = [sys.executable, "-m", "kopf", "run", "--namespace", "operated", str(tmp_path / "lifts.py")]
    log = (tmp_path / "log").open("w+")
    operator = subprocess.Popen(command, env=kubectl.environment, stdout=log, stderr=log)
    try:
        kubectl.apply(json.dumps(lift("c", 5)))
        kubectl.wait_for(lambda: kubectl.json("get", "lift", "c").get("status", {}).get("at") == 5, 30)
        assert kubectl.json("get", "lift", "c")["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        kubectl("patch", "lift", "c", "--type=merge", "-p", '{"spec": {"floor": 6}}')
        kubectl.wait_for(lambda: kubectl.json("get", "lift", "c")["status"].get("at") == 6, 30)
        kubectl.wait_for(lambda: "to floor 6" in kubectl("get", "events"), 20)
        kubectl("delete", "lift", "c", "--timeout=30s")
        assert "emptied c" in (tmp_path / "log").read_text()
    finally:
        operator.terminate()
        operator.wait(20)
        log.close()
