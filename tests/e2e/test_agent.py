"""Pods on a real node: containerd, runc, CNI and nftables, in a network namespace of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Kubectl, Server
from tests.e2e.nodes import IMAGE, EdgeNode, cpu_seconds, own_memory_mib, run, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
NODE = "edge-1"


@pytest.fixture(scope="module")
def server_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("agent-server"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def node(server_here: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeNode]:
    edge = EdgeNode(tmp_path_factory.mktemp("edge"), server_here, NODE)
    try:
        edge.start("--node-label", "place=harbour", "--node-taint", "edge=yes:PreferNoSchedule")
        yield edge
    finally:
        edge.close()


@pytest.fixture(scope="module")
def kube(server_here: Server, node: EdgeNode, kubectls: dict[str, Path]) -> Kubectl:
    client = server_here.kubectl(kubectls["new"], "default")
    client("wait", "--for=create", f"node/{NODE}", "--timeout=60s")
    client("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
    client.wait_for(lambda: client.run("get", "serviceaccount", "default").returncode == 0)
    return client


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> str:
    """A pod as kubectl reads it; each container gets the test's image."""
    made = [{"name": f"c{i}", "image": IMAGE, **c} for i, c in enumerate(containers)]
    body = {"containers": made, "terminationGracePeriodSeconds": 1, **spec}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": body}
    )


def shell(script: str, **more: Any) -> dict[str, Any]:
    return {"command": ["/bin/busybox", "sh", "-c", script], **more}


def status(kube: Kubectl, name: str) -> Any:
    return kube.json("get", "pod", name)["status"]


def test_the_node_appears_with_its_labels_taints_and_addresses(kube: Kubectl, node: EdgeNode) -> None:
    found = kube.json("get", "node", NODE)
    assert found["metadata"]["labels"]["place"] == "harbour"
    assert {"key": "edge", "value": "yes", "effect": "PreferNoSchedule"} in found["spec"]["taints"]
    assert {"type": "InternalIP", "address": node.address} in found["status"]["addresses"]
    assert found["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    assert kube("get", "lease", NODE, "-n", "kube-node-lease", "-o", "name")


def test_init_containers_environment_and_volumes(kube: Kubectl, node: EdgeNode) -> None:
    kube("create", "configmap", "settings", "--from-literal=colour=blue", "--from-literal=size=9")
    kube("create", "secret", "generic", "keys", "--from-literal=key=s3cret")
    init = [
        {"name": "first", "image": IMAGE, **shell("echo one >> /work/order"), "volumeMounts": WORK},
        {"name": "second", "image": IMAGE, **shell("echo two >> /work/order"), "volumeMounts": WORK},
    ]
    volumes = [
        {"name": "work", "emptyDir": {}},
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "info", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "host", "hostPath": {"path": str(node.directory / "shared"), "type": "DirectoryOrCreate"}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "BOTH", "value": "$(COLOUR) $(KEY) $$(KEY)"},
    ]
    aliases = [{"ip": "192.0.2.7", "hostnames": ["gate"]}]
    main = shell(
        "busybox grep -c -e $IP.$HOSTNAME -e 192.0.2.7.gate /etc/hosts;"
        "cat /work/order /settings/colour /keys/key /info/labels; echo; echo $COLOUR $KEY $CPU $BOTH $size;"
        "echo host > /host/said; busybox stat -c %a /keys/..data/key; busybox mount | busybox grep ' /memory ';"
        "busybox head -c 3 /var/run/secrets/kubernetes.io/serviceaccount/token; echo;"
        "echo last words > /dev/termination-log; busybox sleep 1000",
        env=env, envFrom=[{"configMapRef": {"name": "settings"}}],
        resources={"limits": {"cpu": "250m", "memory": "32Mi"}},
        volumeMounts=[*WORK, *({"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes[1:])],
    )  # fmt: skip
    kube.apply(pod("rich", main, hostAliases=aliases, initContainers=init, volumes=volumes))
    kube("wait", "--for=condition=Ready", "pod/rich", "--timeout=60s")
    said = kube("logs", "rich")
    assert said.startswith('2\none\ntwo\nblues3cretapp="rich"\nblue s3cret 250 blue s3cret $(KEY) 9\n400\n'), said
    assert "tmpfs on /memory" in said
    assert said.rstrip().endswith("eyJ")
    assert (node.directory / "shared" / "said").read_text() == "host\n"
    kube("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"colour":"red"}}')
    kube.wait_for(lambda: kube("exec", "rich", "--", "/bin/busybox", "cat", "/settings/colour") == "red")
    assert [s["state"]["terminated"]["reason"] for s in status(kube, "rich")["initContainerStatuses"]] == [
        "Completed"
    ] * 2
    kube("delete", "pod", "rich", "--timeout=60s")
    until(lambda: not list((node.data_dir / "agent" / "pods").iterdir()), 5, "the pod's folder is still there")


WORK = [{"name": "work", "mountPath": "/work"}]


def test_a_missing_configmap_and_a_missing_image_are_said_and_mended(kube: Kubectl) -> None:
    needs = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    kube.apply(pod("waits", shell("echo $X; busybox sleep 1000", env=needs)))
    kube.apply(pod("lacks", {"image": "docker.io/parkube/nowhere:1", "imagePullPolicy": "Never"}))

    def reason(name: str) -> str:
        states = status(kube, name).get("containerStatuses") or [{}]
        return str(states[0].get("state", {}).get("waiting", {}).get("reason", ""))

    kube.wait_for(lambda: reason("waits") == "CreateContainerConfigError")
    kube.wait_for(lambda: reason("lacks") == "ErrImageNeverPull")
    assert 'configmap "later" not found' in kube("get", "pod", "waits", "-o", "yaml")
    kube("create", "configmap", "later", "--from-literal=x=came")
    kube("wait", "--for=condition=Ready", "pod/waits", "--timeout=25s")
    assert kube("logs", "waits") == "came\n"
    kube("delete", "pod", "waits", "lacks", "--timeout=60s")


def test_probes_restart_with_back_off_and_ready_follows(kube: Kubectl) -> None:
    sick = shell(
        "busybox touch /tmp/well; busybox sleep 1000", volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],
        livenessProbe={"exec": {"command": ["/bin/busybox", "test", "-e", "/tmp/well"]}, "periodSeconds": 1,
                       "failureThreshold": 2},
        readinessProbe={"exec": {"command": ["/bin/busybox", "test", "-e", "/tmp/well"]}, "periodSeconds": 1},
    )  # fmt: skip
    kube.apply(pod("sick", sick, volumes=[{"name": "tmp", "emptyDir": {}}]))
    kube("wait", "--for=condition=Ready", "pod/sick", "--timeout=60s")
    kube("exec", "sick", "--", "/bin/busybox", "rm", "/tmp/well")
    kube.wait_for(lambda: status(kube, "sick")["containerStatuses"][0]["restartCount"] == 1)
    kube("wait", "--for=condition=Ready", "pod/sick", "--timeout=60s")
    assert "Liveness probe failed" in kube("describe", "pod", "sick")
    kube.apply(pod("crash", shell("echo up; exit 3")))

    def waiting() -> bool:
        return bool("CrashLoopBackOff" in kube("get", "pod", "crash", "-o", "yaml"))

    kube.wait_for(waiting)
    last = status(kube, "crash")["containerStatuses"][0]
    assert last["lastState"]["terminated"]["exitCode"] == 3
    assert "back-off 10s restarting failed container=c0" in last["state"]["waiting"]["message"]
    assert kube("logs", "crash", "--previous") == "up\n"
    kube("delete", "pod", "sick", "crash", "--timeout=60s")


def test_a_job_like_pod_ends_as_succeeded_or_failed(kube: Kubectl) -> None:
    kube.apply(pod("good", shell("exit 0"), restartPolicy="Never"))
    kube.apply(pod("bad", shell("echo why > /dev/termination-log; exit 7"), restartPolicy="Never"))
    kube("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/good", "--timeout=60s")
    kube("wait", "--for=jsonpath={.status.phase}=Failed", "pod/bad", "--timeout=60s")
    ended = status(kube, "bad")["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (7, "why\n")
    greedy = shell("exec busybox dd if=/dev/zero of=/dev/null bs=200M count=1")
    kube.apply(pod("greedy", {**greedy, "resources": {"limits": {"memory": "16Mi"}}}, restartPolicy="Never"))
    kube("wait", "--for=jsonpath={.status.phase}=Failed", "pod/greedy", "--timeout=60s")
    assert status(kube, "greedy")["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"
    uid = kube.json("get", "pod", "greedy")["metadata"]["uid"]
    kube("delete", "pod", "good", "bad", "greedy", "--timeout=60s")
    until(lambda: not list(Path("/sys/fs/cgroup").glob(f"*/kubepods/*/pod{uid}")), 5, "its cgroups are still there")


def test_a_pod_ends_by_its_hook_and_grace(kube: Kubectl, node: EdgeNode) -> None:
    shared = node.directory / "ends"
    volumes = [{"name": "ends", "hostPath": {"path": str(shared), "type": "DirectoryOrCreate"}}]
    mounts = [{"name": "ends", "mountPath": "/ends"}]
    hook = {"preStop": {"exec": {"command": ["/bin/busybox", "sh", "-c", "echo hook >> /ends/order"]}}}
    polite = shell(
        "trap 'echo term >> /ends/order; exit 0' TERM; while true; do busybox sleep 0.1; done",
        volumeMounts=mounts, lifecycle=hook,
    )  # fmt: skip
    kube.apply(pod("polite", polite, volumes=volumes, terminationGracePeriodSeconds=20))
    kube("wait", "--for=condition=Ready", "pod/polite", "--timeout=60s")
    kube("delete", "pod", "polite", "--timeout=60s")
    assert (shared / "order").read_text() == "hook\nterm\n"


def test_services_reach_ready_pods_and_refuse_where_none_is(kube: Kubectl, node: EdgeNode) -> None:
    web = shell(
        "echo page > /www/index.html; exec busybox httpd -f -p 80 -h /www",
        volumeMounts=[{"name": "www", "mountPath": "/www"}], ports=[{"name": "http", "containerPort": 80}],
        readinessProbe={"httpGet": {"port": "http", "path": "/index.html"}, "periodSeconds": 1},
        securityContext={"runAsUser": 1000},
    )  # fmt: skip
    kube.apply(pod("web", web, volumes=[{"name": "www", "emptyDir": {}}]))
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"},
                 "ports": [{"port": 8080, "targetPort": "http", "nodePort": 30199}]},
    }  # fmt: skip
    kube.apply(json.dumps(service))
    kube("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    kube.wait_for(lambda: node.curl(30199, "/index.html") == "page\n")
    assert node.curl(30199, "/index.html", inside=True, host="127.0.0.1") == "page\n"
    ip = kube("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    asked = kube("exec", "web", "--", "/bin/busybox", "wget", "-qO-", f"http://{ip}:8080/index.html")
    assert asked == "page\n"  # a pod reaches itself through its Service
    kube.apply(pod("asks", shell("busybox sleep 1000")))
    kube("wait", "--for=condition=Ready", "pod/asks", "--timeout=60s")
    dial = "busybox nc -w 3 $KUBERNETES_SERVICE_HOST 443 < /dev/null; echo $?; busybox nc -w 3 $IP 8081 2>&1; echo $?"
    answers = kube("exec", "asks", "--", "/bin/busybox", "sh", "-c", f"IP={ip}; {dial}").split("\n")
    assert answers[0] == "0"  # default/kubernetes answers from every pod
    assert answers[-2] == "1"  # a port that the Service lacks does not
    kube("delete", "pod", "web", "--timeout=60s")
    kube.wait_for(lambda: not node.curl(30199, "/index.html"))
    kube("delete", "service/web", "pod/asks", "--timeout=60s")


def test_a_file_on_the_node_is_a_pod_and_the_node_tells_what_it_uses(kube: Kubectl, node: EdgeNode) -> None:
    folder = node.data_dir / "agent/pod-manifests"
    folder.mkdir(exist_ok=True)
    (folder / "keeper.json").write_text(pod("keeper", shell("echo here; busybox sleep 1000")))
    kube("wait", "--for=create", f"pod/keeper-{NODE}", "--timeout=60s")
    kube("wait", "--for=condition=Ready", f"pod/keeper-{NODE}", "--timeout=60s")
    assert kube("logs", f"keeper-{NODE}") == "here\n"
    said = json.loads(kube("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/stats/summary"))
    (used,) = [p for p in said["pods"] if p["podRef"]["name"] == f"keeper-{NODE}"]
    assert 0 < used["memory"]["workingSetBytes"] < 64 << 20
    assert 0 < used["cpu"]["usageCoreNanoSeconds"] < 5e9
    assert said["node"]["fs"]["capacityBytes"] > said["node"]["fs"]["usedBytes"] > 0
    listed = json.loads(kube("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/pods"))["items"]
    assert f"keeper-{NODE}" in [p["metadata"]["name"] for p in listed]
    (folder / "keeper.json").unlink()
    kube("wait", "--for=delete", f"pod/keeper-{NODE}", "--timeout=60s")


def test_a_pod_on_the_hosts_network_has_the_nodes_address(kube: Kubectl, node: EdgeNode) -> None:
    serve = "echo $(busybox hostname) > /www/name; exec busybox httpd -f -p 8091 -h /www"
    mounts = [{"name": "www", "mountPath": "/www"}]
    kube.apply(
        pod("open", shell(serve, volumeMounts=mounts), hostNetwork=True, volumes=[{"name": "www", "emptyDir": {}}])
    )
    kube("wait", "--for=condition=Ready", "pod/open", "--timeout=60s")
    assert status(kube, "open")["podIP"] == node.address
    kube.wait_for(lambda: node.curl(8091, "/name"))
    kube("delete", "pod", "open", "--timeout=60s")


def test_containers_outlive_the_agent_and_are_taken_over(kube: Kubectl, node: EdgeNode) -> None:
    kube.apply(pod("stays", shell("busybox sleep 1000"), volumes=[]))
    kube("wait", "--for=condition=Ready", "pod/stays", "--timeout=60s")
    before = status(kube, "stays")["containerStatuses"][0]
    node.kill()
    assert before["containerID"].removeprefix("containerd://")[:12] in node.ctr("tasks", "ls")
    kube.apply(pod("meanwhile", shell("busybox sleep 1000")))
    node.start()
    kube("wait", "--for=condition=Ready", "pod/meanwhile", "--timeout=60s")
    after = status(kube, "stays")["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    kube("delete", "pod", "meanwhile", "--timeout=60s")


def test_a_killed_containerd_comes_back_and_its_containers_never_notice(kube: Kubectl, node: EdgeNode) -> None:
    before = status(kube, "stays")["containerStatuses"][0]["containerID"]
    os.kill(int((node.data_dir / "agent" / "containerd" / "containerd.pid").read_text()), signal.SIGKILL)
    kube.apply(pod("after", shell("busybox sleep 1000")))
    kube("wait", "--for=condition=Ready", "pod/after", "--timeout=30s")
    assert status(kube, "stays")["containerStatuses"][0]["containerID"] == before
    assert status(kube, "stays")["containerStatuses"][0]["restartCount"] == 0
    kube("delete", "pod", "after", "--timeout=60s")


def test_an_unplugged_node_starts_its_pods_again(kube: Kubectl, node: EdgeNode) -> None:
    shared = node.directory / "lonely"
    volumes = [
        {"name": "out", "hostPath": {"path": str(shared), "type": "DirectoryOrCreate"}},
        {"name": "settings", "configMap": {"name": "settings"}},
    ]
    mounts = [{"name": "out", "mountPath": "/out"}, {"name": "settings", "mountPath": "/settings"}]
    lonely = shell("busybox cat /settings/size >> /out/starts; exec busybox sleep 1000", volumeMounts=mounts)
    kube.apply(pod("lonely", lonely, volumes=volumes))
    kube("wait", "--for=condition=Ready", "pod/lonely", "--timeout=60s")
    node.unplug()
    node.kill()
    for line in node.ctr("tasks", "ls").splitlines()[1:]:  # as after a reboot: nothing runs any more
        node.ctr("tasks", "kill", "-s", "SIGKILL", line.split()[0])
    node.start()
    until(lambda: (shared / "starts").read_text() == "99", 30, "the pod was not started with no network")
    node.plug()
    kube("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
    kube.wait_for(lambda: status(kube, "lonely")["containerStatuses"][0]["restartCount"] >= 1, 40)
    kube("delete", "pod", "lonely", "stays", "--timeout=60s")


def test_an_idle_agent_is_small(kube: Kubectl, node: EdgeNode) -> None:
    begun = cpu_seconds(node.pid)
    kube.apply(pod("idle", shell("busybox sleep 1000")))
    kube("wait", "--for=condition=Ready", "pod/idle", "--timeout=60s")
    kube("delete", "pod", "idle", "--timeout=60s")
    assert own_memory_mib(node.pid) < 40
    assert cpu_seconds(node.pid) - begun < 1.0
    agent = node.inside("ss", "-tnpH", "state", "established", "dport", f"= :{node.server.port}")
    held = run(*agent).strip().splitlines()
    assert len(held) <= 2, held
