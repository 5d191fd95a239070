"""What containers see of what their pod asks for: rights, users, files, names, cgroups, and a resize while they run."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Kubectl, Server
from tests.e2e.nodes import IMAGE, EdgeNode

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
NODE = "edge"
NET_BIND, SYS_TIME = 1 << 10, 1 << 25  # capability bits
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}
RIGHTS = "busybox grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd|Groups):' /proc/self/status"
LIMITS = (
    "/memory/memory.limit_in_bytes /cpu/cpu.cfs_quota_us /cpu/cpu.shares"
    if Path("/sys/fs/cgroup/memory").exists()
    else "/memory.max /cpu.max /cpu.weight"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, EdgeNode]]:
    directory = tmp_path_factory.mktemp("inside")
    server = Server(directory)
    server.start()
    edge = EdgeNode(directory / "edge", server, NODE)
    profiles = edge.data_dir / "agent" / "seccomp" / "own"
    profiles.mkdir(parents=True)
    (profiles / "no-mkdir.json").write_text(json.dumps(NO_MKDIR))
    try:
        edge.start()
        yield server, edge
    finally:
        edge.close()
        server.stop()


@pytest.fixture(scope="module")
def kube(world: tuple[Server, EdgeNode], kubectls: dict[str, Path]) -> Kubectl:
    client = world[0].kubectl(kubectls["new"], "default")
    client("wait", "--for=create", f"node/{NODE}", "--timeout=60s")
    client("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
    client.wait_for(lambda: client.run("get", "serviceaccount", "default").returncode == 0)
    return client


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    """A container that runs a script and then stays."""
    stay = f"{script}; exec busybox sleep 1000"
    return {"name": name, "image": IMAGE, "command": ["/bin/busybox", "sh", "-c", stay], **more}


def run(kube: Kubectl, name: str, *containers: dict[str, Any], **spec: Any) -> None:
    """Start a pod and wait until it is ready."""
    body = {"containers": containers, "terminationGracePeriodSeconds": 0, **spec}
    kube.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}))
    kube("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def rights(kube: Kubectl, name: str, container: str) -> dict[str, str]:
    """The lines of /proc/self/status that a container printed."""
    lines = [line.partition(":") for line in kube("logs", name, "-c", container).splitlines()]
    return {key: value.strip() for key, colon, value in lines if colon}


def test_a_container_has_the_rights_that_it_is_given_and_no_others(kube: Kubectl) -> None:
    run(
        kube, "rights",
        container(
            "least", f"{RIGHTS}; busybox touch /file 2>&1; echo user:$(busybox id -u).$(busybox id -g);"
            "busybox touch /shared/file; echo file:$(busybox stat -c %g.%a /shared)",
            volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
            securityContext={
                "runAsUser": 1000, "runAsGroup": 3000, "runAsNonRoot": True, "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"},
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        ),
        container(
            "more", f"{RIGHTS}; busybox mkdir /made && echo made:yes",
            securityContext={"capabilities": {"add": ["SYS_TIME"], "drop": ["NET_BIND_SERVICE"]}},
        ),
        container(
            "local", f"{RIGHTS}; busybox mkdir /made 2>&1",
            securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "own/no-mkdir.json"}},
        ),
        volumes=[{"name": "shared", "emptyDir": {}}],
        securityContext={"fsGroup": 2000, "supplementalGroups": [4000], "seccompProfile": {"type": "Unconfined"}},
    )  # fmt: skip
    least, more, local = (rights(kube, "rights", name) for name in ("least", "more", "local"))
    assert (least["Seccomp"], least["NoNewPrivs"], int(least["CapBnd"], 16)) == ("2", "1", NET_BIND)
    assert (int(least["CapEff"], 16), least["user"]) == (0, "1000.3000")
    assert {"2000", "4000"} <= set(least["Groups"].split())
    assert least["file"] == "2000.2777"
    assert "Read-only file system" in kube("logs", "rights", "-c", "least")
    assert (more["Seccomp"], more["NoNewPrivs"], more["made"]) == ("0", "0", "yes")
    assert int(more["CapEff"], 16) & (NET_BIND | SYS_TIME) == SYS_TIME
    assert local["Seccomp"] == "2"
    assert "Operation not permitted" in kube("logs", "rights", "-c", "local")
    kube("delete", "pod", "rights", "--timeout=60s", "--wait=false")


def test_containers_of_a_pod_share_what_it_says_and_know_its_names(kube: Kubectl) -> None:
    show = (
        "busybox cat /proc/sys/kernel/shm_rmid_forced; busybox grep city /etc/hosts; busybox cat /etc/resolv.conf;"
        "busybox mount | busybox grep -c ' /var/log/names '; echo $POD; echo done > /var/log/names/$POD"
    )
    field = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    beside = container(
        "beside", "until busybox cat /all/shared/shared; do busybox sleep 0.1; done; busybox ps",
        volumeMounts=[{"name": "logs", "mountPath": "/all"}],
    )  # fmt: skip
    mount = {"name": "logs", "mountPath": "/var/log/names", "subPathExpr": "$(POD)"}
    run(
        kube, "shared", container("main", show, env=[field], volumeMounts=[mount]), beside,
        initContainers=[container("side", "echo first", restartPolicy="Always")],
        volumes=[{"name": "logs", "emptyDir": {}}], shareProcessNamespace=True,
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["gate.city", "gate"]}], dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["city.test"],
                   "options": [{"name": "ndots", "value": "2"}]},
        securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
    )  # fmt: skip
    said = kube("logs", "shared", "-c", "main").splitlines()
    assert said[0] == "1"
    assert said[1].split() == ["192.0.2.7", "gate.city", "gate"]
    assert {"nameserver 192.0.2.53", "search city.test", "options ndots:2"} <= set(said[2:])
    assert said[-2:] == ["1", "shared"]
    kube.wait_for(lambda: "/pause" in kube("logs", "shared", "-c", "beside"))
    assert kube("logs", "shared", "-c", "beside").startswith("done\n")
    look = ("debug", "shared", f"--image={IMAGE}", "--target=main", "-c", "looks", "--", "/bin/busybox", "ps")
    kube(*look)
    kube.wait_for(lambda: "sleep 1000" in kube.run("logs", "shared", "-c", "looks").stdout)
    kube("delete", "pod", "shared", "--timeout=60s", "--wait=false")


def limits(kube: Kubectl, name: str, container: str) -> tuple[int, int]:
    """Bytes of memory and thousandths of a core, as the container's own cgroup files say."""
    files = " ".join(f"/sys/fs/cgroup{path}" for path in LIMITS.split())
    script = f"busybox cat {files}"
    words = kube("exec", name, "-c", container, "--", "/bin/busybox", "sh", "-c", script).split()
    return int(words[0]), int(words[1]) // 100  # v1's and v2's figures stand in the same order


def test_a_pod_is_held_to_its_resources_as_a_whole(kube: Kubectl) -> None:
    run(kube, "whole", container("one", "echo up"), resources=sized("300m", "64Mi"))
    assert limits(kube, "whole", "one") == (64 << 20, 300)
    found = kube.json("get", "pod", "whole")
    assert found["status"]["qosClass"] == "Guaranteed"
    root, uid = Path("/sys/fs/cgroup"), found["metadata"]["uid"]
    group = next(p for p in (root / "memory" / "kubepods", root / "kubepods") if p.exists()) / f"pod{uid}"
    files = [group / "memory.limit_in_bytes", group / "memory.max"]
    assert [int(file.read_text()) for file in files if file.exists()] == [64 << 20]
    kube("delete", "pod", "whole", "--timeout=60s", "--wait=false")


def sized(cpu: str, memory: str) -> dict[str, Any]:
    return {"limits": {"cpu": cpu, "memory": memory}, "requests": {"cpu": cpu, "memory": memory}}


def resize(kube: Kubectl, name: str, **spec: Any) -> None:
    kube("patch", "pod", name, "--subresource", "resize", "-p", json.dumps({"spec": spec}))


def test_a_running_container_is_resized_and_goes_on_running(kube: Kubectl, world: tuple[Server, EdgeNode]) -> None:
    edge = world[1]
    run(
        kube, "grows", container("main", "echo up", resources=sized("200m", "48Mi")),
        container(
            "again", "echo up", resources=sized("100m", "32Mi"),
            resizePolicy=[{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
        ),
        initContainers=[container("side", "echo up", restartPolicy="Always", resources=sized("100m", "32Mi"))],
    )  # fmt: skip
    assert limits(kube, "grows", "main") == (48 << 20, 200)
    edge.kill()  # the wish comes while nobody is there to fulfil it
    resize(
        kube, "grows",
        containers=[{"name": "main", "resources": sized("300m", "64Mi")},
                    {"name": "again", "resources": sized("100m", "40Mi")}],
        initContainers=[{"name": "side", "resources": sized("150m", "32Mi")}],
    )  # fmt: skip
    edge.start()
    kube.wait_for(lambda: status(kube, "main")["resources"] == sized("300m", "64Mi"), 25)
    assert limits(kube, "grows", "main") == (64 << 20, 300)
    kube.wait_for(lambda: status(kube, "again")["restartCount"] == 1 and status(kube, "again")["ready"])
    assert limits(kube, "grows", "again") == (40 << 20, 100)
    assert limits(kube, "grows", "side") == (32 << 20, 150)
    assert (status(kube, "main")["restartCount"], status(kube, "side")["restartCount"]) == (0, 0)
    assert status(kube, "main")["allocatedResources"] == sized("300m", "64Mi")["requests"]
    running = status(kube, "main")["containerID"]
    os.kill(int((edge.data_dir / "agent" / "containerd" / "containerd.pid").read_text()), signal.SIGKILL)
    resize(kube, "grows", containers=[{"name": "main", "resources": sized("250m", "56Mi")}])
    kube.wait_for(lambda: status(kube, "main")["resources"] == sized("250m", "56Mi"), 25)
    kube.wait_for(lambda: condition(kube, "PodResizeInProgress") is None)
    assert limits(kube, "grows", "main") == (56 << 20, 250)
    assert status(kube, "main")["containerID"] == running
    told = {"ResizeStarted", "ResizeCompleted"}
    kube.wait_for(lambda: told <= {event["reason"] for event in kube.json("get", "events")["items"]})
    resize(kube, "grows", containers=[{"name": "main", "resources": sized("500", "64Mi")}])
    held = kube.wait_for(lambda: condition(kube, "PodResizePending"))
    assert (held["status"], held["reason"]) == ("True", "Infeasible")
    assert held["message"].startswith("Node didn't have enough capacity: cpu, requested: 500")
    assert held["observedGeneration"] == kube.json("get", "pod", "grows")["metadata"]["generation"]
    assert limits(kube, "grows", "main") == (56 << 20, 250)


def status(kube: Kubectl, container: str) -> Any:
    """The status of one container of the pod that grows."""
    found = kube.json("get", "pod", "grows")["status"]
    return next(
        s for kind in ("containerStatuses", "initContainerStatuses") for s in found[kind] if s["name"] == container
    )


def condition(kube: Kubectl, kind: str) -> Any:
    """A condition of the pod that grows."""
    found = kube.json("get", "pod", "grows")["status"]["conditions"]
    return next((c for c in found if c["type"] == kind), None)
