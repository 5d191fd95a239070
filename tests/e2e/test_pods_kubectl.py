"""kubectl's verbs on pods that run, old and new: terminals, attach, run, drain under a budget; and where images come
from: the server's folder, the node's folder, a mirror of registries.yaml."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Kubectl, Server
from tests.e2e.images import Registry, box_tar
from tests.e2e.nodes import EdgeNode

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]
BOX = "parkube.test/box"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, EdgeNode, Registry]]:
    """A server that holds an image, a node with a mirror in its registries.yaml, and that mirror."""
    directory = tmp_path_factory.mktemp("pods")
    server = Server(directory)
    images = server.data_dir / "server" / "images"
    images.mkdir(parents=True)
    (images / "box.tar").write_bytes(box_tar(f"{BOX}:latest"))
    server.start()
    edge = EdgeNode(directory / "edge", server, "edge")
    registry = Registry(edge.gateway, "me", "secret")
    try:
        (edge.directory / "etc").mkdir()
        host = registry.url.removeprefix("http://")
        (edge.directory / "etc" / "registries.yaml").write_text(yaml.safe_dump({
            "mirrors": {"registry.test": {"endpoint": [registry.url]}},
            "configs": {host: {"auth": {"username": "me", "password": "secret"}}},
        }))  # fmt: skip
        own = edge.data_dir / "agent" / "images"
        own.mkdir(parents=True)
        (own / "box.tar").write_bytes(box_tar("docker.io/parkube/own:1"))
        (own / "broken.tar").write_bytes(b"no tar")
        edge.start()
        client = server.kubectl(Path("kubectl"))
        ready = ("wait", "--for=condition=Ready", "node/edge", "--timeout=1s")
        client.wait_for(lambda: client.run(*ready).returncode == 0)
        yield server, edge, registry
    finally:
        registry.close()
        edge.close()
        server.stop()


@pytest.fixture(params=["old", "new"])
def kube(
    request: pytest.FixtureRequest, world: tuple[Server, EdgeNode, Registry], kubectls: dict[str, Path]
) -> Iterator[Kubectl]:
    """Both kubectls in turn, each test in a namespace of its own."""
    client = world[0].kubectl(kubectls[request.param], f"p{time.monotonic_ns() % 10**9}")
    client("create", "namespace", client.namespace)
    client.wait_for(lambda: client.run("get", "sa", "default").returncode == 0)
    yield client
    client("delete", "namespace", client.namespace, "--wait=false")


@pytest.fixture
def new(world: tuple[Server, EdgeNode, Registry], kubectls: dict[str, Path]) -> Kubectl:
    """The newest kubectl in the default namespace."""
    client = world[0].kubectl(kubectls["new"], "default")
    client.wait_for(lambda: client.run("get", "sa", "default").returncode == 0)
    return client


def pod(name: str, script: str, image: str = BOX, spec: Any = None, **container: Any) -> str:
    """A pod of one container that runs a script."""
    c = {"name": "c", "image": image, "command": ["sh", "-c", script], **container}
    body = {"containers": [c], "terminationGracePeriodSeconds": 1, **(spec or {})}
    meta = {"name": name, "labels": {"app": name}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": body})


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], rows: int, columns: int) -> None:
        master, slave = pty.openpty()
        self._fd, self.seen = master, ""
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            command, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def expect(self, pattern: str, seconds: float = 10) -> None:
        """Read until it was seen; what comes after counts next time."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < end, f"{pattern} did not come: {self.seen!r}"
            if select.select([self._fd], [], [], 0.1)[0]:
                self.seen += os.read(self._fd, 4096).decode(errors="replace")
        self.seen = self.seen[found.end() :]

    def close(self) -> int:
        code = self.process.wait(10)
        os.close(self._fd)
        return code


def test_a_terminal_is_resized_interrupted_and_gives_its_exit_code(kube: Kubectl) -> None:
    kube.apply(pod("box", "sleep 1000"))
    kube("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
    script = """has() { until [ "$(stty size 2>/dev/null)" = "$1" ]; do sleep 0.1; done; echo it has $1; }
    has "33 77"; has "41 99"; read line
    trap 'echo caught; exit 5' INT; echo "said $line"; while :; do sleep 0.1; done"""
    terminal = Terminal(kube.command("exec", "-it", "box", "--", "sh", "-c", script), kube.environment, 33, 77)
    terminal.expect("it has 33 77")
    terminal.resize(41, 99)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    terminal.expect("it has 41 99")
    terminal.type("hello\n")
    terminal.expect("said hello")
    terminal.type("\x03")
    terminal.expect("caught")
    assert terminal.close() == 5
    assert kube("exec", "-i", "box", "--", "cat", stdin="x\n") == "x\n"
    assert "Started" in kube("describe", "pod", "box")
    assert "Started" in kube("get", "events")


def test_attach_run_and_logs(kube: Kubectl) -> None:
    kube.apply(pod("talk", "echo up; while read l; do echo got $l; done; echo end; sleep 1000", stdin=True))
    kube("wait", "--for=condition=Ready", "pod/talk", "--timeout=60s")
    with subprocess.Popen(
        kube.command("attach", "-i", "talk"), env=kube.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as attached:  # fmt: skip
        assert attached.stdin is not None
        assert attached.stdout is not None
        attached.stdin.write("hello\n")
        attached.stdin.flush()
        assert "got hello" in attached.stdout.readline()
        attached.kill()
    assert kube("logs", "talk", "--since=1h").startswith("up\ngot hello\n")
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z up\n", kube("logs", "talk", "--timestamps"))
    assert "up" in kube("logs", "-l", "app=talk", "--all-containers")
    said = kube("run", "once", "--rm", "-i", "--restart=Never", f"--image={BOX}", "--", "cat", stdin="from here\n")
    assert "from here" in said
    assert kube.run("get", "pod", "once").returncode != 0
    kube.apply(pod("ends", "for i in 1 2 3; do echo $i; sleep 0.2; done", spec={"restartPolicy": "Never"}))
    kube.wait_for(lambda: kube.run("logs", "ends").stdout)
    assert kube("logs", "-f", "ends") == "1\n2\n3\n"


def test_files_are_copied_both_ways(kube: Kubectl, tmp_path: Path) -> None:
    kube.apply(pod("box", "sleep 1000"))
    kube("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "plan").write_text("bay 7")
    kube("cp", str(tmp_path / "there"), "box:/there")
    assert kube("exec", "box", "--", "cat", "/there/plan") == "bay 7"
    kube("cp", "box:/there/plan", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "bay 7"


def test_a_port_is_forwarded(kube: Kubectl) -> None:
    script = "mkdir -p /tmp/w; echo hello > /tmp/w/index.html; httpd -f -p 8080 -h /tmp/w"
    kube.apply(pod("web", script, ports=[{"containerPort": 8080}]))
    kube("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    command = kube.command("port-forward", "pod/web", ":8080")
    with subprocess.Popen(command, env=kube.environment, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout is not None
            port = forward.stdout.readline().partition(" -> ")[0].rpartition(":")[2]
            for _ in range(2):
                words = ["curl", "-s", "--max-time", "10", f"http://127.0.0.1:{port}/"]
                assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "hello\n"
        finally:
            forward.terminate()


def test_a_container_is_added_to_look_inside(kube: Kubectl) -> None:
    kube.apply(pod("web", "sleep 1000"))
    kube("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    debug = ("debug", "web", f"--image={BOX}", "--container=look", "--", "sh", "-c", "echo looking; sleep 1000")
    if "1.20" in str(kube.program):  # it sends an alpha form that left Kubernetes with 1.22: refused, nothing written
        assert "the kind in the data does not match" in kube.run(*debug).stderr
        assert "ephemeralContainers" not in kube.json("get", "pod", "web")["spec"]
        return
    kube(*debug)
    kube.wait_for(lambda: "looking" in kube.run("logs", "web", "-c", "look").stdout, 30)
    statuses = kube.json("get", "pod", "web")["status"]["ephemeralContainerStatuses"]
    assert "running" in statuses[0]["state"]


WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: c, image: parkube.test/box, command: [sleep, "1000"]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
"""


def test_a_drain_keeps_to_the_budget(kube: Kubectl) -> None:
    kube.apply(WEB)
    kube("rollout", "status", "deploy/web", "--timeout=30s")
    kube.wait_for(lambda: kube("get", "pdb", "web", "-o", "jsonpath={.status.disruptionsAllowed}") == "1")
    try:
        command = kube.command("drain", "edge", "--force", "--pod-selector=app=web")
        with subprocess.Popen(
            command, env=kube.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as drain:
            assert drain.stdout is not None
            said = ""
            while "would violate the pod's disruption budget" not in said:
                said = drain.stdout.readline()
                assert said, "the drain ended, and was to wait"
            drain.kill()
        running = kube("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name")
        assert len(running.split()) == 1
    finally:
        kube("uncordon", "edge")


def test_images_come_from_a_mirror_with_its_login_and_from_the_nodes_own_folder(
    new: Kubectl, world: tuple[Server, EdgeNode, Registry]
) -> None:
    _, edge, registry = world
    new.apply(pod("mirrored", "sleep 1000", "registry.test/some/where:1"))
    new.apply(pod("own", "sleep 1000", "parkube/own:1"))
    new("wait", "--for=condition=Ready", "pod/mirrored", "pod/own", "--timeout=30s")
    assert any(path.startswith("/v2/some/where/manifests/1") for path in registry.asked)
    assert 'Successfully pulled image "registry.test/some/where:1"' in new("describe", "pod", "mirrored")
    assert 'pulled image "parkube/own:1"' not in new("describe", "pod", "own")
    assert "broken.tar" in edge.log.read_text()
    new("delete", "pod", "mirrored", "own", "--timeout=60s")


def test_limits_reach_the_cgroup_and_a_start_probe_holds_the_others_back(
    new: Kubectl, world: tuple[Server, EdgeNode, Registry]
) -> None:
    up = {"exec": {"command": ["ls", "/up"]}}
    limits = {"cpu": "250m", "memory": "32768Ki"}
    refs = {"LIMIT": "limits.memory", "ASKED": "requests.cpu", "DISK": "limits.ephemeral-storage"}
    fields = {"NAME": "metadata.name", "LABEL": "metadata.labels['app']", "NODE": "spec.nodeName", "IP": "status.podIP"}
    new.apply(pod(
        "slow", "echo $LIMIT $ASKED $NAME $LABEL $NODE $IP; echo disk $DISK; id; httpd -p 80 -h /; sleep 2; touch /up; "
        "exec sleep 1000",
        resources={"limits": limits, "requests": {"cpu": "100m"}},
        env=[{"name": n, "valueFrom": {"resourceFieldRef": {"resource": r}}} for n, r in refs.items()]
        + [{"name": n, "valueFrom": {"fieldRef": {"fieldPath": p}}} for n, p in fields.items()],
        startupProbe={**up, "periodSeconds": 1, "failureThreshold": 20},
        livenessProbe={**up, "periodSeconds": 1, "failureThreshold": 1},
        readinessProbe={"tcpSocket": {"port": 80}, "periodSeconds": 1},
        lifecycle={"postStart": {"exec": {"command": ["touch", "/after"]}}},
        securityContext={"capabilities": {"drop": ["ALL"]}},
    ))  # fmt: skip
    new("wait", "--for=condition=Ready", "pod/slow", "--timeout=60s")
    status = new.json("get", "pod", "slow")["status"]
    assert status["containerStatuses"][0]["restartCount"] == 0
    said = new("logs", "slow").splitlines()
    assert said[0] == f"33554432 1 slow slow edge {status['podIP']}"
    assert int(said[1].split()[1]) > 2**30  # no limit: the node's own
    new("exec", "slow", "--", "ls", "/after")
    container = status["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    found = {}
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        if folder.endswith(container):
            for name in {"memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us"} & set(files):
                found[name] = (Path(folder) / name).read_text().split()[0]
    assert found.get("memory.max", found.get("memory.limit_in_bytes")) == "33554432"
    assert found.get("cpu.max", found.get("cpu.cfs_quota_us")) == "25000"
    new("delete", "pod", "slow", "--timeout=60s")


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("data", "another agent is running with the data directory"),
        ("registries", '"configz" is not known; mirrors.docker.io.endpoint: "nope" is not an http(s) URL'),
        ("runtime", "the container runtime at /nowhere.sock does not answer"),
        ("port", "wanted for the image mirror, is taken"),
    ],
    ids=["data", "registries", "runtime", "port"],
)
def test_what_a_node_cannot_start_with_is_one_sentence(
    world: tuple[Server, EdgeNode, Registry], tmp_path: Path, what: str, sentence: str
) -> None:
    server, edge, _ = world
    (tmp_path / "registries.yaml").write_text(
        'configz: {}\nmirrors: {docker.io: {endpoint: ["nope"]}}' if what == "registries" else ""
    )
    port = edge.inside("sh", "-c", "ss -Htln | grep -o '127.0.0.1:[0-9]*' | head -n 1 | cut -d: -f2")
    taken = subprocess.run(port, capture_output=True, text=True, check=True).stdout.strip()
    words = {"runtime": ["--container-runtime-endpoint", "unix:///nowhere.sock"], "port": ["--mirror-port", taken]}
    command = edge.inside(
        sys.executable, "-m", "parkube.cli", "agent", "--server", f"https://{edge.gateway}:{server.port}",
        "--token-file", str(server.data_dir / "server" / "node-token"), "--config-dir", str(tmp_path),
        "--node-name", f"no-{what}", "--data-dir", str(edge.data_dir if what == "data" else tmp_path / "data"),
        *words.get(what, []),
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    said = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert (done.returncode, len(said)) == (1, 1), done.stderr
    assert sentence in said[0]
