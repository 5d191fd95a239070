"""The agent's small HTTP/1.1 server for streams that the API server opens: kubelet's paths, one request a stream.

    GET  /containerLogs/<namespace>/<pod>/<container>?follow&previous&timestamps&sinceSeconds&sinceTime&tailLines&…
                                                                                  (GET with WebSocket: as messages)
    POST /exec/<namespace>/<pod>/<container>?command&stdin&stdout&stderr&tty      (GET with WebSocket)
    POST /attach/<namespace>/<pod>/<container>?stdin&stdout&stderr&tty
    CONNECT <address>:<port>
    GET  anything else: what `Pages` has there

Only the API server can open streams, and it has asked its own access rules before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote

import httptools
import orjson

from parkube.kubeapi.errors import ApiError, BadRequest, InternalError, NotFound
from parkube.nodeagent.plan.model import Container, ContainerPhase
from parkube.nodeagent.runtime.port import RuntimeFault
from parkube.nodeagent.streams import channels, forwarding, remote, websocket
from parkube.nodeagent.streams.connect import connect
from parkube.nodeagent.streams.errors import StreamFault
from parkube.nodeagent.streams.listener import Listener
from parkube.nodeagent.streams.logs import LogOptions, read_log

log = logging.getLogger(__name__)


class Containers(Protocol):
    """As much of a runtime as streams need (`runtime.port.Runtime` is one)."""

    async def containers(self, namespace: str, pod: str, container: str = "") -> list[Container]: ...

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str: ...

    async def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str: ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str: ...


class Shown(Protocol):
    """A page."""

    @property
    def content_type(self) -> str: ...

    @property
    def body(self) -> bytes: ...


class Pages(Protocol):
    """What the agent shows of itself (`sync.pages` is one)."""

    async def page(self, path: str) -> Shown:
        """The page at a path. Raises `NotFound`."""
        ...


class StreamServer:
    """Makes the protocol for each stream: give the instance to `Uplink` as `serve`."""

    def __init__(self, containers: Containers, *, clock: Callable[[], float] = time.time) -> None:
        self.containers = containers
        self.clock = clock
        self.pages: Pages | None = None

    def __call__(self) -> asyncio.Protocol:
        return _Request(self)


class _Request(asyncio.Protocol):
    """One stream: reads one request, answers it, closes."""

    def __init__(self, server: StreamServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._early = b""
        self._next: asyncio.Protocol | None = None  # who has the connection after an upgrade
        self._writable = asyncio.Event()
        self._writable.set()

    # -- the protocol's face

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._next is not None:
            self._next.data_received(data)
        elif self._task is not None:
            self._early += data
        else:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._early += data[upgrade.args[0] :]
            except httptools.HttpParserError as exc:
                self._fail(BadRequest(f"this is not HTTP/1.1: {exc}"))

    def eof_received(self) -> bool | None:
        return self._next.eof_received() if self._next is not None else True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if self._next is not None:
            self._next.connection_lost(exc)
        elif self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()
        if self._next is not None:
            self._next.pause_writing()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._next is not None:
            self._next.resume_writing()

    # -- httptools' callbacks

    def on_url(self, url: bytes) -> None:
        """Part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; repeated ones are joined by commas."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer())

    # -- inside

    async def _answer(self) -> None:
        try:
            if self._parser.get_method() == b"CONNECT":
                if self._transport is not None:
                    self._hand_to(await connect(self._url.decode("latin-1"), self._transport))
                return
            path, _, raw_query = self._url.decode("latin-1").partition("?")
            query = parse_qsl(raw_query, keep_blank_values=True)
            parts = [unquote(part) for part in path.strip("/").split("/")]
            if parts == ["healthz"]:
                await self._send_text([b"ok"])
            elif len(parts) == 4 and parts[0] == "containerLogs":
                await self._logs(parts[1], parts[2], parts[3], query)
            elif len(parts) == 3 and parts[0] == "portForward":
                await self._forward(parts[1], parts[2], query)
            elif len(parts) == 4 and parts[0] in ("exec", "attach"):
                await self._remote(parts[0], parts[1], parts[2], parts[3], query)
            elif self._server.pages is not None and self._parser.get_method() in (b"GET", b"HEAD"):
                self._send_page(await self._server.pages.page(unquote(path)))
            else:
                raise NotFound(f"the agent serves nothing at {path}")
        except ApiError as exc:
            self._fail(exc)
        except (RuntimeFault, StreamFault, OSError, TimeoutError) as exc:
            self._fail(InternalError(str(exc) or type(exc).__name__))
        except Exception as exc:
            log.exception("while answering %s", self._url)
            self._fail(InternalError(repr(exc)))

    def _fail(self, error: ApiError) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        body = orjson.dumps(error.status())
        head = f"HTTP/1.1 {error.code} {error.reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._transport.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
        self._transport.close()

    def _send_page(self, page: Shown) -> None:
        if self._transport is not None and not self._transport.is_closing():
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {page.content_type}\r\nContent-Length: {len(page.body)}"
            body = b"" if self._parser.get_method() == b"HEAD" else page.body
            self._transport.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
            self._transport.close()

    async def _container(self, namespace: str, pod: str, name: str) -> list[Container]:
        found = await self._server.containers.containers(namespace, pod, name)
        if not found:
            raise NotFound(f'container "{name}" in pod "{pod}" is not there')
        return found

    # -- logs

    async def _logs(self, namespace: str, pod: str, name: str, query: Sequence[tuple[str, str]]) -> None:
        found = await self._container(namespace, pod, name)
        asked = dict(query)
        if _flag(asked, "previous"):
            ended = [c for c in found[:-1] if c.phase is ContainerPhase.EXITED]
            if not ended:
                raise BadRequest(f'previous terminated container "{name}" in pod "{pod}" not found')
            chosen = ended[-1]
        else:
            chosen = found[-1]
        options = log_options(asked, self._server.clock())

        async def running() -> bool:
            now = await self._server.containers.containers(namespace, pod, name)
            return any(c.id == chosen.id and c.phase is not ContainerPhase.EXITED for c in now)

        async with aclosing(read_log(Path(chosen.log_path), options, running, asyncio.sleep)) as chunks:
            if self._headers.get("upgrade", "").lower() == "websocket":
                await self._log_messages(chunks)
                return
            await self._send_head()
            async for chunk in chunks:
                await self._send_chunk(chunk)
        self._send_end()

    async def _log_messages(self, chunks: AsyncIterator[bytes]) -> None:
        """A log over WebSocket: a message for each chunk."""
        chosen, transport, task = self._subprotocol(channels.LOGS), self._transport, asyncio.current_task()
        greeting = self._greeting(chosen)
        if transport is None or task is None:
            return
        transport.write(greeting)
        listener = Listener(transport, task.cancel)
        self._hand_to(listener)
        async for chunk in chunks:
            await listener.ready.wait()
            transport.write(channels.log_frame(channels.LOGS[chosen], chunk))
        transport.write(websocket.close_frame(1000))
        transport.close()

    async def _send_text(self, chunks: Sequence[bytes]) -> None:
        await self._send_head()
        for chunk in chunks:
            await self._send_chunk(chunk)
        self._send_end()

    async def _send_head(self) -> None:
        if self._transport is not None:
            lines = (b"HTTP/1.1 200 OK", b"Content-Type: text/plain", b"Transfer-Encoding: chunked", b"", b"")
            self._transport.write(b"\r\n".join(lines))

    async def _send_chunk(self, chunk: bytes) -> None:
        await self._writable.wait()
        if self._transport is not None:
            self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))

    def _send_end(self) -> None:
        if self._transport is not None:
            self._transport.write(b"0\r\n\r\n")
            self._transport.close()

    # -- exec and attach

    async def _remote(self, verb: str, namespace: str, pod: str, name: str, query: Sequence[tuple[str, str]]) -> None:
        found = await self._container(namespace, pod, name)
        container = found[-1]
        if container.phase is not ContainerPhase.RUNNING:
            raise NotFound(f'container not found ("{name}")')
        asked = dict(query)
        streams = remote.Streams(*(_flag(asked, key) for key in ("stdin", "stdout", "stderr", "tty")))
        if not (streams.stdin or streams.stdout or streams.stderr):
            raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
        upgrade = self._headers.get("upgrade", "").lower()
        if upgrade not in ("spdy/3.1", "websocket"):
            raise BadRequest("an upgrade to SPDY/3.1 or WebSocket is needed for this")
        chosen = self._subprotocol(channels.REMOTE) if upgrade == "websocket" else ""
        flags = {"tty": streams.tty, "stdin": streams.stdin, "stdout": streams.stdout}
        stderr = streams.stderr and not streams.tty
        runtime = self._server.containers
        if verb == "exec":
            command = [value for key, value in query if key == "command"]
            url = await runtime.exec_url(container.id, command, stderr=stderr, **flags)
        else:
            url = await runtime.attach_url(container.id, stderr=stderr, **flags)
        if self._transport is None:
            return
        if upgrade == "websocket":
            greeting = self._greeting(chosen)
            translator = remote.Translator(streams, self._transport, greeting, channels.REMOTE[chosen])
            await remote.translate(url, translator)
            self._hand_to(translator)
        else:
            self._hand_to(await remote.pass_spdy(url, self._versions(), self._transport))

    async def _forward(self, namespace: str, pod: str, query: Sequence[tuple[str, str]]) -> None:
        """Port-forward: `ports` in the query for WebSocket, in the streams' headers for SPDY."""
        found = [c for c in await self._container(namespace, pod, "") if c.phase is ContainerPhase.RUNNING]
        if not found:
            raise BadRequest(f'unable to forward port because pod "{pod}" is not running')
        upgrade = self._headers.get("upgrade", "").lower()
        if upgrade not in ("spdy/3.1", "websocket"):
            raise BadRequest("an upgrade to SPDY/3.1 or WebSocket is needed for this")
        chosen = self._subprotocol(channels.FORWARD) if upgrade == "websocket" else ""
        ports = _ports(query)
        if upgrade == "websocket" and not ports:
            raise BadRequest('query parameter "ports" is required')
        url = await self._server.containers.port_forward_url(found[-1].sandbox_id, ports)
        if self._transport is None:
            return
        if upgrade == "websocket":
            greeting = self._greeting(chosen)
            forwarder = forwarding.Forwarder(ports, self._transport, greeting, channels.FORWARD[chosen])
            await remote.translate(url, forwarder, forwarding.SPDY_PROTOCOLS)
            self._hand_to(forwarder)
        else:
            versions = self._versions() or forwarding.SPDY_PROTOCOLS
            self._hand_to(await remote.pass_spdy(url, versions, self._transport))

    def _versions(self) -> list[str]:
        return [v.strip() for v in self._headers.get("x-stream-protocol-version", "").split(",") if v.strip()]

    def _subprotocol(self, spoken: Mapping[str, channels.Framing]) -> str:
        """The WebSocket subprotocol to speak. Raises `BadRequest`."""
        offered = [p.strip() for p in self._headers.get("sec-websocket-protocol", "").split(",")]
        chosen = channels.choose(spoken, offered)
        if chosen is None:
            known = " and ".join(name for name in spoken if name)
            raise BadRequest(f"of the WebSocket subprotocols only {known} are spoken here")
        return chosen

    def _greeting(self, protocol: str) -> bytes:
        key = self._headers.get("sec-websocket-key", "")
        if not key:
            raise BadRequest("Sec-WebSocket-Key is missing")
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {websocket.accept(key)}"]
        lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []
        return "\r\n".join([*lines, "", ""]).encode()

    def _hand_to(self, protocol: asyncio.Protocol) -> None:
        self._next = protocol
        if not self._writable.is_set():
            protocol.pause_writing()
        if self._early:
            early, self._early = self._early, b""
            protocol.data_received(early)
        if self._transport is None:
            protocol.connection_lost(None)


def _ports(query: Sequence[tuple[str, str]]) -> list[int]:
    """The ports of a query: `ports=80&ports=443` or `ports=80,443`. Raises `BadRequest`."""
    words = [word for key, value in query if key == "ports" for word in value.split(",") if word]
    for word in words:
        if not word.isdigit() or not 0 < int(word) < 65536:
            raise BadRequest(f'unable to parse "{word}" as a port')
    return [int(word) for word in words]


def _flag(query: dict[str, str], name: str) -> bool:
    return query.get(name, "") in ("true", "1", "True")


def log_options(query: dict[str, str], now: float) -> LogOptions:
    """The options of a query. Raises `BadRequest`."""
    try:
        since = now - int(query["sinceSeconds"]) if query.get("sinceSeconds") else 0.0
        if query.get("sinceTime"):
            since = datetime.fromisoformat(query["sinceTime"]).timestamp()
        tail = int(query.get("tailLines") or -1)
        limit = int(query.get("limitBytes") or -1)
    except ValueError as exc:
        raise BadRequest(f"the log options cannot be read: {exc}") from exc
    stream = query.get("stream", "All").lower()
    return LogOptions(
        _flag(query, "follow"),
        _flag(query, "timestamps"),
        since,
        tail,
        limit,
        "" if stream in ("all", "") else stream,
    )
