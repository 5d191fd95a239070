"""One agent put together: the pods' side, the node's side and the Services, on a client and a runtime that are given.

Real and hollow agents are the same thing here; they differ in what is handed in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from parkube.kubeapi.claims import LOCAL_STORAGE_PATH
from parkube.kubeapi.client import Client
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.recorder import Recorder
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.network.cni import BRIDGE
from parkube.nodeagent.network.rules import Backend, Rules
from parkube.nodeagent.plan.build import NodeFacts
from parkube.nodeagent.plan.pressure import Signals
from parkube.nodeagent.probes.prober import Prober
from parkube.nodeagent.runtime.port import Runtime
from parkube.nodeagent.sync.directories import LocalDirectories
from parkube.nodeagent.sync.eviction import Evictor
from parkube.nodeagent.sync.executor import Executor, Services
from parkube.nodeagent.sync.images import Images
from parkube.nodeagent.sync.limits import VolumeLimits
from parkube.nodeagent.sync.manager import Pods
from parkube.nodeagent.sync.node import Node, NodeSettings
from parkube.nodeagent.sync.node_facts import NodeState, resolver
from parkube.nodeagent.sync.node_object import Machine, read_machine, resources
from parkube.nodeagent.sync.pages import Pages
from parkube.nodeagent.sync.references import References
from parkube.nodeagent.sync.services import ServiceView, Site
from parkube.nodeagent.sync.static import StaticPods
from parkube.nodeagent.sync.tokens import Tokens
from parkube.nodeagent.volumes.mounts import Volumes


@dataclass(slots=True)
class Surroundings:
    """What an agent needs from outside. `apply` puts the Services' rules into effect."""

    client: Client
    runtime: Runtime
    connected: Callable[[], bool]
    api_server: Callable[[], Backend | None]
    apply: Callable[[Rules], Awaitable[None]]
    host_ips: tuple[str, ...]
    pod_cidr: str
    service_cidr: str
    cluster_cidr: str = "10.42.0.0/16"
    cluster_domain: str = "cluster.local"
    own_ips: tuple[str, ...] = ()  # Services' addresses that the node answers itself
    slices: bool = True  # whether Services reach backends on other nodes
    clock: Callable[[], float] = time.time
    machine: Machine | None = None
    signals: Callable[[], Signals] | None = None  # the node's memory and disk; None: never short of either
    auths: dict[str, dict[str, str]] | None = None  # logins by registry host


class Agent:
    """Its parts, and `run`."""

    def __init__(self, config: AgentConfig, around: Surroundings, *, checkpoint: Checkpoint | None = None) -> None:
        self._around = around
        machine = around.machine or read_machine(config.data_dir)
        clock, client, runtime = around.clock, around.client, around.runtime
        checkpoint = checkpoint or Checkpoint(config.checkpoint_dir)
        self.state = NodeState(
            NodeFacts(
                config.node_name,
                config.logs_dir,
                machine.memory,
                *resolver(Path(config.resolv_conf)),
                around.own_ips,
                around.cluster_domain,
                config.seccomp_dir,
            ),
            around.host_ips,
            resources(machine, config.max_pods)["allocatable"],
        )
        self.recorder = Recorder(client, "kubelet", clock=clock, host=config.node_name, queue=500)
        references = References(client, checkpoint, lambda uid: self.pods.volumes_changed(uid))
        self.services = ServiceView(
            client, checkpoint, self._pairs, around.api_server, around.apply,
            Site(
                config.node_name, around.pod_cidr, BRIDGE, around.service_cidr, around.cluster_cidr,
                frozenset(around.own_ips), around.slices,
            ),
        )  # fmt: skip
        prober = Prober(clock)
        self.directories = LocalDirectories(client, config.storage_dir)
        executor = Executor(
            runtime, Volumes(config.pods_dir, runtime), references, Tokens(client, clock),
            Images(runtime, clock, lambda: not around.connected(), around.auths or {}), self.directories, self.state,
            Services(self.services.variables, self.services.known), clock, self._tell,
        )  # fmt: skip
        static = StaticPods(config.manifests_dir, config.node_name, client, lambda: self.node.uid, clock)
        self.pods = Pods(
            client, config.node_name, runtime, executor, prober, checkpoint, self.recorder, clock, config.logs_dir,
            static,
        )  # fmt: skip
        self.pods.on_change(self.services.moved)
        settings = NodeSettings(
            config.node_name, config.node_labels, config.node_taints, config.max_pods, config.node_external_ip,
            config.lease_seconds, config.lease_interval_s, {LOCAL_STORAGE_PATH: str(config.storage_dir)},
        )  # fmt: skip
        self.node = Node(client, settings, machine, runtime, self.state, clock)
        self.limits = VolumeLimits(self.pods, executor.volumes.path)
        self.evictor = (
            Evictor(runtime, self.pods, self.state, around.signals, self.node.hurry, clock) if around.signals else None
        )

    def pages(self) -> Pages:
        """What the agent shows of itself."""
        facts, around = self.state.facts, self._around
        settings = {
            "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "clusterDomain": facts.cluster_domain, "clusterDNS": list(facts.cluster_dns),
            "maxPods": int(self.state.allocatable.get("pods", 0)), "cgroupDriver": "cgroupfs",
        }  # fmt: skip
        signals = around.signals or (lambda: Signals(facts.memory_bytes, 0, 0))
        return Pages(facts.name, self._pairs, around.runtime, signals, facts.memory_bytes, settings, around.clock)

    def _pairs(self) -> Iterator[tuple[Obj, Obj]]:
        for worker in self.pods:
            yield worker.pod, worker.status

    def _tell(self, pod: Obj, kind: str, reason: str, message: str, container: str) -> None:
        self.pods.tell(pod, kind, reason, message, container)

    def reconnected(self, connected: bool) -> None:
        """The uplink is up or down; up means: say at once what waited."""
        if connected:
            self.node.hurry()
            self.pods.statuses.hurry()

    async def run(self) -> None:
        """Until cancelled; containers run on."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.node.run())
            group.create_task(self.recorder.run())
            group.create_task(self.services.run())
            group.create_task(self.pods.run())
            group.create_task(self.directories.run())
            if self.evictor is not None:
                group.create_task(self.evictor.run())
                group.create_task(self.limits.run())
