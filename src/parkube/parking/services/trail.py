"""The audit trail: who did what, of everything that opens a gate, moves money or reads a plate. Written, never changed.

Who acts is known where a request comes in; it is kept beside the call, so that no use case has to hand it through.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

PLATFORM: Final = "platform"
"""Who acts where nobody asked: the platform by itself."""
_actor: ContextVar[str] = ContextVar("actor", default=PLATFORM)


@dataclass(frozen=True, slots=True)
class Noted:
    """One line of the trail. `actor` is person:<id>, booking:<id>, operator, garage:<id>, provider:<name>, platform."""

    at: datetime
    actor: str
    action: str
    subject: str
    garage_id: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    id: int | None = None


def acting(actor: str) -> None:
    """From here on in this task, it is this one who acts."""
    _actor.set(actor)


def actor() -> str:
    """Who acts now."""
    return _actor.get()


@contextmanager
def as_actor(name: str) -> Iterator[None]:
    """Inside, it is this one who acts."""
    token = _actor.set(name)
    try:
        yield
    finally:
        _actor.reset(token)


async def note(
    platform: Platform, transaction: Transaction, action: str, subject: str, garage_id: str | None, **detail: Any
) -> None:
    """Writes a line, in the transaction of what it tells of: both are kept, or neither."""
    await transaction.add_to_trail(Noted(platform.clock(), actor(), action, subject, garage_id, detail))
