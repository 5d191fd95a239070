"""A small cluster for tests of controllers and scheduler: a fake API, some controllers, agents that play along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from parkube.controlplane.controllers import Views, controllers
from parkube.controlplane.controllers.options import Options
from parkube.controlplane.scheduler import Scheduler
from parkube.kubeapi.client import DAEMONSETS, DEPLOYMENTS, EVENTS, LEASES, NODES, PODS
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.objects import rfc3339
from parkube.kubeapi.recorder import Recorder
from tests.fakes.client import FakeClient
from tests.fakes.virtual_time import clock


class FakeCluster:
    """`async with FakeCluster("deployment", "replicaset") as c:` runs those controllers, and agents unless told not."""

    def __init__(
        self, *names: str, options: Options | None = None, scheduler: bool = False, agents: bool = True
    ) -> None:
        self._names, self._with_scheduler, self._with_agents = set(names), scheduler, agents
        self._options = options or Options()
        self.broken: set[str] = set()  # images that never become ready
        self.client = FakeClient(clock=clock)
        self.silent: set[str] = set()  # nodes that do not renew their lease
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> FakeCluster:
        self.client.graceful.add("pods")
        self.views = Views(self.client)
        self.recorder = Recorder(self.client, "test", clock=clock)
        chosen = controllers(self.client, self.views, self._options, clock=clock, recorder=self.recorder)
        runs: list[Any] = [self.views.run(), self.recorder.run()]
        runs += [c.run() for c in chosen if c.name in self._names]
        if self._with_scheduler:
            self.scheduler = Scheduler(self.client, self.views, clock=clock, recorder=self.recorder, random=lambda: 0.5)
            runs.append(self.scheduler.run())
        if self._with_agents:
            runs += [self._agents(), self._heartbeats()]
        self._tasks = [asyncio.create_task(run) for run in runs]
        await self.views.synced()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for answer in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(answer, Exception):
                raise answer

    # -- the world

    def node(
        self, name: str, *, cpu: str = "4", labels: Obj | None = None, taints: list[Obj] | None = None, **spec: Any
    ) -> Obj:
        """A ready node."""
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": rfc3339(clock())}
        resources = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
        return self.client.put(NODES, {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {**({"taints": taints} if taints else {}), **spec},
            "status": {
                "allocatable": resources, "capacity": resources,
                "conditions": [ready],
            },
        })  # fmt: skip

    async def _heartbeats(self) -> None:
        while True:
            for node in self.client.all(NODES):
                name = node["metadata"]["name"]
                if name not in self.silent:
                    meta = {"name": name, "namespace": "kube-node-lease"}
                    self.client.put(LEASES, {"metadata": meta, "spec": {"renewTime": rfc3339(clock())}})
            await asyncio.sleep(10)

    async def _agents(self) -> None:
        """Every tenth of a second: bound pods run and are ready, deleted ones are gone a second later."""
        while True:
            for pod in self.client.all(PODS):
                node = pod.get("spec", {}).get("nodeName")
                if not self._with_scheduler and not node:
                    pod["spec"]["nodeName"] = node = self._home(pod)
                    self.client.put(PODS, pod)
                if node and node not in self.silent:
                    await self._play(pod)
            await asyncio.sleep(0.1)

    def _home(self, pod: Obj) -> str:
        terms = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
        for term in (terms.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ():
            for field in term.get("matchFields") or ():
                return str(field["values"][0])
        return "node-1"

    async def _play(self, pod: Obj) -> None:
        m = pod["metadata"]
        if m.get("deletionTimestamp"):
            try:
                await self.client.delete(PODS, m["name"], m["namespace"], options={"gracePeriodSeconds": 0})
            except NotFound:
                return
        elif (pod.get("status") or {}).get("phase") is None:
            image = pod["spec"].get("containers", [{}])[0].get("image", "")
            good = image not in self.broken
            number = int(m["uid"].rpartition("-")[2])
            ready = {"type": "Ready", "status": "True" if good else "False", "lastTransitionTime": rfc3339(clock())}
            pod["status"] = {
                "phase": "Running" if good else "Pending",
                "podIP": f"10.42.{number >> 8}.{number & 255}",
                "conditions": [ready],
            }
            self.client.put(PODS, pod)

    # -- looking at it

    def pods(self) -> list[Obj]:
        """All pods that are not being deleted."""
        return [p for p in self.client.all(PODS) if not p["metadata"].get("deletionTimestamp")]

    def events(self) -> list[str]:
        """`Reason: message` of all events."""
        return [f"{e['reason']}: {e['message']}" for e in self.client.all(EVENTS)]

    async def until(self, true: Callable[[], bool], seconds: float = 120.0, what: str = "") -> None:
        """Wait in virtual time until something holds."""
        for _ in range(int(seconds / 0.1)):
            if true():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {what or true}")

    async def rolled_out(self, name: str, namespace: str = "default", seconds: float = 120.0) -> Obj:
        """What `kubectl rollout status` waits for; the Deployment."""

        def done() -> bool:
            d = next(x for x in self.client.all(DEPLOYMENTS) if x["metadata"]["name"] == name)
            status, want = d.get("status") or {}, d["spec"]["replicas"]
            return status.get("observedGeneration") == d["metadata"]["generation"] and all(
                status.get(k, 0) == want for k in ("replicas", "updatedReplicas", "availableReplicas")
            )

        await self.until(done, seconds, f"roll-out of {name}")
        return await self.client.get(DEPLOYMENTS, name, namespace)


def pod_template(image: str, **spec: Any) -> Obj:
    """A pod template labelled app=web."""
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}], **spec}}


def deployment(name: str = "web", image: str = "v1", replicas: int = 3, **spec: Any) -> Obj:
    """A Deployment as the API would have defaulted it."""
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": pod_template(image),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10, **spec,
        },
    }  # fmt: skip


def daemonset(name: str = "agent", image: str = "v1", **spec: Any) -> Obj:
    """A DaemonSet as the API would have defaulted it."""
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": pod_template(image),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}, **spec,
        },
    }  # fmt: skip


def images(pods: Sequence[Obj]) -> list[str]:
    """The image of each pod's first container, sorted."""
    return sorted(p["spec"]["containers"][0]["image"] for p in pods)


__all__ = ["DAEMONSETS", "FakeCluster", "daemonset", "deployment", "images", "pod_template"]
