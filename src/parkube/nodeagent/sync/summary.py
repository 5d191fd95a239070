"""What a node and its pods use, as kubelet tells it: the Summary of `/stats/summary`, and `/metrics/resource`. Pure.

Sources: Kubernetes, stats/v1alpha1 Summary; documentation, "Resource metrics pipeline" and "Node metrics data".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.model import Container, ContainerPhase, PodObserved, Usage
from parkube.nodeagent.plan.pressure import Signals
from parkube.nodeagent.plan.status import rfc3339


class Sample(NamedTuple):
    """All that was seen at one time. `cpu_ns` is the node's, since it started at `booted_at`."""

    at: float
    pods: tuple[PodObserved, ...]
    usages: Mapping[str, Usage]  # by container id
    signals: Signals
    memory_total: int
    cpu_ns: int
    booted_at: float


def summary(node: str, now: Sample, before: Sample | None) -> Obj:
    """The Summary; rates are those since the sample before."""
    stamp, signals = rfc3339(now.at), now.signals
    used = now.memory_total - signals.memory_available
    filesystem = {
        "time": stamp, "availableBytes": signals.disk_available, "capacityBytes": signals.disk_capacity,
        "usedBytes": signals.disk_capacity - signals.disk_available, "inodesFree": signals.inodes_free,
        "inodes": signals.inodes, "inodesUsed": signals.inodes - signals.inodes_free,
    }  # fmt: skip
    return {
        "node": {
            "nodeName": node, "startTime": rfc3339(now.booted_at),
            "cpu": _cpu(stamp, now.cpu_ns, before.cpu_ns if before else 0, now.at - before.at if before else 0),
            "memory": {
                "time": stamp, "availableBytes": signals.memory_available, "usageBytes": used, "workingSetBytes": used,
            },
            "fs": filesystem, "runtime": {"imageFs": filesystem, "containerFs": filesystem},
        },
        "pods": [_pod(pod, now, before) for pod in now.pods],
    }  # fmt: skip


def _running(pod: PodObserved, sample: Sample) -> Iterator[tuple[Container, Usage]]:
    for container in pod.containers:
        if container.phase is ContainerPhase.RUNNING and container.id in sample.usages:
            yield container, sample.usages[container.id]


def _pod(pod: PodObserved, now: Sample, before: Sample | None) -> Obj:
    containers = [_container(container, usage, now, before) for container, usage in _running(pod, now)]
    stamp, sandbox = rfc3339(now.at), pod.sandbox

    def total(part: str, name: str) -> int:
        return sum(container[part].get(name, 0) for container in containers)

    cpu = {"time": stamp, "usageCoreNanoSeconds": total("cpu", "usageCoreNanoSeconds")}
    if any("usageNanoCores" in container["cpu"] for container in containers):
        cpu["usageNanoCores"] = total("cpu", "usageNanoCores")
    names = ("usageBytes", "workingSetBytes", "rssBytes")
    return {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": rfc3339(sandbox.created_at if sandbox else now.at), "containers": containers, "cpu": cpu,
        "memory": {"time": stamp, **{name: total("memory", name) for name in names}},
        "ephemeral-storage": {"time": stamp, "usedBytes": total("rootfs", "usedBytes")},
    }  # fmt: skip


def _container(container: Container, usage: Usage, now: Sample, before: Sample | None) -> Obj:
    stamp, last = rfc3339(usage.at or now.at), before.usages.get(container.id) if before else None
    return {
        "name": container.name, "startTime": rfc3339(container.started_at),
        "cpu": _cpu(stamp, usage.cpu_ns, last.cpu_ns if last else 0, usage.at - last.at if last else 0),
        "memory": {
            "time": stamp, "usageBytes": usage.memory_usage, "workingSetBytes": usage.memory_working_set,
            "rssBytes": usage.memory_rss,
        },
        "rootfs": {"time": stamp, "usedBytes": usage.disk, "inodesUsed": usage.inodes},
    }  # fmt: skip


def _cpu(stamp: str, total: int, before: int, seconds: float) -> Obj:
    """Nanoseconds in all, and a second where there is an earlier figure."""
    rate = {"usageNanoCores": max(0, int((total - before) / seconds))} if seconds > 0 and total >= before else {}
    return {"time": stamp, **rate, "usageCoreNanoSeconds": total}


def metrics(now: Sample) -> str:
    """`/metrics/resource` in Prometheus' text format."""
    stamp = int(now.at * 1000)
    used = now.memory_total - now.signals.memory_available
    rows: list[tuple[str, str, dict[str, str], float]] = [
        ("node_cpu_usage_seconds_total", "counter", {}, now.cpu_ns / 1e9),
        ("node_memory_working_set_bytes", "gauge", {}, used),
    ]
    for pod in now.pods:
        of_pod = {"namespace": pod.namespace, "pod": pod.name}
        running = list(_running(pod, now))
        for container, usage in running:
            labels = {"container": container.name, **of_pod}
            rows.append(("container_cpu_usage_seconds_total", "counter", labels, usage.cpu_ns / 1e9))
            rows.append(("container_memory_working_set_bytes", "gauge", labels, usage.memory_working_set))
            rows.append(("container_start_time_seconds", "gauge", labels, container.started_at))
        if running:
            total = sum(usage.memory_working_set for _, usage in running)
            rows.append(("pod_cpu_usage_seconds_total", "counter", of_pod, sum(u.cpu_ns for _, u in running) / 1e9))
            rows.append(("pod_memory_working_set_bytes", "gauge", of_pod, total))
    rows.append(("scrape_error", "gauge", {}, 0))
    return "".join(_exposed(rows, stamp))


def _exposed(rows: Iterable[tuple[str, str, dict[str, str], float]], stamp: int) -> Iterator[str]:
    kind_of = ""
    for name, kind, labels, value in sorted(rows, key=lambda row: row[0]):
        if name != kind_of:
            kind_of = name
            yield f"# TYPE {name} {kind}\n"
        shown = ",".join(f'{key}="{text}"' for key, text in labels.items())
        yield f"{name}{{{shown}}} {value!r} {stamp}\n" if shown else f"{name} {value!r} {stamp}\n"
