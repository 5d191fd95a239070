"""The port to a payment provider. Protocols only.

A provider is outside the platform's transactions: money may be taken though the answer was lost. So every call that
moves money carries a key of ours, and the same key again is the same money.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from parkube.parking.domain.payments import Held, Order


@dataclass(frozen=True, slots=True)
class Message:
    """A provider's webhook: something changed about that payment. What, is asked for: a message may be old.

    event_id is None where the provider gives its messages none.
    """

    event_id: str | None
    reference: str


class Payments(Protocol):
    """A payment provider. Raises PaymentRefused for a no, Unavailable where it is not known what happened."""

    @property
    def name(self) -> str:
        """As it is in the ledger's accounts."""

    def can_hold(self, method: str) -> bool:
        """Whether this method's money can be authorised now and captured later. iDEAL's cannot.

        Raises Invalid for a method that the provider does not have.
        """

    async def start(self, order: Order, description: str, return_url: str) -> Held:
        """Begins an order: authorised, captured, or pending with the url where the driver confirms it. Key: its id."""

    async def find(self, reference: str) -> Held:
        """The payment as it is now. Raises NotFound."""

    async def capture(self, order: Order, amount_minor: int) -> Held:
        """Takes this much of what is authorised; the rest is released. Again is nothing. Raises Conflict where not."""

    async def cancel(self, order: Order) -> Held:
        """Releases what is authorised, or ends what is pending. Again is nothing."""

    async def refund(self, key: str, order: Order, amount_minor: int) -> str:
        """Gives back this much of what was captured. Returns the provider's reference. Raises Conflict for too much."""

    def message(self, headers: Mapping[str, str], body: bytes) -> Message | None:
        """Reads a webhook, header names in lower case; None for one that is about no payment.

        Raises Denied where its signature is wrong or old, Invalid where it cannot be read.
        """
