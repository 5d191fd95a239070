"""1,000 hollow nodes on one server: what their leases cost, and how long a DaemonSet takes to run on all of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from scripts.demo.processes import Processes

from bench.figures import Figure
from bench.measure import Noise, cpu_percent, cpu_s, pss_mib, until, wait_for_quiet
from bench.servers import Api, LoopbackServer, folder, processes

JUDGED = 1000  # the number of nodes that has a target, and that the peers were measured with
DAEMONSETS = "/apis/apps/v1/namespaces/default/daemonsets"
_Peers = tuple[float | None, float | None, float | None]
CONTAINER = {
    "name": "app", "image": "docker.io/parkube/garage:dev", "ports": [{"containerPort": 8080}],
    "env": [{"name": "GARAGE", "value": "one"}], "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
}  # fmt: skip
DAEMONSET = {
    "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "garages"},
    "spec": {
        "selector": {"matchLabels": {"app": "garage"}},
        "template": {"metadata": {"labels": {"app": "garage"}}, "spec": {"containers": [CONTAINER]}},
    },
}  # fmt: skip


def measure(quick: bool) -> list[Figure]:
    """Join, settle, watch for a minute; then POST and count."""
    return _measure(100 if quick else JUDGED, 20.0 if quick else 60.0)


def measure_fleet(quick: bool) -> list[Figure]:
    """The same with as many nodes as a city has garages; takes minutes, and has no target."""
    return _measure(3000 if quick else 6000, 60.0)


def _measure(count: int, watched: float) -> list[Figure]:
    nodes = Path(mkdtemp(prefix="parkube-bench-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with folder() as place, processes(place) as running:
            server = LoopbackServer(place, running)
            server.start()
            api = server.ready()
            crowd, joined_s = _join(running, server, nodes, count)
            time.sleep(25.0)  # two rounds of leases
            figures = _leases(running, server.pid, crowd, count, watched, joined_s)
            figures += _daemonset(api, running, server.pid, crowd, count)
            return figures
    finally:
        shutil.rmtree(nodes, ignore_errors=True)


def _join(running: Processes, server: LoopbackServer, nodes: Path, count: int) -> tuple[int, float]:
    crowd = running.start("crowd", [
        sys.executable, "-m", "bench.crowd", "--server", server.url, "--token-file", server.token_file,
        "--count", str(count), "--data-dir", nodes,
    ])  # fmt: skip

    def joined() -> bool:
        running.check("crowd")
        return "ready" in running.last_words("crowd", 50)

    return crowd, until(f"{count} hollow nodes", joined, 60 + count * 0.3, 0.1)


def _told(running: Processes, crowd: int) -> dict[str, Any]:
    """What the hollow nodes saw since the last time."""
    before = running.log("crowd").read_text().count("\n")
    os.kill(crowd, signal.SIGUSR1)
    until("the hollow nodes' figures", lambda: running.log("crowd").read_text().count("\n") > before, 30)
    told: dict[str, Any] = json.loads(running.last_words("crowd", 1))
    return told


def _leases(running: Processes, server: int, crowd: int, count: int, watched: float, joined_s: float) -> list[Figure]:
    wait_for_quiet(server, crowd)
    _told(running, crowd)
    with Noise(server, crowd) as noise:
        cpu = cpu_percent([server, crowd], watched)
    leases = _told(running, crowd)
    memory = pss_mib(server), pss_mib(crowd)
    what = f"{count:,} hollow nodes, leases every 10 s"
    note = (
        f"{leases['renewals']} renewals in {watched:.0f} s, as the nodes see them: p50 {leases.get('p50', 0):.1f} ms, "
        f"worst {leases.get('max', 0):.1f} ms; server and hollow nodes share the cores, and all else on the machine "
        f"used {noise.percent:.0f} % of one"
    )
    return [
        Figure(f"{what}: server's CPU of a core", cpu[0], "%", *_judged(count, 12, 44, 46)),
        Figure(f"{what}: server's PSS", memory[0], "MiB", *_judged(count, 270, 932, 1008)),
        Figure(f"{what}: lease p99", leases.get("p99", float("inf")), "ms", *_judged(count, 25, 2457, 28), note=note),
        Figure(f"{count:,} hollow nodes: their own CPU of a core", cpu[1], "%"),
        Figure(f"{count:,} hollow nodes: their own PSS", memory[1], "MiB"),
        Figure(f"{count:,} hollow nodes: joined, each with a key and certificate of its own", joined_s, "s"),
    ]


def _daemonset(api: Api, running: Processes, server: int, crowd: int, count: int) -> list[Figure]:
    wait_for_quiet(server, crowd)
    before, began = (cpu_s(server), cpu_s(crowd)), time.monotonic()
    api.ask("POST", DAEMONSETS, DAEMONSET)

    def run() -> bool:
        running.check("server")
        return int(api.ask("GET", f"{DAEMONSETS}/garages").get("status", {}).get("numberReady", 0)) >= count

    until(f"{count} pods", run, 180, 0.25)
    took = time.monotonic() - began
    spent = cpu_s(server) - before[0], cpu_s(crowd) - before[1]
    time.sleep(5.0)
    after, memory = cpu_s(server) - before[0], pss_mib(server)
    what = f"from the POST of a DaemonSet to {count:,} pods Running"
    note = f"all Ready as the DaemonSet's status says, asked four times a second; {after:.1f} CPU s until 5 s after it"
    return [
        Figure(what, took, "s", *_judged(count, 15, 50, 50), note=note),
        Figure(f"{what}: server's CPU", spent[0], "s", *_judged(count, 15, 45, 35)),
        Figure(f"{what}: hollow nodes' CPU", spent[1], "s"),
        Figure(f"server's PSS with {count:,} nodes and pods", memory, "MiB"),
    ]


def _judged(count: int, target: float, k3s: float, kubernetes: float) -> _Peers:
    """The target, and what the peers measured; none for another number of nodes than theirs."""
    return (target, k3s, kubernetes) if count == JUDGED else (None, None, None)
