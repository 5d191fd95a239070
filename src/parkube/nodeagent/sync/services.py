"""The Services as this node sees them, kept current: variables for containers, and rules to every backend.

What a Service's entries are, `network.backends` says. Services are remembered on disk, so that a node that starts with
no network serves its own pods; EndpointSlices are not: nobody on another node can be reached then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import orjson

from parkube.kubeapi.client import ENDPOINTSLICES, SERVICES, Client
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.network.apply import NetworkFault
from parkube.nodeagent.network.backends import (
    KUBERNETES,
    Slice,
    cluster_ips,
    entries,
    host_ports,
    keep_service,
    keep_slice,
    local_pods,
)
from parkube.nodeagent.network.rules import Backend, Rules
from parkube.nodeagent.plan.environment import service_variables

log = logging.getLogger(__name__)
_KIND, _SETTLE_S, _RETRY_S = "services", 0.05, 5.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where Services are looked at from."""

    node: str
    pod_cidr: str
    bridge: str
    service_cidr: str
    cluster_cidr: str
    own_ips: frozenset[str] = frozenset()  # Services' addresses that the node answers itself
    slices: bool = True  # whether backends on other nodes are of interest


class ServiceView:
    """Keeps the Services; `apply` gets new rules whenever Services, EndpointSlices or the node's pods move."""

    def __init__(
        self, client: Client, checkpoint: Checkpoint, pods: Callable[[], Iterable[tuple[Obj, Obj]]],
        api_server: Callable[[], Backend | None], apply: Callable[[Rules], Awaitable[None]], site: Site,
    ) -> None:  # fmt: skip
        self._checkpoint, self._pods, self._api_server, self._apply = checkpoint, pods, api_server, apply
        self._site, self._cidr = site, site.pod_cidr
        self.informer: Informer[bytes] = Informer(client, SERVICES, keep_service)
        self._slice_informer: Informer[Slice] = Informer(client, ENDPOINTSLICES, keep_slice)
        self.services = checkpoint.load(_KIND)
        self._slices: dict[str, dict[str, Slice]] = {}  # service -> slice's key -> slice
        self._moved = asyncio.Event()

    def known(self) -> bool:
        """Whether the Services have been read, now or before the last stop."""
        return self.informer.has_synced or KUBERNETES in self.services

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
        for key, kept in sorted(self.services.items()):
            where, _, name = key.partition("/")
            if key != KUBERNETES and (where != namespace or not all_of_them):
                continue
            spec = orjson.loads(kept)
            ips, ports = cluster_ips(spec), spec.get("ports") or ()
            if ips and ports and spec.get("type") != "ExternalName":
                listed = [(p.get("name") or "", int(p["port"]), p.get("protocol") or "TCP") for p in ports]
                wanted.append((name, ips[0], listed))
        return service_variables(wanted)

    def slices_of(self, service: str) -> Sequence[Slice]:
        """What EndpointSlices say of a Service."""
        return tuple(self._slices.get(service, {}).values())

    def own_pods(self) -> list[Obj]:
        """The node's pods as Services see them."""
        return local_pods(self._pods())

    def _on_service(self, _change: str, key: str, _old: bytes | None, new: bytes | None) -> None:
        if new is None:
            self.services.pop(key, None)
            self._checkpoint.delete(_KIND, key)
        else:
            self.services[key] = new
            self._checkpoint.put(_KIND, key, new)
        self._moved.set()

    def _on_slice(self, _change: str, key: str, old: Slice | None, new: Slice | None) -> None:
        if old is not None:
            of_service = self._slices.get(old.service, {})
            of_service.pop(key, None)
            if not of_service:
                self._slices.pop(old.service, None)
        if new is not None:
            self._slices.setdefault(new.service, {})[key] = new
        self._moved.set()

    def rules(self) -> Rules:
        """The rules as of now."""
        site, pods = self._site, self.own_pods()
        slices = {service: tuple(found.values()) for service, found in self._slices.items()}
        made = entries(self.services.items(), pods, slices, site.node, self._api_server(), site.own_ips)
        return Rules(
            self._cidr, site.bridge, site.service_cidr, site.cluster_cidr, tuple(made), tuple(host_ports(pods))
        )  # fmt: skip

    async def run(self) -> None:
        """Follow the Services and keep the rules, until cancelled."""
        self.informer.subscribe(self._on_service)
        self._slice_informer.subscribe(self._on_slice)
        self._moved.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.informer.run())
            if self._site.slices:
                group.create_task(self._slice_informer.run())
            group.create_task(self._keep_rules())
            group.create_task(self._forget_old())

    async def _forget_old(self) -> None:
        await self.informer.synced()
        for key in set(self.services) - {key for key, _ in self.informer.items()}:
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
