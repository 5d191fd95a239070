"""Owners' payouts: what an organisation's garages earned since the last one, as a statement that adds up.

Every statement is the difference between what the ledger has cumulated now and what it had at the payout before, so an
entry that was written late is on the next one, and none is on two or on none. Pure: the sums come from outside.

    made ---- the bank sent it ---> transferred
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from parkube.parking.domain.errors import Conflict

MADE: Final = "made"
TRANSFERRED: Final = "transferred"
Sums = Mapping[tuple[str, str], int]
"""(garage, kind of entry) -> credit minus debit of the garage's account, in minor units, since the beginning."""

_NOT_ON_A_STATEMENT: Final = ("payout",)
_WORDS: Final = {
    "charge": "Parking, net of VAT",
    "discount": "Discounts given",
    "credit": "Given back to drivers",
    "commission": "Commission with VAT",
    "reversal": "Corrections",
}


@dataclass(frozen=True, slots=True)
class StatementLine:
    """What one kind of entry brought (or cost) one garage since the last payout, in minor units."""

    garage_id: str
    kind: str
    text: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Payout:
    """One payout with its statement. Numbers follow one another without a gap within an organisation."""

    id: str
    organisation_id: str
    number: int
    currency: str
    amount_minor: int
    made_at: datetime
    lines: tuple[StatementLine, ...]
    state: str = MADE
    transferred_at: datetime | None = None
    bank_reference: str = ""


def left(payout: Payout, bank_reference: str, at: datetime) -> Payout:
    """The payout after it has left the bank; again is nothing. Raises Conflict for another reference."""
    if payout.state == TRANSFERRED:
        if payout.bank_reference != bank_reference:
            raise Conflict("it was transferred under another reference", code="transferred")
        return payout
    return replace(payout, state=TRANSFERRED, transferred_at=at, bank_reference=bank_reference)


def statement(now: Sums, before: Sums) -> tuple[StatementLine, ...]:
    """The lines of what changed between two cumulated sums, by garage and kind."""
    lines = []
    for garage_id, kind in sorted({*now, *before}):
        if kind in _NOT_ON_A_STATEMENT:
            continue
        amount = now.get((garage_id, kind), 0) - before.get((garage_id, kind), 0)
        if amount:
            lines.append(StatementLine(garage_id, kind, _WORDS.get(kind, kind), amount))
    return tuple(lines)


def held(now: Sums) -> dict[str, int]:
    """What each garage's account holds for its owner, in minor units; nothing is left out."""
    sums: dict[str, int] = {}
    for (garage_id, _), amount in now.items():
        sums[garage_id] = sums.get(garage_id, 0) + amount
    return {garage_id: amount for garage_id, amount in sums.items() if amount}
