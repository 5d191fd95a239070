"""What a garage reports, on the audit trail: each gate that opened, and for whom; each plate that was read.

The plate itself is not written: the trail names bookings and garages. A synthetic cycle opens nothing and is no line.
"""

from __future__ import annotations

from typing import Final

from parkube.parking.domain.credentials import PLATE
from parkube.parking.domain.garages import GateEvent
from parkube.parking.services import trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction

_OPENS: Final = ("opened", "waved_through")
_READ: Final = ("admitted", "refused", "waved_through")


async def note(platform: Platform, transaction: Transaction, event: GateEvent) -> None:
    """Writes the lines of one event, of its garage's doing; for most events none."""
    detail = event.detail if isinstance(event.detail, dict) else {}
    line = f"{event.journal}:{event.seq}"
    about = event.booking_id or event.garage_id
    with trail.as_actor(f"garage:{event.garage_id}"):
        if event.kind in _READ and detail.get("by") == PLATE:
            became = str(detail.get("reason") or event.kind)[:64]
            await trail.note(
                platform, transaction, "plate_read", about, event.garage_id, gate=event.gate, became=became, line=line
            )
        if event.kind in _OPENS:
            more = {"command": event.command_id} if event.command_id else {}
            await trail.note(
                platform, transaction, event.kind, about, event.garage_id, gate=event.gate, line=line, **more
            )
