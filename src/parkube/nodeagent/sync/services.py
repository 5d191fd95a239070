"""The Services as this node sees them: variables for containers, and rules to its own ready pods.

Backends are found among the node's own pods by the Service's selector, so no EndpointSlice has to come over the wire,
and Services go on working with no network. Nothing reaches a backend on another node in this version.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import orjson

from parkube.kubeapi.client import SERVICES, Client
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.network.apply import NetworkFault
from parkube.nodeagent.network.rules import Backend, Entry, HostPort, Rules
from parkube.nodeagent.plan.environment import service_variables

log = logging.getLogger(__name__)
_KIND, _SETTLE_S, _RETRY_S = "services", 0.05, 5.0
_KUBERNETES = "default/kubernetes"


def keep(service: Obj) -> bytes:
    """What of a Service matters here."""
    spec = service.get("spec") or {}
    keys = ("clusterIP", "clusterIPs", "externalIPs", "type", "ports", "selector", "publishNotReadyAddresses",
            "sessionAffinity")  # fmt: skip
    return bytes(orjson.dumps({key: spec[key] for key in keys if spec.get(key)}))


def local_pods(pods: Iterable[tuple[Obj, Obj]]) -> list[Obj]:
    """(pod, status) pairs as what Services and host ports look at."""
    result = []
    for pod, status in pods:
        if status.get("phase") in ("Succeeded", "Failed") or not status.get("podIP"):
            continue
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        containers = pod["spec"].get("containers") or ()
        result.append({
            "namespace": pod["metadata"]["namespace"], "labels": pod["metadata"].get("labels") or {},
            "ip": status["podIP"], "ready": ready and not pod["metadata"].get("deletionTimestamp"),
            "ports": [p for c in containers for p in c.get("ports") or ()],
            "host_network": bool(pod["spec"].get("hostNetwork")),
        })  # fmt: skip
    return result


def entries(services: Iterable[tuple[str, bytes]], pods: list[Obj], api_server: Backend | None) -> Iterator[Entry]:
    """One entry for each port of each Service that has an address."""
    for key, kept in services:
        spec = orjson.loads(kept)
        ips = tuple(ip for ip in [*_cluster_ips(spec), *(spec.get("externalIPs") or ())] if ip)
        if not ips or spec.get("type") == "ExternalName":
            continue
        namespace = key.partition("/")[0]
        selector = spec.get("selector")
        chosen = [
            p for p in pods if selector and p["namespace"] == namespace and selector.items() <= p["labels"].items()
        ]
        if not spec.get("publishNotReadyAddresses"):
            chosen = [p for p in chosen if p["ready"]]
        for port in spec.get("ports") or ():
            if key == _KUBERNETES:
                backends: tuple[Backend, ...] = (api_server,) if api_server else ()
            else:
                backends = tuple(b for p in chosen if (b := _backend(p, port)) is not None)
            yield Entry(
                f"{key}:{port.get('name') or port['port']}", str(port.get("protocol") or "TCP").lower(),
                int(port["port"]), ips, int(port.get("nodePort") or 0), backends,
                10800 if spec.get("sessionAffinity") == "ClientIP" else 0,
            )  # fmt: skip


def _cluster_ips(spec: Obj) -> list[str]:
    ips = spec.get("clusterIPs") or [spec.get("clusterIP", "")]
    return [ip for ip in ips if ip and ip != "None"]


def _backend(pod: Obj, port: Obj) -> Backend | None:
    target: Any = port.get("targetPort", port["port"])
    if isinstance(target, str) and not target.isdigit():
        protocol = port.get("protocol") or "TCP"
        found = [p for p in pod["ports"] if p.get("name") == target and (p.get("protocol") or "TCP") == protocol]
        if not found:
            return None
        target = found[0]["containerPort"]
    return Backend(pod["ip"], int(target) or int(port["port"]))


def host_ports(pods: list[Obj]) -> list[HostPort]:
    """The host ports of pods that do not share the machine's network anyway."""
    return [
        HostPort(
            str(port.get("protocol") or "TCP").lower(), int(port["hostPort"]),
            Backend(pod["ip"], int(port["containerPort"])), port.get("hostIP") or "",
        )
        for pod in pods
        if not pod["host_network"]
        for port in pod["ports"]
        if port.get("hostPort")
    ]  # fmt: skip


class ServiceView:
    """Keeps the Services; `apply` gets new rules whenever Services or the node's pods move."""

    def __init__(
        self, client: Client, checkpoint: Checkpoint, pods: Callable[[], Iterable[tuple[Obj, Obj]]],
        api_server: Callable[[], Backend | None], apply: Callable[[Rules], Awaitable[None]],
        *, pod_cidr: str, bridge: str, service_cidr: str,
    ) -> None:  # fmt: skip
        self._checkpoint, self._pods, self._api_server, self._apply = checkpoint, pods, api_server, apply
        self._cidr, self._bridge, self._service_cidr = pod_cidr, bridge, service_cidr
        self.informer: Informer[bytes] = Informer(client, SERVICES, keep)
        self._services = checkpoint.load(_KIND)
        self._moved = asyncio.Event()

    def known(self) -> bool:
        """Whether the Services have been read, now or before the last stop."""
        return self.informer.has_synced or _KUBERNETES in self._services

    def use_pod_cidr(self, cidr: str) -> None:
        """The node's pod CIDR, once it is known."""
        self._cidr = cidr
        self._moved.set()

    def moved(self) -> None:
        """Pods of the node have changed."""
        self._moved.set()

    def variables(self, pod: Obj) -> dict[str, str]:
        """What a container of this pod is told of Services."""
        namespace = pod["metadata"]["namespace"]
        all_of_them = pod["spec"].get("enableServiceLinks") is not False
        wanted = []
        for key, kept in sorted(self._services.items()):
            where, _, name = key.partition("/")
            if key != _KUBERNETES and (where != namespace or not all_of_them):
                continue
            spec = orjson.loads(kept)
            ips, ports = _cluster_ips(spec), spec.get("ports") or ()
            if ips and ports:
                listed = [(p.get("name") or "", int(p["port"]), p.get("protocol") or "TCP") for p in ports]
                wanted.append((name, ips[0], listed))
        return service_variables(wanted)

    def _on_service(self, _change: str, key: str, _old: bytes | None, new: bytes | None) -> None:
        if new is None:
            self._services.pop(key, None)
            self._checkpoint.delete(_KIND, key)
        else:
            self._services[key] = new
            self._checkpoint.put(_KIND, key, new)
        self._moved.set()

    def rules(self) -> Rules:
        """The rules as of now."""
        pods = local_pods(self._pods())
        return Rules(
            self._cidr, self._bridge, self._service_cidr,
            tuple(entries(self._services.items(), pods, self._api_server())), tuple(host_ports(pods)),
        )  # fmt: skip

    async def run(self) -> None:
        """Follow the Services and keep the rules, until cancelled."""
        self.informer.subscribe(self._on_service)
        self._moved.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informer.run())
            group.create_task(self._keep_rules())
            group.create_task(self._forget_old())

    async def _forget_old(self) -> None:
        await self.informer.synced()
        for key in set(self._services) - {key for key, _ in self.informer.items()}:
            self._on_service("DELETED", key, None, None)

    async def _keep_rules(self) -> None:
        while True:
            await self._moved.wait()
            await asyncio.sleep(_SETTLE_S)  # changes come in bursts; one transaction for all of them
            self._moved.clear()
            try:
                await self._apply(self.rules())
            except NetworkFault as fault:
                log.error("the Services' rules cannot be applied: %s", fault)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S):
                        await self._moved.wait()
                self._moved.set()
