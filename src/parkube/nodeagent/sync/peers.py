"""Keeps the pod network's links in step with the cluster's nodes. What they should be, `network.overlay` says.

The peers are remembered on disk, so that a node that starts with no server reaches those it knew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

import orjson

from parkube.kubeapi.client import NODES, Client
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.network.apply import NetworkFault
from parkube.nodeagent.network.overlay import Links, Peer, links

log = logging.getLogger(__name__)
_KIND, _KEY = "node", "peers"
_SETTLE_S, _RETRY_S = 0.3, 10.0  # nodes come in crowds; each change of links costs a child process


def keep(node: Obj) -> Peer:
    """A node as a peer."""
    listed = (node.get("status") or {}).get("addresses") or ()
    address = next((a.get("address", "") for a in listed if a.get("type") == "InternalIP"), "")
    return Peer((node.get("spec") or {}).get("podCIDR") or "", address)


class PodNetwork:
    """`start` once the node's pod CIDR is known, then `run`."""

    def __init__(
        self, client: Client, checkpoint: Checkpoint, backend: str, own_ips: tuple[str, ...],
        apply: Callable[[Links], Awaitable[int]],
    ) -> None:  # fmt: skip
        self._checkpoint, self._backend, self._own_ips, self._apply = checkpoint, backend, own_ips, apply
        self._informer: Informer[Peer] = Informer(client, NODES, keep)
        self._cidr = self._address = ""
        self._applied: Links | None = None
        self._moved = asyncio.Event()

    async def start(self, cidr: str, address: str) -> int:
        """The links to the peers that were last known; the MTU that pods should have, 0: the link's own."""
        self._cidr, self._address = cidr, address
        try:
            known = [Peer(*pair) for pair in orjson.loads(self._checkpoint.get(_KIND, _KEY) or b"[]")]
        except (ValueError, TypeError):
            known = []
        try:
            return await self._bring(known)
        except NetworkFault as fault:
            log.error("pods of other nodes cannot be reached: %s", fault)
            return 0

    async def run(self) -> None:
        """Follow the nodes, until cancelled."""
        if self._backend == "none":
            return
        self._informer.subscribe(lambda *_: self._moved.set())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run())
            group.create_task(self._keep_links())

    async def _keep_links(self) -> None:
        await self._informer.synced()
        while True:
            await asyncio.sleep(_SETTLE_S)
            self._moved.clear()
            peers = [peer for _, peer in self._informer.items()]
            try:
                await self._bring(peers)
                self._checkpoint.put(_KIND, _KEY, orjson.dumps([list(peer) for peer in sorted(peers)]))
            except NetworkFault as fault:
                log.error("the way to other nodes' pods cannot be set up: %s", fault)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_RETRY_S):
                        await self._moved.wait()
                continue
            await self._moved.wait()

    async def _bring(self, peers: Iterable[Peer]) -> int:
        wanted = links(self._backend, self._cidr, self._address, peers, self._own_ips)
        if wanted == self._applied:
            return 0
        self._applied = None
        mtu = await self._apply(wanted)
        self._applied = wanted
        return mtu
