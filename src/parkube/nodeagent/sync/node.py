"""Registers the node, renews its lease, keeps its status: by heartbeat every five minutes, at once when it changes.

register ──> renew every 10 s ──(gone from the API)──> register
                  └─ status: changed, 5 minutes old, or the lease had lapsed ──> write
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from parkube.kubeapi.client import LEASES, NODES, Client
from parkube.kubeapi.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, NotFound, Obj
from parkube.nodeagent.runtime.port import ImageInfo, Runtime, RuntimeFault, RuntimeInfo
from parkube.nodeagent.sync.node_facts import NodeState
from parkube.nodeagent.sync.node_object import Machine, conditions, labels, node_status, taints

log = logging.getLogger(__name__)
_NAMESPACE = "kube-node-lease"
_HEARTBEAT_S = 300.0
_RETRY_S = (0.5, 10.0)


@dataclass(slots=True)
class NodeSettings:
    """What is said of the node at its registration."""

    name: str
    labels: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()
    max_pods: int = 110
    external_ip: str = ""
    lease_s: int = 40
    interval_s: float = 10.0
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    uid: str = ""
    status: Obj = field(default_factory=dict)
    written_at: float = 0.0
    lease: Obj | None = None
    renewed_at: float = 0.0


class Node:
    """This node's object, status and lease."""

    def __init__(
        self, client: Client, settings: NodeSettings, machine: Machine, runtime: Runtime,
        state: NodeState, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._client, self._settings, self._machine, self._runtime = client, settings, machine, runtime
        self._state, self._clock = state, clock
        self._known = _Known()
        self._hurry = asyncio.Event()
        self.registered = asyncio.Event()
        self.pod_cidr = ""

    @property
    def uid(self) -> str:
        """The node's uid in the API; empty until it is registered."""
        return self._known.uid

    def hurry(self) -> None:
        """Renew and write the status now: the connection is back, or something of the node has changed."""
        self._known.written_at = 0.0
        self._hurry.set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            self._hurry.clear()
            try:
                if not self._known.uid:
                    await self._register()
                await self._renew()
                await self._report()
                failures = 0
                wait = self._settings.interval_s * random.uniform(0.96, 1.04)
            except NotFound:
                self._known = _Known()
                wait = random.uniform(*_RETRY_S) / 4
            except (Forbidden, Invalid) as error:
                log.error("the server does not take this node: %s", error)
                wait = _RETRY_S[1]
            except (ApiError, OSError, EOFError) as error:
                failures += 1
                log.debug("node: %s", error)
                wait = min(_RETRY_S[0] * 2**failures, _RETRY_S[1]) * random.uniform(0.5, 1)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass

    async def _register(self) -> None:
        settings = self._settings
        wanted = labels(settings.name, self._machine, settings.labels)
        node: Obj = {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": settings.name, "labels": wanted, "annotations": settings.annotations},
            "spec": {"taints": taints(settings.taints)} if settings.taints else {},
            "status": await self._status(),
        }  # fmt: skip
        try:
            found = await self._client.create(NODES, node)
        except AlreadyExists:
            found = await self._client.get(NODES, settings.name)
            missing = {
                kind: lacking
                for kind, own in (("labels", wanted), ("annotations", settings.annotations))
                if (lacking := _lacking(own, found["metadata"].get(kind) or {}))
            }
            if missing:
                await self._client.patch(NODES, settings.name, {"metadata": missing})
            self._known.status = found.get("status") or {}
        self._known.uid = found["metadata"]["uid"]
        self.pod_cidr = (found.get("spec") or {}).get("podCIDR") or self.pod_cidr
        self._known.written_at = 0.0
        self.registered.set()

    async def find_pod_cidr(self, patience_s: float = 3.0) -> str:
        """The pod CIDR the control plane gives; empty when it gives none in time."""
        deadline = self._clock() + patience_s
        await self.registered.wait()
        while not self.pod_cidr and self._clock() < deadline:
            await asyncio.sleep(0.1)
            try:
                node = await self._client.get(NODES, self._settings.name)
                self.pod_cidr = (node.get("spec") or {}).get("podCIDR") or ""
            except (ApiError, OSError, EOFError):
                continue
        return self.pod_cidr

    async def _runtime_info(self) -> tuple[RuntimeInfo | None, str]:
        try:
            return await self._runtime.info(), ""
        except (RuntimeFault, TimeoutError, OSError) as fault:
            return None, str(fault)

    async def _status(self) -> Obj:
        info, fault = await self._runtime_info()
        ips = self._state.host_ips
        addresses = [("InternalIP", ip) for ip in ips]
        addresses += [("ExternalIP", self._settings.external_ip), ("Hostname", self._settings.name)]
        before = self._known.status.get("conditions") or ()
        found = conditions(info, fault, self._clock(), before, self._state.pressures)
        images = await self._images() if info is not None else ()
        return node_status(self._machine, info, addresses, found, self._settings.max_pods, images)

    async def _images(self) -> Sequence[ImageInfo]:
        try:
            return await self._runtime.images()
        except (RuntimeFault, TimeoutError, OSError):
            return ()

    async def _report(self) -> None:
        status = await self._status()
        same = _steady(status) == _steady(self._known.status)
        if same and self._clock() - self._known.written_at < _HEARTBEAT_S:
            return
        written = await self._client.patch(NODES, self._settings.name, {"status": status}, subresource="status")
        self.pod_cidr = (written.get("spec") or {}).get("podCIDR") or self.pod_cidr
        self._known.status, self._known.written_at = status, self._clock()

    async def _renew(self) -> None:
        known, now = self._known, self._clock()
        if now - known.renewed_at > self._settings.lease_s * 0.75:
            known.written_at = 0.0  # the server may have called the node lost meanwhile
        micro = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        try:
            if known.lease is None:
                known.lease = await self._first_lease(micro)
            else:
                known.lease["spec"]["renewTime"] = micro
                known.lease = await self._client.update(LEASES, known.lease)
        except (Conflict, NotFound):
            known.lease = await self._first_lease(micro)
        known.renewed_at = self._clock()

    async def _first_lease(self, micro: str) -> Obj:
        name = self._settings.name
        spec = {
            "holderIdentity": name, "leaseDurationSeconds": self._settings.lease_s, "renewTime": micro,
        }  # fmt: skip
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._known.uid}
        lease: Obj = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": _NAMESPACE, "ownerReferences": [owner]}, "spec": spec,
        }  # fmt: skip
        try:
            return await self._client.create(LEASES, lease, _NAMESPACE)
        except AlreadyExists:
            found = await self._client.get(LEASES, name, _NAMESPACE)
            found["metadata"]["ownerReferences"], found["spec"] = [owner], spec
            return await self._client.update(LEASES, found)


def _steady(status: Obj) -> Obj:
    """A status without its heartbeat times."""
    return {
        key: [{k: v for k, v in c.items() if "Time" not in k} for c in value] if key == "conditions" else value
        for key, value in status.items()
        if key not in ("volumesInUse", "volumesAttached")
    }


def _lacking(wanted: dict[str, str], has: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if has.get(key) != value}
