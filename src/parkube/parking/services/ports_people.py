"""What the services need of the database for people. Part of services.ports.Transaction; Protocols only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from parkube.parking.services.trail import Noted


class PeopleTransaction(Protocol):
    """The records of people and of what was done by whom, inside one transaction."""

    async def add_to_trail(self, noted: Noted) -> None: ...
    async def trail_before(
        self, before_id: int | None, limit: int, garage_ids: Sequence[str] | None, subject: str | None
    ) -> Sequence[Noted]:
        """A page of the trail, the latest first."""
