"""An API server on the memory store, and clients' connections to it without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from parkube.controlplane.main.assemble import Server, assemble
from parkube.controlplane.main.config import ServerConfig
from parkube.controlplane.pki import Pki
from parkube.controlplane.registry.resource import SYSTEM, User
from parkube.controlplane.storage.memory import MemoryStore
from tests.fakes.transport import FakeTransport


@asynccontextmanager
async def serving(pki: Pki, data_dir: Path) -> AsyncIterator[Server]:
    """A server that runs until the end of the block."""
    made = assemble(ServerConfig(data_dir=data_dir, memory_store=True), pki, MemoryStore(), "127.0.0.1")
    await made.store.start()
    await made.registry.start()
    await made.custom_resources.start()
    await made.access.start(made.registry)
    yield made
    await made.access.stop()
    await made.custom_resources.stop()
    await made.registry.close()
    await made.store.close()


class Line:
    """One client's connection."""

    def __init__(self, server: Server, user: User = SYSTEM) -> None:
        self.transport = FakeTransport(server.app.protocol(user))

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        content = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.transport.feed("\r\n".join([*lines, "", ""]).encode() + content)

    async def until(self, mark: bytes = b"\r\n\r\n") -> bytes:
        for _ in range(2000):
            if mark in self.transport.out:
                break
            await asyncio.sleep(0.001)
        return self.transport.out

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        self.transport.take()
        self.send(method, path, body, **headers)
        out = await self.until()
        head, _, content = out.partition(b"\r\n\r\n")
        self.head = head.decode()
        return int(head.split()[1]), orjson.loads(content) if content.startswith(b"{") else content

    async def watch(self, path: str, count: int, **headers: str) -> list[Any]:
        """The first `count` events."""
        self.send("GET", path, **headers)
        return await self.events(count)

    async def events(self, count: int) -> list[Any]:
        for _ in range(2000):
            found = chunked(self.transport.out)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.001)
        raise AssertionError(f"{len(chunked(self.transport.out))} events: {self.transport.out!r}")


def chunk_bodies(out: bytes) -> bytes:
    """The body of a chunked answer, as far as it has come."""
    rest, body = out.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


def chunked(out: bytes) -> list[Any]:
    """The events of a watch in JSON."""
    return [orjson.loads(line) for line in chunk_bodies(out).splitlines()]
