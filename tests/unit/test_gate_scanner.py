"""A scanner on TCP: codes in, answers out, and whether it is there when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from parkube.parking.gate.devices.scanner import TcpScanner


class Head:
    """The hardware's side. `dead`: it holds the line and says nothing."""

    def __init__(self) -> None:
        self.dead = False
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.writer: asyncio.StreamWriter | None = None
        self.here = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.here.set()
        while line := await reader.readline():
            if line == b"PING\n" and not self.dead:
                writer.write(b"PONG\n")
            elif line != b"PING\n":
                self.lines.put_nowait(line.decode().strip())
        writer.close()


@pytest.fixture
async def head() -> Head:
    return Head()


@pytest.fixture
async def scanner(head: Head) -> AsyncIterator[TcpScanner]:
    server = await asyncio.start_server(head.serve, "127.0.0.1", 0)
    made = TcpScanner("127.0.0.1", server.sockets[0].getsockname()[1], ping_s=5, answer_s=0.05)

    async def on_code(code: str) -> tuple[bool, str]:
        return code == "good", "expired"

    assert not await made.answers()
    running = asyncio.create_task(made.run(on_code))
    await head.here.wait()
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    server.close()


async def test_each_code_is_answered_in_its_turn(scanner: TcpScanner, head: Head) -> None:
    assert head.writer is not None
    head.writer.write(b"good\nbad\n")
    assert [await head.lines.get(), await head.lines.get()] == ["OK", "NO expired"]


async def test_one_that_dies_is_known_dead_when_asked_not_only_at_its_next_sign_of_life(
    scanner: TcpScanner, head: Head
) -> None:
    assert await scanner.answers()
    head.dead = True
    assert not await scanner.answers()
    head.dead = False
    assert await scanner.answers()
