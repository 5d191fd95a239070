"""The garages that are connected to this process now, and the commands whose answers are awaited. In memory only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Close = Callable[[str], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Connection:
    """One garage's open link. `close(reason)` ends it."""

    garage_id: str
    send: Send
    close: Close
    since: datetime
    devices: dict[str, bool] = field(default_factory=dict)
    last_heard: datetime | None = None
    saved_at: datetime | None = None
    clock_error: timedelta = timedelta(0)
    """How far the garage's clock was ahead of ours when it said hello."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A garage's answer to a command."""

    ok: bool
    step: str | None = None
    reason: str | None = None
    duration_ms: int | None = None


class Links:
    """At most one connection a garage: a newer one takes over, for the older may be half dead."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._answers: dict[str, asyncio.Future[Outcome]] = {}
        self._done_events: dict[str, asyncio.Event] = {}

    def get(self, garage_id: str) -> Connection | None:
        return self._connections.get(garage_id)

    def open(self, connection: Connection) -> Connection | None:
        """Takes the connection in. Returns the one it replaces, for the caller to close."""
        before = self._connections.get(connection.garage_id)
        self._connections[connection.garage_id] = connection
        return before

    def gone(self, connection: Connection) -> bool:
        """Whether this was still the garage's connection; it no longer is."""
        if self._connections.get(connection.garage_id) is not connection:
            return False
        del self._connections[connection.garage_id]
        return True

    def expect(self, command_id: str) -> asyncio.Future[Outcome]:
        """The answer to a command that is about to be sent."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._answers[command_id] = answer
        self._done_events[command_id] = asyncio.Event()
        return answer

    def forget(self, command_id: str) -> None:
        self._answers.pop(command_id, None)
        self._done_events.pop(command_id, None)

    def answer(self, command_id: str, outcome: Outcome) -> None:
        """The garage answered. Twice or unasked is nothing."""
        waiting = self._answers.get(command_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def event_stored(self, command_id: str) -> None:
        """A journal line about this command is in the database."""
        waiting = self._done_events.get(command_id)
        if waiting is not None:
            waiting.set()

    async def until_event_stored(self, command_id: str) -> None:
        waiting = self._done_events.get(command_id)
        if waiting is not None:
            await waiting.wait()
