"""Carries a client's request to a node's agent or a proxied place: a plain exchange, or an upgraded connection.

Upgraded connections are passed through as bytes, whatever they speak; the far end understands them, not the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

import httptools
import orjson

from parkube.controlplane.tunnel.answers import Answer
from parkube.controlplane.tunnel.tunnels import Hijack, Tunnels
from parkube.kubeapi.errors import ApiError, InternalError, ServiceUnavailable, Timeout, from_status
from parkube.kubeapi.http import Dialer
from parkube.kubeapi.splice import Splice

ANSWER_S = 30.0  # how long an agent may take to begin its answer
_HOP = frozenset(("host", "authorization", "content-length", "connection"))  # not passed on to the node


def pass_through(
    tunnels: Tunnels, node: str, method: str, target: str, headers: Iterable[tuple[str, str]], hijack: Hijack
) -> None:
    """Hand an `Upgrade` request to the node's agent and join the two connections. The agent answers the upgrade.

    `target` is path and query at the agent, already percent-encoded. Raises `ServiceUnavailable` before anything was
    written when the node is away.
    """
    up, down = Splice(), Splice()
    stream = tunnels.open(node, up)
    lines = [f"{method} {target} HTTP/1.1", "host: agent", "connection: Upgrade"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in _HOP]
    if method in ("POST", "PUT"):
        lines.append("content-length: 0")
    stream.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    up.join(down)
    try:
        hijack(down)
    except OSError:
        stream.abort()


async def fetch(tunnels: Tunnels, node: str, target: str) -> Answer:
    """GET `target` from the node's agent. An answer over 299 that is a `Status` is raised as its error."""
    reader = _Fetch()
    stream = tunnels.open(node, reader)
    stream.write(f"GET {target} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n".encode("latin-1"))
    try:
        async with asyncio.timeout(ANSWER_S):
            await reader.begun()
    except TimeoutError as exc:
        stream.abort()
        raise Timeout(f'node "{node}" did not answer in {ANSWER_S:.0f} s') from exc
    if reader.status > 299:
        body = b"".join([chunk async for chunk in reader.chunks()])
        raise _error(reader.status, body)
    return Answer(reader.status, b"", reader.content_type, chunks=reader.chunks())


async def exchange(
    dial: Dialer, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[bytes, bytes]], AsyncIterator[bytes]]:
    """One request on a connection of its own: status, headers and the body as it comes, to be closed by the caller.
    Raises what `dial` raises, and `Timeout`."""
    reader = _Fetch(bodiless=method == "HEAD")
    transport, _ = await dial(lambda: reader)
    lines = [f"{method} {target} HTTP/1.1", "connection: close", *(f"{name}: {value}" for name, value in headers)]
    if body or method not in ("GET", "HEAD", "DELETE", "OPTIONS"):
        lines.append(f"content-length: {len(body)}")
    transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    try:
        async with asyncio.timeout(ANSWER_S):
            await reader.begun()
    except TimeoutError as exc:
        transport.abort()
        raise Timeout(f"no answer in {ANSWER_S:.0f} s") from exc
    except BaseException:
        transport.abort()
        raise
    return reader.status, reader.headers, reader.chunks()


async def pass_upgrade(
    dial: Dialer, method: str, target: str, headers: Sequence[tuple[str, str]], hijack: Hijack
) -> None:
    """Hand a request that asks for an upgrade to whoever listens there, and join the two connections."""
    up, down = Splice(), Splice()
    transport, _ = await dial(lambda: up)
    lines = [f"{method} {target} HTTP/1.1", "connection: Upgrade", *(f"{name}: {value}" for name, value in headers)]
    transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    up.join(down)
    try:
        hijack(down)
    except OSError:
        transport.abort()


def _error(code: int, body: bytes) -> ApiError:
    try:
        status = orjson.loads(body)
        assert isinstance(status, dict)
        return from_status(status)
    except (ValueError, AssertionError):
        return InternalError(f"the node answered {code}: {body[:200].decode('utf-8', 'replace')}")


class _Fetch(asyncio.Protocol):
    """Reads one answer; its body comes out as chunks, at the pace they are taken."""

    def __init__(self, *, bodiless: bool = False) -> None:
        self.status = 0
        self.content_type = b"application/octet-stream"
        self.headers: list[tuple[bytes, bytes]] = []
        self._bodiless = bodiless
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._done = False
        self._failed: ApiError | None = None
        self._wake = asyncio.Event()
        self._head = asyncio.Event()

    async def begun(self) -> None:
        """Return when status and headers are here. Raises `ServiceUnavailable` when the node went away before."""
        await self._head.wait()
        if self._failed is not None and not self.status:
            raise self._failed

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body; ends early, without an error, when the node goes away in the middle."""
        try:
            while True:
                if self._chunks:
                    chunk = b"".join(self._chunks)
                    self._chunks.clear()
                    if self._transport is not None:
                        self._transport.resume_reading()
                    yield chunk
                elif self._done:
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            if self._transport is not None:
                self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._failed = InternalError(f"the node's answer cannot be read: {exc}")
            self._finish()

    def eof_received(self) -> bool:
        self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._failed = self._failed or ServiceUnavailable("the connection was lost before the answer")
        self._finish()

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools' callback."""
        self.headers.append((name, value))
        if name.lower() == b"content-type":
            self.content_type = value

    def on_headers_complete(self) -> None:
        """httptools' callback."""
        status = self._parser.get_status_code()
        if status < 200:  # only a word on the way
            self.headers.clear()
            return
        self.status = status
        self._head.set()
        if self._bodiless:
            self._finish()

    def on_body(self, body: bytes) -> None:
        """httptools' callback."""
        self._chunks.append(body)
        self._wake.set()
        if self._transport is not None:
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """httptools' callback."""
        if self.status:
            self._finish()

    def _finish(self) -> None:
        self._done = True
        self._head.set()
        self._wake.set()
