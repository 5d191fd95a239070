"""What becomes of money on its way back to a driver.

    asked ---- the provider sent it ---> done <------+
      |                                              |  the bank transferred it
      +------- the provider said no ---> refused ----+

`asked` is written before the provider is asked, which knows it by its id: where its answer is lost, it is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from parkube.parking.domain.errors import Conflict


class RefundState(StrEnum):
    """Where a refund is."""

    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"


class RefundMove(StrEnum):
    """What moves it."""

    SENT = "sent"
    REFUSE = "refuse"
    TRANSFER = "transfer"


_ARROWS: Final = {
    (RefundState.ASKED, RefundMove.SENT): RefundState.DONE,
    (RefundState.ASKED, RefundMove.REFUSE): RefundState.REFUSED,
    (RefundState.REFUSED, RefundMove.TRANSFER): RefundState.DONE,
}


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back to a driver, through the order by which it came."""

    id: str
    booking_id: str
    order_id: str
    amount_minor: int
    currency: str
    reason: str
    asked_at: datetime
    state: RefundState = RefundState.ASKED
    reference: str | None = None
    done_at: datetime | None = None
    idempotency_key: str | None = None


def moved(refund: Refund, move: RefundMove, at: datetime, reference: str | None = None) -> Refund:
    """The refund after a move; reference: the provider's, or the bank's. Raises Conflict where there is no arrow."""
    after = _ARROWS.get((refund.state, move))
    if after is None:
        raise Conflict(f"the refund is {refund.state.value}, that cannot be done with it", code="wrong_state")
    return replace(refund, state=after, reference=reference, done_at=at)
