"""A whole agent on a hollow runtime and a client in memory, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from parkube.kubeapi.client import PODS, SERVICES
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.main.agent import Agent, Surroundings
from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.main.hollow import MACHINE
from parkube.nodeagent.network.rules import Backend, Rules
from parkube.nodeagent.plan.pressure import Signals
from parkube.nodeagent.runtime.hollow import HollowRuntime
from tests.fakes.client import FakeClient
from tests.fakes.virtual_time import clock

NODE = "edge-1"


def container(name: str = "c", **more: Any) -> Obj:
    """A container whose image is always there."""
    return {"name": name, "image": "app:1", "imagePullPolicy": "IfNotPresent", **more}


def pod(name: str, *containers: Obj, **spec: Any) -> Obj:
    """A pod that is bound to the node."""
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"nodeName": NODE, "containers": list(containers) or [container()], **spec},
    }  # fmt: skip


class Edge:
    """One node: its agent may be stopped and started again on the same runtime and folder."""

    def __init__(self, folder: Path) -> None:
        self.client = FakeClient(clock=clock)
        self.client.graceful.add("pods")
        self.client.put(SERVICES, {
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"clusterIP": "10.43.0.1", "ports": [{"name": "https", "port": 443}]},
        })  # fmt: skip
        self.runtime = HollowRuntime(clock)
        self.rules: list[Rules] = []
        self.connected = True
        self.signals = Signals(8 << 30, 90 << 30, 100 << 30)
        self._folder = folder

    def agent(self) -> Agent:
        """An agent on this node."""

        async def apply(rules: Rules) -> None:
            self.rules.append(rules)

        config = AgentConfig(server="", node_name=NODE, data_dir=self._folder, resolv_conf="/dev/null")
        return Agent(config, Surroundings(
            client=self.client, runtime=self.runtime, connected=lambda: self.connected,
            api_server=lambda: Backend("192.0.2.9", 6443), apply=apply, host_ips=("192.0.2.1",),
            pod_cidr="10.42.1.0/24", service_cidr="10.43.0.0/16", clock=clock, machine=MACHINE,
            signals=lambda: self.signals,
        ))  # fmt: skip

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        """The agent runs meanwhile."""
        agent = self.agent()
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def status(self, name: str) -> Obj:
        """A pod's status in the API."""
        found = [p for p in self.client.all(PODS) if p["metadata"]["name"] == name]
        return dict(found[0].get("status") or {}) if found else {}

    async def containers(self, name: str) -> dict[str, Any]:
        """The newest container of each name."""
        return {c.name: c for c in await self.runtime.containers("default", name)}


def waiting(status: Obj, index: int = 0) -> str:
    """The waiting reason of a container."""
    found = status.get("containerStatuses") or [{}]
    return str(found[index].get("state", {}).get("waiting", {}).get("reason", ""))


def ready(status: Obj) -> bool:
    """The Ready condition."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
