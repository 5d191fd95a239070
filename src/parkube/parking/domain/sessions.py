"""A session is one vehicle's stay, made of what the garage's journal says.

      entry opened               exit opened
    ---------------> running --------------------> closed
                       |                             ^
                       | the exit was lost           | a later exit opened
                       v                             |
                   soft_closed ----------------------+

Order does not matter: the earliest entry and the latest exit are the stay, whichever is heard first and however
often. A session whose entry was lost begins at the booking's start, or at the exit if that was earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from parkube.parking.domain.times import Window

LOST_EXIT_AFTER: Final = timedelta(hours=24)
"""A session still running this long after its booking's end has lost its exit."""


class SessionState(StrEnum):
    """Where a session is."""

    RUNNING = "running"
    SOFT_CLOSED = "soft_closed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Session:
    """One stay. A soft-closed session ends where its booking ended, until a real exit says otherwise."""

    booking_id: str
    garage_id: str
    state: SessionState
    entered_at: datetime
    exited_at: datetime | None = None
    entry_known: bool = True


def entered(session: Session | None, booking_id: str, garage_id: str, at: datetime) -> Session:
    """The session after an entry opened at a moment."""
    if session is None:
        return Session(booking_id, garage_id, SessionState.RUNNING, at)
    if not session.entry_known:
        return replace(session, entered_at=_not_after(at, session.exited_at), entry_known=True)
    return replace(session, entered_at=min(session.entered_at, at))


def exited(session: Session | None, booking_id: str, garage_id: str, at: datetime, booked: Window) -> Session:
    """The session after an exit opened at a moment."""
    if session is None:
        start = min(booked.start, at)
        return Session(booking_id, garage_id, SessionState.CLOSED, start, at, entry_known=False)
    if session.state is SessionState.CLOSED and session.exited_at is not None:
        at = max(session.exited_at, at)
    return replace(session, state=SessionState.CLOSED, exited_at=max(at, session.entered_at))


def soft_closed(session: Session, booked: Window) -> Session:
    """The session when its exit was lost: it is taken to have ended with the booking."""
    return replace(session, state=SessionState.SOFT_CLOSED, exited_at=max(booked.end, session.entered_at))


def exit_is_lost(session: Session, booked: Window, now: datetime) -> bool:
    """Whether to stop waiting for the exit."""
    return session.state is SessionState.RUNNING and now >= booked.end + LOST_EXIT_AFTER


def _not_after(at: datetime, end: datetime | None) -> datetime:
    return at if end is None else min(at, end)
