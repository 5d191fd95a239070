"""Gives each node its own part of the cluster's pod addresses (`spec.podCIDR`)."""

from __future__ import annotations

from ipaddress import ip_network
from typing import ClassVar

from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import GVR, NODES
from parkube.kubeapi.compact import NodeInfo
from parkube.kubeapi.errors import Conflict
from parkube.kubeapi.recorder import Reference


class Ranges:
    """Which parts of the cluster's range are taken. Never two nodes in one."""

    def __init__(self, cluster_cidr: str, bits: int) -> None:
        network = ip_network(cluster_cidr)
        self._base, self._version = int(network.network_address), network.version
        self._bits, self._step = bits, 2 ** (network.max_prefixlen - bits)
        self.size = max(0, network.num_addresses // self._step)
        self._taken: dict[int, str] = {}
        self._next = 0

    def _text(self, index: int) -> str:
        from_address = self._base + index * self._step
        return str(ip_network((from_address, self._bits)))

    def take(self, node: str, cidr: str) -> None:
        """Note that `node` has `cidr`."""
        network = ip_network(cidr)
        if network.version == self._version:
            index = (int(network.network_address) - self._base) // self._step
            if 0 <= index < self.size:
                self._taken.setdefault(index, node)

    def give(self, node: str) -> str | None:
        """A free part for `node`; None: all are taken."""
        for offset in range(self.size):
            index = (self._next + offset) % self.size
            if index not in self._taken:
                self._taken[index] = node
                self._next = index + 1
                return self._text(index)
        return None

    def release(self, node: str, cidr: str) -> None:
        """`node` is gone, or did not get `cidr` after all."""
        network = ip_network(cidr)
        index = (int(network.network_address) - self._base) // self._step
        if network.version == self._version and self._taken.get(index) == node:
            del self._taken[index]


class NodeIpam(Reconciler):
    """Sets `spec.podCIDR` on nodes that have none."""

    name: ClassVar[str] = "node-ipam"
    inputs: ClassVar[tuple[GVR, ...]] = (NODES,)
    outputs: ClassVar[tuple[GVR, ...]] = (NODES,)
    workers: ClassVar[int] = 1
    source: ClassVar[str] = "cidrAllocator"

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._ranges = Ranges(options.cluster_cidr, options.node_cidr_bits)
        self._full = False
        env.views.nodes.subscribe(self._changed)

    def _changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if new is None:
            if old is not None and old.pod_cidr:
                self._ranges.release(key, old.pod_cidr)
                self._full = False
        elif new.pod_cidr:
            if old is None or not old.pod_cidr:
                self._ranges.take(key, new.pod_cidr)
        elif old is None:
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """Give one node its range."""
        info = self.views.nodes.get(key)
        if info is None or info.pod_cidr or self._full:
            return None
        cidr = self._ranges.give(key)
        if cidr is None:
            self._full = True  # thousands of nodes may follow; one event each would help nobody
            text = f"Node {key} status is now: CIDRNotAvailable"
            self.recorder.warning(Reference("v1", "Node", "", key, key), "CIDRNotAvailable", text)
            return None
        try:
            node = await self.client.get(NODES, key)
            if (node.get("spec") or {}).get("podCIDR"):
                raise Conflict(f"node {key} has a podCIDR already")
            spec = {**(node.get("spec") or {}), "podCIDR": cidr, "podCIDRs": [cidr]}
            await self.client.update(NODES, {**node, "spec": spec})
        except BaseException:
            self._ranges.release(key, cidr)
            raise
        return None
