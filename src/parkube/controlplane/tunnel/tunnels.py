"""The tunnels that agents have dialled: who is connected, and how to open a stream to a node.

Streams that an agent opens are served by the protocol that `accept` makes, as the node's own user. Nothing here knows
what is said on a stream. Agents make themselves heard at least every 30 seconds; whoever is silent for two sweeps is
taken for dead, so one timer serves all tunnels.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import Forbidden, ServiceUnavailable
from parkube.kubeapi.mux import Mux, MuxError, Stream

log = logging.getLogger(__name__)

UPGRADE = "parkube-mux"  # the token in the Upgrade header of GET /v1-parkube/tunnel
SWEEP_S = 45.0
Hijack = Callable[[asyncio.Protocol], asyncio.Transport]


class Tunnel(NamedTuple):
    """One agent's connection."""

    node: str
    mux: Mux
    peer: str  # the address it comes from, as the server sees it


def node_of(user: User) -> str:
    """The node that a user is; empty when it is none."""
    return user.name.removeprefix("system:node:") if "system:nodes" in user.groups else ""


class Tunnels:
    """The registry of tunnels by node name."""

    def __init__(self, accept: Callable[[User], asyncio.Protocol]) -> None:
        self._accept = accept
        self._by_node: dict[str, Tunnel] = {}

    def get(self, node: str) -> Tunnel | None:
        """The node's tunnel, if it is connected."""
        tunnel = self._by_node.get(node)
        return tunnel if tunnel is not None and tunnel.mux.alive else None

    def __iter__(self) -> Iterator[Tunnel]:
        return iter(list(self._by_node.values()))

    def __len__(self) -> int:
        return len(self._by_node)

    def open(self, node: str, protocol: asyncio.Protocol) -> Stream:
        """A new stream to the node's agent. Raises `ServiceUnavailable` when the node is not connected."""
        tunnel = self.get(node)
        if tunnel is not None:
            try:
                return tunnel.mux.open(protocol)
            except MuxError as exc:
                raise ServiceUnavailable(f'node "{node}" cannot be reached: {exc}') from exc
        raise ServiceUnavailable(f'node "{node}" is not connected to this server: its agent is down or cut off')

    def adopt(self, user: User, hijack: Hijack) -> Mux:
        """Make a tunnel of the connection on which `user` asked for it. `hijack` gives the raw transport to a
        protocol. An older tunnel of the same node is dropped. Raises `Forbidden` when the user is no node."""
        node = node_of(user)
        if not node:
            raise Forbidden(f'user "{user.name}" is no node and cannot open a tunnel')
        tunnel: Tunnel | None = None

        def lost(exc: Exception | None) -> None:
            if tunnel is not None and self._by_node.get(node) is tunnel:
                del self._by_node[node]

        mux = Mux(lambda: self._accept(user), dialled=False, on_lost=lost)
        transport = hijack(_Handover(mux))
        peer = transport.get_extra_info("peername") or ("",)
        tunnel = Tunnel(node, mux, str(peer[0]))
        older = self._by_node.get(node)
        self._by_node[node] = tunnel
        if older is not None:
            older.mux.abort()
        return mux

    async def watch_over(self) -> None:
        """Drop the tunnels that fell silent; runs until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()

    def sweep(self) -> None:
        """One look: abort the tunnels not heard since the last one."""
        for tunnel in list(self._by_node.values()):
            if not tunnel.mux.heard:
                log.warning("node %s has fallen silent: its tunnel is dropped", tunnel.node)
                tunnel.mux.abort()
            tunnel.mux.heard = False

    def close(self) -> None:
        """Close all tunnels; agents will dial again."""
        for tunnel in list(self._by_node.values()):
            tunnel.mux.close()


class _Handover(asyncio.Protocol):
    """Answers the upgrade, then puts the mux in the place of whatever protocol the transport had."""

    def __init__(self, mux: Mux) -> None:
        self._mux = mux

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        assert hasattr(transport, "set_protocol")
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + UPGRADE.encode() + b"\r\n\r\n"
        )
        self._mux.connection_made(transport)
        transport.set_protocol(self._mux)

    def data_received(self, data: bytes) -> None:
        self._mux.data_received(data)  # what came together with the request

    def connection_lost(self, exc: Exception | None) -> None:
        self._mux.connection_lost(exc)

    def pause_writing(self) -> None:
        self._mux.pause_writing()

    def resume_writing(self) -> None:
        self._mux.resume_writing()
