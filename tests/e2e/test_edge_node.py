"""One real agent, in a network namespace from which the server is reached only at a router's forwarded port.

host: server on a port of its own  <---  router: DNAT of 9443  <---  edge: the agent, which dials https://10.89.x.1:9443
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parkube.nodeagent.runtime.pause import architecture, oci_image
from tests.e2e.conftest import ROOT, Kubectl, Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

BUSYBOX = Path("/bin/busybox")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: talker, namespace: default}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: talk
    image: parkube.test/busy
    command: [sh, -c, "echo started; i=0; while [ ! -e /stop ]; do echo line $i; i=$((i+1)); sleep 0.2; done; exit 4"]
    securityContext: {readOnlyRootFilesystem: false}
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Edge:
    """The two namespaces, and the agent in the inner one."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server, self.directory = server, directory
        self.data_dir = directory / "edge"
        mark = os.getpid() % 200
        self.names = (f"pkr{mark}", f"pke{mark}")
        self.outside, self.inside = f"10.88.{mark}", f"10.89.{mark}"
        self.url = f"https://{self.inside}.1:9443"
        self.process: subprocess.Popen[bytes] | None = None

    def build(self) -> None:
        router, edge = self.names
        for name in self.names:
            ip("netns", "add", name)
        ip("link", "add", f"{router}0", "type", "veth", "peer", "name", "up0", "netns", router)
        ip("addr", "add", f"{self.outside}.1/24", "dev", f"{router}0")
        ip("link", "set", f"{router}0", "up")
        ip("-n", router, "addr", "add", f"{self.outside}.2/24", "dev", "up0")
        ip("-n", router, "link", "add", "down0", "type", "veth", "peer", "name", "eth0", "netns", edge)
        ip("-n", router, "addr", "add", f"{self.inside}.1/24", "dev", "down0")
        ip("-n", edge, "addr", "add", f"{self.inside}.2/24", "dev", "eth0")
        for name, device in ((router, "up0"), (router, "down0"), (router, "lo"), (edge, "eth0"), (edge, "lo")):
            ip("-n", name, "link", "set", device, "up")
        ip("-n", edge, "route", "add", "default", "via", f"{self.inside}.1")
        to = f"{self.outside}.1:{self.server.port}"
        rules = f"""table ip forwarded {{
          chain in {{ type nat hook prerouting priority -100; tcp dport 9443 dnat to {to}; }}
          chain out {{ type nat hook postrouting priority 100; oifname "up0" masquerade; }}
        }}"""
        self.run_in(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.run_in(router, "nft", "-f", "-", stdin=rules)

    def run_in(self, name: str, *command: str, stdin: str = "") -> str:
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{name}", *command], input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self, *more: str, node: str = "edge", data_dir: Path | None = None) -> list[str]:
        where = data_dir or self.data_dir
        token = str(self.server.data_dir / "server" / "node-token")
        return [
            "nsenter", f"--net=/run/netns/{self.names[1]}", sys.executable, "-m", "parkube.cli", "agent",
            "--server", self.url, "--token-file", token, "--node-name", node, "--data-dir", str(where),
            "--config-dir", str(where / "etc"), "--node-label", "place=garage", *more,
        ]  # fmt: skip

    def start(self) -> None:
        with (self.directory / "agent.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=ROOT)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def clean(self) -> None:
        self.stop()
        cleanup = [sys.executable, "-m", "parkube.nodeagent.main.cleanup", "--data-dir", str(self.data_dir)]
        subprocess.run(["nsenter", f"--net=/run/netns/{self.names[1]}", *cleanup], check=False, cwd=ROOT, timeout=60)
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", f"{self.names[0]}0"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    if os.geteuid() != 0:
        pytest.fail("nodes need root")
    directory = tmp_path_factory.mktemp("edge")
    server = Server(directory)
    images = server.data_dir / "server" / "images"
    images.mkdir(parents=True)
    box = BUSYBOX.read_bytes()
    files = {f"bin/{name}": box for name in ("busybox", "sh", "cat", "stty", "sleep", "touch")}
    image = oci_image("parkube.test/busy:latest", files, architecture(), Env=["PATH=/bin"])
    (images / "busy.tar").write_bytes(image)
    built = Edge(server, directory)
    try:
        server.start()
        built.build()
        built.start()
        yield built
    finally:
        built.clean()
        server.stop()


@pytest.fixture(params=["old", "new"])
def kubectl(request: pytest.FixtureRequest, edge: Edge, kubectls: dict[str, Path]) -> Kubectl:
    return edge.server.kubectl(kubectls[request.param], "default")


def ready(client: Kubectl) -> bool:
    found = client.run("get", "nodes", "edge", "-o", "json")
    conditions = json.loads(found.stdout)["status"].get("conditions", []) if found.returncode == 0 else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def running(client: Kubectl) -> bool:
    if client.run("get", "pod", "talker").returncode:
        client.apply(POD)
    return client("get", "pod", "talker", "-o", "jsonpath={.status.phase}") == "Running"


def established(edge: Edge) -> list[str]:
    lines = edge.run_in(edge.names[1], "ss", "-Htn", "state", "established").splitlines()
    return [line for line in lines if ":9443" in line]


def test_it_joins_at_an_address_the_server_does_not_own(edge: Edge, kubectl: Kubectl) -> None:
    kubectl.wait_for(lambda: ready(kubectl), 40)
    assert "garage" in kubectl("get", "nodes", "edge", "-o", "jsonpath={.metadata.labels}")
    assert kubectl("get", "csr").strip() == "" or "Denied" not in kubectl("get", "csr")


def test_it_has_one_connection_and_listens_to_nobody(edge: Edge, kubectl: Kubectl) -> None:
    """But to itself and to its own pods, which ask it for names at the address of the cluster's DNS."""
    kubectl.wait_for(lambda: ready(kubectl), 40)
    assert len(established(edge)) == 1
    listening = edge.run_in(edge.names[1], "ss", "-Htln").splitlines()
    assert {line.split()[3].rpartition(":")[0] for line in listening} <= {"127.0.0.1", "10.43.0.10"}


def test_logs_and_exec_come_back_through_it(edge: Edge, kubectl: Kubectl) -> None:
    kubectl.wait_for(lambda: ready(kubectl), 40)
    kubectl.wait_for(lambda: running(kubectl), 40)
    assert kubectl("logs", "talker").startswith("started\nline 0\n")
    assert len(kubectl("logs", "talker", "--tail=2").splitlines()) == 2
    assert kubectl("exec", "-i", "talker", "--", "cat", stdin="x\n") == "x\n"
    big = "0123456789abcdef" * 100_000
    assert kubectl("exec", "-i", "talker", "--", "cat", stdin=big) == big
    failed = kubectl.run("exec", "talker", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (failed.returncode, failed.stdout) == (3, "out\n")
    assert failed.stderr.startswith("err\n")
    terminal = " ".join(kubectl.command("exec", "-it", "talker", "--", "sh", "-c", "'sleep 1; stty size; exit 5'"))
    done = subprocess.run(
        ["script", "-qec", f"stty rows 33 cols 77; {terminal}", "/dev/null"],
        env=kubectl.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    assert "33 77" in done.stdout
    assert "container nope is not valid for pod talker" in kubectl.fails("logs", "talker", "-c", "nope")


def test_a_pod_reaches_the_api_by_its_service_with_the_rights_of_its_account(edge: Edge, kubectl: Kubectl) -> None:
    kubectl.wait_for(lambda: ready(kubectl), 40)
    kubectl.wait_for(lambda: running(kubectl), 40)
    container = kubectl("get", "pod", "talker", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    socket = edge.data_dir / "agent" / "containerd" / "containerd.sock"
    tasks = subprocess.run(
        ["ctr", "--address", str(socket), "-n", "k8s.io", "tasks", "ls"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    [pid] = [line.split()[1] for line in tasks if line.startswith(container.removeprefix("containerd://"))]
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    (edge.directory / "ca.crt").write_text(kubectl("exec", "talker", "--", "cat", f"{account}/ca.crt"))
    token = kubectl("exec", "talker", "--", "cat", f"{account}/token")
    address = kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")

    def ask() -> str:
        words = [
            "nsenter", "-t", pid, "-n", "curl", "-sS", "--max-time", "10", "--noproxy", "*",
            "--cacert", str(edge.directory / "ca.crt"), "-H", f"Authorization: Bearer {token}",
            f"https://{address}/api/v1/namespaces/default/pods",
        ]  # fmt: skip
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    assert 'User \\"system:serviceaccount:default:default\\" cannot list resource' in ask()
    grant = "--serviceaccount=default:default"
    kubectl("create", "rolebinding", "reads", "--clusterrole=view", grant)
    kubectl.wait_for(lambda: '"kind":"PodList"' in ask())
    kubectl("delete", "rolebinding", "reads")


def test_a_log_is_followed_while_it_is_written(edge: Edge, kubectl: Kubectl) -> None:
    kubectl.wait_for(lambda: ready(kubectl), 40)
    kubectl.wait_for(lambda: running(kubectl), 40)
    follower = subprocess.Popen(
        kubectl.command("logs", "-f", "talker", "--tail=1"), env=kubectl.environment, stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    seen = [follower.stdout.readline() for _ in range(4)]
    follower.kill()
    numbers = [int(line.split()[1]) for line in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


def test_containers_outlive_a_killed_agent_and_a_killed_server(edge: Edge, kubectl: Kubectl) -> None:
    kubectl.wait_for(lambda: ready(kubectl), 40)
    kubectl.wait_for(lambda: running(kubectl), 40)
    before = kubectl("get", "pod", "talker", "-o", "jsonpath={.status.containerStatuses[0].containerID}")
    edge.stop(signal.SIGKILL)
    assert "is not connected to this server" in kubectl.fails("exec", "talker", "--", "true")
    edge.server.stop(signal.SIGKILL)
    edge.start()
    edge.server.start()
    kubectl.wait_for(lambda: kubectl.run("exec", "talker", "--", "sh", "-c", "true").returncode == 0, 60)
    assert kubectl("get", "pod", "talker", "-o", "jsonpath={.status.containerStatuses[0].containerID}") == before


def test_the_log_of_the_container_before(edge: Edge, kubectl: Kubectl) -> None:
    kubectl.wait_for(lambda: ready(kubectl), 40)
    kubectl.wait_for(lambda: running(kubectl), 40)
    kubectl("exec", "talker", "--", "sh", "-c", "touch /stop")
    kubectl.wait_for(lambda: kubectl.run("logs", "talker", "--previous").stdout.startswith("started"), 40)
    kubectl("delete", "pod", "talker", "--grace-period=0", "--force")


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("", "the agent needs a token to join"),
        ("K10abc", "lacks the hash of the server's CA, or is cut"),
        ("{other}", "is not the one that the token was made for"),
        ("{guess}", "the token is not this cluster's"),
    ],
)
def test_wrong_tokens_are_one_sentence(edge: Edge, tmp_path: Path, token: str, sentence: str) -> None:
    own = (edge.server.data_dir / "server" / "node-token").read_text().strip()
    token = token.format(other="K10" + "0" * 64 + "::server:x", guess=own.rpartition(":")[0] + ":guess")
    (tmp_path / "token").write_text(token)
    command = edge.command("--token-file", str(tmp_path / "token"), node="stranger", data_dir=tmp_path / "s")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_second_agent_of_the_same_name_and_an_unreachable_server(edge: Edge, tmp_path: Path) -> None:
    done = subprocess.run(
        edge.command(data_dir=tmp_path / "two"), capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert 'another machine has joined as node "edge"' in done.stderr
    command = edge.command("--server", f"https://{edge.inside}.1:9444", data_dir=tmp_path / "three")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert "cannot be reached" in done.stderr
