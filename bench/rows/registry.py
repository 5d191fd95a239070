"""What the registry's hot paths cost, in CPU time: a lease renewed, a pod's event delivered, a commit shared.

Not a load test: no network, in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from bench.figures import Figure
from bench.measure import BenchError
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.operations import ListOptions, Registry, WatchItem, WatchOptions
from parkube.controlplane.registry.resource import Context, Resource
from parkube.controlplane.storage.sqlite import SqliteStore
from parkube.kubeapi.client import GVR, LEASES, PODS, SERVICES
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.selectors import FieldSelector

NODES, LEASES_RENEWED, POD_COUNT, COMMITS, WRITERS, FANNED = 1000, 20_000, 5000, 40_000, 64, 50


_figures: list[tuple[str, float, str]] = []


def say(what: str, value: float, unit: str) -> None:
    """One figure of the result."""
    _figures.append((what, value, unit))


def measure(quick: bool) -> list[Figure]:
    """In a process of its own, on uvloop as the server."""
    command = [sys.executable, "-m", "bench.rows.registry"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise BenchError(f"the registry's paths: {done.stderr.strip()[-400:]}")
    return [Figure(f"registry: {what}", value, unit) for what, value, unit in json.loads(done.stdout)]


def lease(name: str) -> Obj:
    """A node's lease, as an agent writes it."""
    return {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": "0b3b0a8e-57c8-4b3a-9c47-b4ff1a8a3a11"}]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z"},
    }  # fmt: skip


def pod(name: str, node: str) -> Obj:
    """A pod of about the size of real ones."""
    mounts = [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}]
    container = {
        "name": "app", "image": "parkube/garage:dev", "volumeMounts": mounts, "ports": [{"containerPort": 8080}],
        "env": [{"name": f"VARIABLE_{n}", "value": "some value"} for n in range(8)],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "garage", "controller-revision-hash": "5f7d9"}},
        "spec": {"nodeName": node, "containers": [container], "volumes": [{"name": "token", "emptyDir": {}}]},
    }  # fmt: skip


def row(registry: Registry, gvr: GVR) -> Resource:
    """The row, which must be there."""
    found = registry.catalogue.get(gvr)
    assert found is not None
    return found


async def renewals(registry: Registry) -> None:
    """From the bytes of a PUT to the delivered event."""
    leases, ctx, heard = row(registry, LEASES), Context(field_manager="parkube"), [0]

    def sink(items: Sequence[WatchItem]) -> None:
        heard[0] += sum(len(item.line()) for item in items)

    for number in range(NODES):
        await registry.create(leases, "kube-node-lease", lease(f"node-{number:05}"), ctx)
    registry.watch(leases, "kube-node-lease", WatchOptions(resource_version="0", send_initial_events=False), sink)
    bodies = [orjson.dumps(lease(f"node-{number:05}")) for number in range(NODES)]
    start = time.process_time()
    for number in range(LEASES_RENEWED):
        obj = orjson.loads(bodies[number % NODES])
        obj["spec"]["renewTime"] = f"2026-01-01T00:00:{number % 60:02}.{number:06}Z"
        orjson.dumps(await registry.update(leases, "kube-node-lease", obj["metadata"]["name"], obj, ctx))
        if not number % 50:
            await asyncio.sleep(0)
    say("lease renewed and delivered to one watcher", (time.process_time() - start) / LEASES_RENEWED * 1e6, "µs")


async def deliveries(registry: Registry) -> None:
    """One pod's event among many nodes' watches."""
    pods, ctx, heard = row(registry, PODS), Context(field_manager="parkube"), [0]

    def sink(items: Sequence[WatchItem]) -> None:
        heard[0] += len(items)

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    start = time.process_time()
    for number in range(POD_COUNT):
        await registry.create(pods, "garages", pod(f"garage-{number:05}", f"node-{number:05}"), ctx)
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    say(f"memory of a pod in the cache ({POD_COUNT})", held / POD_COUNT / 1024, "KiB")
    start = time.process_time()
    for number in range(POD_COUNT):
        fields = FieldSelector.parse(f"spec.nodeName=node-{number:05}")
        registry.watch(pods, "", WatchOptions(field_selector=fields, resource_version=str(registry.revision)), sink)
    say("watch opened", (time.process_time() - start) / POD_COUNT * 1e6, "µs")
    start = time.process_time()
    for number in range(2000):
        name = f"garage-{number:05}"
        await registry.mutate(pods, "garages", name, _running, ctx, "status")
    await asyncio.sleep(0)
    say("pod status patched, found its one watcher among 5,000", (time.process_time() - start) / 2000 * 1e6, "µs")
    assert heard[0] == 2000, heard
    start = time.process_time()
    for number in range(200):
        fields = FieldSelector.parse(f"spec.nodeName=node-{number:05}")
        await registry.list(pods, "", ListOptions(field_selector=fields))
    say("a node's own pods listed", (time.process_time() - start) / 200 * 1e6, "µs")
    start = time.process_time()
    page = await registry.list(pods, "", ListOptions())
    say(f"all {len(page.items)} pods listed", (time.process_time() - start) * 1e3, "ms")


async def fan_out(registry: Registry) -> None:
    """One change that everybody watches: a Service, as every node's proxy sees it."""
    services, ctx, heard = row(registry, SERVICES), Context(), [0]

    def sink(items: Sequence[WatchItem]) -> None:
        heard[0] += sum(len(item.line()) > 0 for item in items)

    spec = {"ports": [{"port": 80}], "selector": {"app": "a"}}
    await registry.create(
        services, "default", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": spec}, ctx
    )
    for _ in range(NODES):
        options = WatchOptions(resource_version=str(registry.revision), send_initial_events=False)
        registry.watch(services, "", options, sink)
    start = time.process_time()
    for number in range(FANNED):
        await registry.mutate(services, "default", "a", partial(_labelled, str(number)), ctx)
        await asyncio.sleep(0)
    used = time.process_time() - start
    assert heard[0] == FANNED * NODES, heard
    say(f"watch fan-out: an event delivered, {NODES:,} watchers of it", used / FANNED / NODES * 1e6, "µs")


def _labelled(value: str, obj: Obj) -> Obj:
    obj["metadata"]["labels"] = {"number": value}
    return obj


def _running(obj: Obj) -> Obj:
    obj["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return obj


async def commits(path: Path) -> None:
    """Writers that wait for the disk share its commits."""
    store = SqliteStore(path)
    await store.start()
    value = orjson.dumps(lease("node"))

    async def write(number: int) -> None:
        for _ in range(COMMITS // WRITERS):
            await store.put(f"/k/{number}", value)

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[write(number) for number in range(WRITERS)])
    say(f"durable commits a second, {WRITERS} writers", COMMITS / (time.perf_counter() - wall), "/s")
    say("CPU of one", (time.process_time() - cpu) / COMMITS * 1e6, "µs")
    cpu = time.process_time()
    for _ in range(COMMITS):
        await store.put("/k/0", value, volatile=True)
    say("volatile put", (time.process_time() - cpu) / COMMITS * 1e6, "µs")
    await store.close()


async def _measure() -> None:
    """All figures."""
    with TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "registry.db")
        await store.start()
        registry = Registry(store, builtin_catalogue())
        await registry.start()
        await renewals(registry)
        await deliveries(registry)
        await fan_out(registry)
        await registry.close()
        await store.close()
        await commits(Path(folder) / "commits.db")


if __name__ == "__main__":
    import uvloop

    uvloop.run(_measure())
    print(json.dumps(_figures))
