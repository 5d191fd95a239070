"""TCP connections into the cluster: to an address as a node sees it, through its tunnel, or from this machine.

Nodes are behind routers and pods have addresses of their own, so the server can dial neither; the node's agent does it,
on a stream that begins with an HTTP `CONNECT` (RFC 9110, 9.3.6). What is said on the connection is not known here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import orjson

from parkube.controlplane.tunnel.tunnels import Tunnels
from parkube.kubeapi.errors import ApiError, InternalError, ServiceUnavailable, from_status
from parkube.kubeapi.http import Dialer
from parkube.kubeapi.splice import Splice

CONNECT_S = 10.0  # how long a connection may take to be there
_MAX_HEAD = 64 * 1024
P = TypeVar("P", bound=asyncio.Protocol)


async def connect(
    tunnels: Tunnels, node: str, host: str, port: int, factory: Callable[[], P],
    context: ssl.SSLContext | None = None, server_hostname: str = "",
) -> tuple[asyncio.Transport, P]:  # fmt: skip
    """A TCP connection to `host` (an IP address) and `port`, dialled by the agent of `node`; by this machine where
    `node` is empty. With TLS when a context is given. Raises `ServiceUnavailable` when it cannot be made."""
    try:
        async with asyncio.timeout(CONNECT_S):
            if context is not None:
                return await _secured(tunnels, node, host, port, factory, context, server_hostname or host)
            return await _plain(tunnels, node, host, port, factory)
    except TimeoutError as error:
        raise ServiceUnavailable(f"no connection to {host}:{port} in {CONNECT_S:.0f} s") from error
    except OSError as error:
        raise ServiceUnavailable(f"no connection to {host}:{port}: {error}") from error


def dialer(
    tunnels: Tunnels, node: str, host: str, port: int, context: ssl.SSLContext | None = None, server_hostname: str = ""
) -> Dialer:
    """`connect` in the form that an HTTP client takes."""

    async def dial(factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        return await connect(tunnels, node, host, port, factory, context, server_hostname)

    return dial


async def _plain(
    tunnels: Tunnels, node: str, host: str, port: int, factory: Callable[[], P]
) -> tuple[asyncio.Transport, P]:
    if not node:
        return await asyncio.get_running_loop().create_connection(factory, host, port)
    opening = _Opening()
    stream = tunnels.open(node, opening)
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        stream.write(f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode("latin-1"))
        await opening.done
        if stream.is_closing():
            raise ConnectionResetError("it was closed at once")
    except BaseException:
        stream.abort()
        raise
    protocol = factory()
    stream.set_protocol(protocol)
    protocol.connection_made(stream)
    if opening.rest:
        protocol.data_received(opening.rest)
    stream.resume_reading()
    return stream, protocol


async def _secured(
    tunnels: Tunnels, node: str, host: str, port: int, factory: Callable[[], P], context: ssl.SSLContext, name: str
) -> tuple[asyncio.Transport, P]:
    """Event loops speak TLS on sockets only, so a stream of a tunnel gets a pair of them in between."""
    loop = asyncio.get_running_loop()
    if not node:
        return await loop.create_connection(factory, host, port, ssl=context, server_hostname=name)
    carrier, far = await _plain(tunnels, node, host, port, Splice)
    ours, theirs = socket.socketpair()
    try:
        inner = Splice()
        await loop.create_unix_connection(lambda: inner, sock=theirs)
        far.join(inner)
        return await loop.create_unix_connection(factory, sock=ours, ssl=context, server_hostname=name)
    except BaseException:
        carrier.abort()
        ours.close()
        theirs.close()
        raise


class _Opening(asyncio.Protocol):
    """Reads the agent's answer to CONNECT; `done` when the connection is there, with its error when it is not."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rest = b""
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if self.done.done():
            self.rest += data
        elif found and head.split(b" ", 2)[1:2] == [b"200"]:
            self.rest = rest
            if self._transport is not None:
                self._transport.pause_reading()  # until whoever asked has its protocol in place
            self.done.set_result(None)
        elif len(self._buffer) > _MAX_HEAD:
            self._refused(InternalError("the node's answer to CONNECT has no end"))

    def eof_received(self) -> bool:
        self._refused(_said(self._buffer.partition(b"\r\n\r\n")[2]))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._refused(_said(self._buffer.partition(b"\r\n\r\n")[2]))

    def _refused(self, error: ApiError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _said(body: bytes) -> ApiError:
    try:
        return from_status(orjson.loads(body))
    except (ValueError, TypeError, AttributeError):
        return ServiceUnavailable("the node went away before the connection was there")
