"""A session is one vehicle's stay, made of what the garage's journal says. Pure, and replayed from all of it each time.

      +------- exit -------+----------------------+----------------+
      |                    |                      |                v
    none --- entry ---> running --- lost ---> soft_closed       closed
                           ^                      |                |
                           +------ in again ------+----------------+

Order does not matter: the earliest entry and the latest exit are the stay, whichever is heard first and however
often. A session whose entry was lost begins at the booking's start, or at the exit if that was earlier. Where the
owner allows in and out, the session runs on through the booked time though the vehicle is away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from parkube.parking.domain.times import Window

LOST_EXIT_AFTER: Final = timedelta(hours=24)
"""A session still running this long after its booking's end has lost its exit."""

ENTRY: Final = "entry"
EXIT: Final = "exit"


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


@dataclass(frozen=True, slots=True)
class Passage:
    """A vehicle's gate opened for a booking. (journal, seq) is the line that said so: twice is once."""

    garage_id: str
    journal: int
    seq: int
    booking_id: str
    direction: str
    at: datetime


def replayed(
    passages: Iterable[Passage], booked: Window, now: datetime, *, in_out: bool = False,
    soft_closed_at: datetime | None = None,
) -> Session | None:  # fmt: skip
    """The session that these passages of one booking make, whatever their order. None before the first."""
    known = sorted({(p.journal, p.seq): p for p in passages}.values(), key=lambda p: (p.at, p.journal, p.seq))
    if not known:
        return None
    entries = [p.at for p in known if p.direction == ENTRY]
    exits = [p.at for p in known if p.direction == EXIT]
    entered = min(entries) if entries else min(booked.start, exits[0])
    if exits and not in_out:
        # An entry that seems to come after the exit was the same vehicle's, by a clock that was set in between.
        entered = min(entered, exits[-1])
    booking_id, garage_id = known[0].booking_id, known[0].garage_id
    over = bool(exits) and (not in_out or _is_out(known, booked, now))
    if over:
        return Session(booking_id, garage_id, SessionState.CLOSED, entered, max(exits[-1], entered), bool(entries))
    if soft_closed_at is not None and known[-1].at <= soft_closed_at:
        # Where in and out is allowed, it was surely inside at its last passage.
        end = max(booked.end, known[-1].at if in_out else entered)
        return Session(booking_id, garage_id, SessionState.SOFT_CLOSED, entered, end, bool(entries))
    return Session(booking_id, garage_id, SessionState.RUNNING, entered, None, bool(entries))


def exit_is_lost(session: Session, booked: Window, now: datetime) -> bool:
    """Whether to stop waiting for the exit."""
    return session.state is SessionState.RUNNING and now >= booked.end + LOST_EXIT_AFTER


def _is_out(known: list[Passage], booked: Window, now: datetime) -> bool:
    return known[-1].direction == EXIT and max(known[-1].at, now) >= booked.end
