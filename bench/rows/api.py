"""What the API itself costs: a list of 5,000 pods in its three forms, and server-side applies, over one connection."""

from __future__ import annotations

import time
from typing import Any

from bench.figures import Figure
from bench.measure import BenchError, cpu_s, median, pss_mib
from bench.rows.registry import pod
from bench.servers import Api, LoopbackServer, folder, processes

PODS, APPLIES, ROUNDS, NAMES = 5000, 2000, 5, 50
_FORMS = {
    "as JSON": "application/json",
    "as a Table": "application/json;as=Table;g=meta.k8s.io;v=v1",
    "as protobuf": "application/vnd.kubernetes.protobuf",
}


def measure(quick: bool) -> list[Figure]:
    """A server of its own, filled once."""
    pods, applies = (500, 200) if quick else (PODS, APPLIES)
    with folder() as place, processes(place) as running:
        server = LoopbackServer(place, running)
        server.start()
        api = server.ready()
        empty = pss_mib(server.pid)
        _fill(api, pods)
        found = [Figure("server's memory with nothing in it", empty, "MiB", 150.0)]
        found += _lists(api, server.pid, pods)
        found += _applied(api, server.pid, applies)
        return found


def _fill(api: Api, count: int) -> None:
    """Pods that nobody schedules: only the API is measured."""
    for number in range(count):
        made = pod(f"garage-{number:05}", "")
        del made["spec"]["nodeName"]
        made["spec"]["schedulerName"] = "nobody"
        api.ask("POST", "/api/v1/namespaces/default/pods", made)


def _lists(api: Api, pid: int, count: int) -> list[Figure]:
    found = []
    for name, accept in _FORMS.items():
        times, size = [], 0
        for _ in range(ROUNDS):
            began = time.perf_counter()
            size = len(_read(api, accept))
            times.append(time.perf_counter() - began)
        note = f"the median of {ROUNDS}, {size / 2**20:.1f} MiB, read to its end"
        found.append(Figure(f"list of {count:,} pods {name}", median(times) * 1000, "ms", note=note))
    found.append(Figure(f"server's memory with {count:,} pods, after those lists", pss_mib(pid), "MiB"))
    return found


def _read(api: Api, accept: str) -> bytes:
    kind, body = api.read("/api/v1/pods", accept)
    if not kind.startswith(accept.partition(";")[0]):
        raise BenchError(f"a list as {accept} came as {kind}")
    return body


def _applied(api: Api, pid: int, count: int) -> list[Figure]:
    used, began = cpu_s(pid), time.perf_counter()
    for number in range(count):
        name = f"site-{number % NAMES:02}"
        path = f"/apis/apps/v1/namespaces/default/deployments/{name}?fieldManager=bench"
        api.ask("PATCH", path, _deployment(name, number), kind="application/apply-patch+yaml")
    took, used = time.perf_counter() - began, cpu_s(pid) - used
    note = f"{count:,} on {NAMES} Deployments, each changing the image, one after the other, durable"
    return [
        Figure("server-side applies a second", count / took, "/s", note=note),
        Figure("CPU of one", used / count * 1e6, "µs"),
    ]


def _deployment(name: str, number: int) -> dict[str, Any]:
    container = {
        "name": "app", "image": f"parkube/garage:{number}", "ports": [{"containerPort": 8080}],
        "env": [{"name": f"VARIABLE_{n}", "value": "some value"} for n in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": 0, "paused": True, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip
