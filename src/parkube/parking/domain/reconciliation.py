"""Our books against a payment provider's settlement file: what one has and the other has not, or has otherwise.

Pure: both sides come in as rows. A row is matched by kind and the provider's reference; amounts are minor units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from parkube.parking.domain.ledger import Entry

PAYMENT: Final = "payment"
REFUND: Final = "refund"
OTHER: Final = "other"
_KINDS: Final = {"prepayment": PAYMENT, "refund": REFUND}
IN_THE_LEDGER: Final = tuple(_KINDS)
"""The kinds of ledger entries that a provider's file tells of too."""


@dataclass(frozen=True, slots=True)
class Settled:
    """One row of a settlement. amount is before the fee and always positive, but for OTHER (a chargeback, a cost)."""

    kind: str
    reference: str
    amount_minor: int
    fee_minor: int
    currency: str
    line: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What does not match, in one sentence. ours or theirs is None where that side does not have it."""

    reference: str
    kind: str
    ours_minor: int | None
    theirs_minor: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The outcome: what matched, what did not, and what the file comes to by currency, (gross, fees)."""

    matched: int
    mismatches: tuple[Mismatch, ...]
    totals: dict[str, tuple[int, int]]


def rows_of(entries: Sequence[Entry], provider: str) -> list[Settled]:
    """What the ledger says lies, or lay, with a provider."""
    account, rows = f"provider:{provider}", []
    for entry in entries:
        for move in entry.moves:
            if account in (move.debit, move.credit) and entry.kind in _KINDS:
                reference = entry.reference.partition(":")[0]
                rows.append(Settled(_KINDS[entry.kind], reference, move.amount_minor, 0, entry.currency, entry.id or 0))
    return rows


def compare(ours: Sequence[Settled], theirs: Sequence[Settled]) -> Reconciled:
    """Matches two lists of rows. Each mismatch is named once, in the order of the references."""
    mine, told = _by_key(ours), _by_key(theirs)
    totals: dict[str, tuple[int, int]] = {}
    found, matched = [], 0
    for row in theirs:
        gross, fees = totals.get(row.currency, (0, 0))
        sign = -1 if row.kind == REFUND else 1
        totals[row.currency] = (gross + sign * row.amount_minor, fees + row.fee_minor)
    for key in sorted(mine.keys() | told.keys()):
        text = _difference(key[0], mine.get(key, []), told.get(key, []))
        if text is None:
            matched += 1
            continue
        found.append(Mismatch(key[1], key[0], _sum(mine.get(key)), _sum(told.get(key)), text))
    return Reconciled(matched, tuple(found), totals)


def _by_key(rows: Sequence[Settled]) -> dict[tuple[str, str], list[Settled]]:
    found: dict[tuple[str, str], list[Settled]] = {}
    for row in rows:
        found.setdefault((row.kind, row.reference), []).append(row)
    return found


def _difference(kind: str, ours: list[Settled], theirs: list[Settled]) -> str | None:
    if not ours:
        where = f"line {theirs[0].line}"
        if kind == OTHER:
            return f"{where}: the provider took or gave {theirs[0].amount_minor}, our books know nothing of it"
        return f"{where}: the provider has this {kind}, our books have not"
    if not theirs:
        return f"our books have this {kind}, the provider's file has not"
    if {row.currency for row in ours} != {row.currency for row in theirs}:
        return f"we have it in {ours[0].currency}, the provider in {theirs[0].currency}"
    if len(theirs) > len(ours):
        return f"the provider's file has it {len(theirs)} times, our books {len(ours)}"
    if _sum(ours) != _sum(theirs):
        return f"we have {_sum(ours)}, the provider {_sum(theirs)}"
    return None


def _sum(rows: list[Settled] | None) -> int | None:
    return None if not rows else sum(row.amount_minor for row in rows)
