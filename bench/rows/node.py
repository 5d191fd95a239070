"""A server with its own node, in a network namespace: what both cost idle, and how soon an applied pod is Ready."""

from __future__ import annotations

import os
import time
from pathlib import Path

from scripts.demo.cluster import ROOT, Cluster
from scripts.demo.processes import descendants

from bench.figures import Figure
from bench.measure import BenchError, Noise, cpu_percent, median, pss_mib, rss_mib, until, wait_for_quiet
from bench.servers import Api, folder
from parkube.nodeagent.runtime.pause import architecture, oci_image

IMAGE = "docker.io/parkube/idle:1"
BUSYBOX = Path("/bin/busybox")
TOGETHER = 30
MANY = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: many, namespace: default}}
spec:
  replicas: {count}
  selector: {{matchLabels: {{app: many}}}}
  template:
    metadata: {{labels: {{app: many}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: idle, image: "{image}", command: [/bin/busybox, sleep, "100000"]}}]
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: idle, image: "{image}", command: [/bin/busybox, sleep, "100000"]}}]
"""


def measure(quick: bool) -> list[Figure]:
    """Start, use, wait, look; then apply pods one after the other."""
    if not BUSYBOX.exists():
        raise BenchError("/bin/busybox is missing: run scripts/setup")
    with folder() as place:
        cluster = Cluster(place / "c", prefix=f"pkb{os.getpid() % 10000}", subnet="10.79.0", server_site="server")
        try:
            return _measure(cluster, quick)
        finally:
            cluster.down()


def _measure(cluster: Cluster, quick: bool) -> list[Figure]:
    images = cluster.folder / "server/agent/images"
    images.mkdir(parents=True)
    image = oci_image(IMAGE, {"bin/busybox": BUSYBOX.read_bytes()}, architecture(), Entrypoint=["/bin/busybox"])
    (images / "idle.tar").write_bytes(image)
    cluster.start_server()
    kubeconfig = cluster.folder / "admin.yaml"
    server = f"https://{cluster.address}:{cluster.port}"
    kubeconfig.write_text(cluster.kubeconfig.read_text().replace(f"https://127.0.0.1:{cluster.port}", server))
    api = Api(kubeconfig)
    cluster.wait("the server's node", lambda: _node_ready(api), "server", 60)
    cluster.kubectl("apply", "-f", ROOT / "deploy/base/crds.yaml")
    _use(cluster, api)
    settle, watched = (10.0, 10.0) if quick else (60.0, 60.0)
    time.sleep(settle)
    pid, agent = cluster.processes.pid("server"), _agent(cluster.processes.pid("server"))
    wait_for_quiet(pid, agent)
    with Noise(pid, agent) as noise:
        cpu = cpu_percent([pid, agent], watched)
    memory = pss_mib(pid), pss_mib(agent)
    resident = rss_mib(pid), rss_mib(agent)
    ready = [_apply_to_ready(cluster, api, f"ready-{number}") for number in range(3 if quick else 7)]
    together = _many(cluster, api)
    idle = (
        f"{settle:.0f} s after apply, explain, discovery and the CRDs of deploy/base, over {watched:.0f} s, with a "
        f"node and one pod; resident, what others share counted in full, {resident[0]:.0f} and {resident[1]:.0f} MiB; "
        f"all else on the machine used {noise.percent:.0f} % of a core"
    )
    return [
        Figure("idle server, PSS", memory[0], "MiB", 120, k3s=326, kubernetes=763, note=idle),
        Figure("idle server, CPU of a core", cpu[0], "%", 1, k3s=2.4),
        Figure("idle agent beside its containerd, PSS", memory[1], "MiB", 40, k3s=89),
        Figure("idle agent, CPU of a core", cpu[1], "%", 1, k3s=1.2),
        Figure(
            "`kubectl apply` to Ready, image present", median(ready), "s", 2,
            note=f"the median of {len(ready)}, the slowest {max(ready):.2f} s; kubectl's own start included",
        ),
        Figure(
            f"{TOGETHER} pods of one Deployment started on one real node, until all are Ready", together, "s", 30,
            note="from `kubectl apply`; server, node, containerd and the containers share the two cores",
        ),
    ]  # fmt: skip


def _use(cluster: Cluster, api: Api) -> None:
    """What a person does in the first minutes."""
    _apply_to_ready(cluster, api, "first")
    for words in (
        ("explain", "pods.spec.containers"), ("explain", "garages"), ("api-resources",), ("get", "nodes", "-o", "wide"),
        ("get", "pods", "-A"), ("get", "--raw", "/openapi/v2"), ("describe", "node"),
    ):  # fmt: skip
        cluster.kubectl(*words)


def _apply_to_ready(cluster: Cluster, api: Api, name: str) -> float:
    manifest = POD.format(name=name, image=IMAGE)
    began = time.monotonic()
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    until(f"pod {name}", lambda: _pod_ready(api, name), 60)
    return time.monotonic() - began


def _many(cluster: Cluster, api: Api) -> float:
    began = time.monotonic()
    cluster.kubectl("apply", "-f", "-", stdin=MANY.format(count=TOGETHER, image=IMAGE))
    path = "/apis/apps/v1/namespaces/default/deployments/many"
    until(f"{TOGETHER} pods", lambda: api.ask("GET", path)["status"].get("readyReplicas") == TOGETHER, 120)
    return time.monotonic() - began


def _pod_ready(api: Api, name: str) -> bool:
    return _is_ready(api.ask("GET", f"/api/v1/namespaces/default/pods/{name}"))


def _node_ready(api: Api) -> bool:
    return any(map(_is_ready, api.ask("GET", "/api/v1/nodes")["items"]))


def _is_ready(obj: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = obj.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _agent(server: int) -> int:
    """The server's own agent: the process below it that runs `agent`."""
    for pid in descendants(server):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"agent" in words and b"--server-node" in words:
            return pid
    raise BenchError("the server has no agent process")
