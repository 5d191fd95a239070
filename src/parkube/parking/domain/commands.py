"""What becomes of something that the platform asked of a garage.

    sent ------> opened <---+
      |                     |  it opened all the same
      +--------> refused ---+

No answer in time leaves it sent. The garage's journal is a fact: it may come before the answer, after it, and twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final


class CommandState(StrEnum):
    """Where a command is."""

    SENT = "sent"
    REFUSED = "refused"
    OPENED = "opened"


_RANK: Final = {CommandState.SENT: 0, CommandState.REFUSED: 1, CommandState.OPENED: 2}


@dataclass(frozen=True, slots=True)
class Command:
    """What the platform asked of a garage."""

    id: str
    garage_id: str
    booking_id: str | None
    kind: str
    gate: str
    expires_at: datetime
    created_at: datetime
    state: CommandState = CommandState.SENT
    reason: str | None = None


def answered(command: Command, state: CommandState, reason: str | None = None) -> Command:
    """The command after an answer, or a journal line about it. States only go forward: other news change nothing."""
    if _RANK[state] <= _RANK[command.state]:
        return command
    return replace(command, state=state, reason=reason)
