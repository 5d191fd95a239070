"""What becomes of one order at a payment provider.

      +------------+----------------+---- taken -------> captured <--+
      |            |                |                                |
      |            |                +---- given up ----> cancelled --+  taken all the same
      |            |                |                                |
      |            |                +---- refused -----> failed -----+
      |            |                |
    asked ----> pending        authorised
      |            |                ^
      +------------+----------------+
             held, to be taken later

`asked` is written before the provider is asked: where its answer is lost, asking again with the same key finds out.
What a provider reports is a fact: it may come twice, late, or before the answer to the call that began it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from parkube.parking.domain.errors import ParkingError


class PaymentRefused(ParkingError):
    """The provider or its bank said no. Nothing was taken."""

    code = "payment_refused"


class OrderState(StrEnum):
    """Where an order is."""

    ASKED = "asked"
    PENDING = "pending"
    AUTHORISED = "authorised"
    CAPTURED = "captured"
    CANCELLED = "cancelled"
    FAILED = "failed"


OPEN: Final = (OrderState.ASKED, OrderState.PENDING)
"""States in which nobody knows yet whether there will be money."""

_RANK: Final = {
    OrderState.ASKED: 0,
    OrderState.PENDING: 1,
    OrderState.AUTHORISED: 2,
    OrderState.FAILED: 3,
    OrderState.CANCELLED: 3,
    OrderState.CAPTURED: 4,
}


@dataclass(frozen=True, slots=True)
class Held:
    """A payment as its provider knows it now. Amounts are minor units; url is where the driver confirms it."""

    provider: str
    reference: str
    state: OrderState
    amount_minor: int
    currency: str
    captured_minor: int = 0
    refunded_minor: int = 0
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """One order of ours at a provider. Its id is the key by which asking again is asking once.

    url is where the driver confirms it while it is pending, and where they come back to while it is asked.
    """

    id: str
    booking_id: str
    provider: str
    method: str
    amount_minor: int
    currency: str
    capture_later: bool
    created_at: datetime
    changed_at: datetime
    state: OrderState = OrderState.ASKED
    reference: str | None = None
    captured_minor: int = 0
    refunded_minor: int = 0
    url: str | None = None

    @property
    def left_minor(self) -> int:
        """What of it is still with the provider and could go back."""
        return self.captured_minor - self.refunded_minor


def heard(order: Order, held: Held, at: datetime) -> Order:
    """The order after what its provider says. Older news than ours change nothing: states only go forward.

    Raises ParkingError where it is about another amount or currency: that is no news, it is a fault.
    """
    if (held.amount_minor, held.currency) != (order.amount_minor, order.currency):
        raise ParkingError(
            f"{held.provider} says {held.amount_minor} {held.currency} for {order.id}, which was "
            f"{order.amount_minor} {order.currency}",
            code="payment_mismatch",
        )
    state = held.state if _RANK[held.state] > _RANK[order.state] else order.state
    after = replace(
        order,
        state=state,
        reference=order.reference or held.reference,
        captured_minor=max(order.captured_minor, held.captured_minor),
        url=held.url if state is OrderState.PENDING else None,
    )
    return order if after == order else replace(after, changed_at=at)
