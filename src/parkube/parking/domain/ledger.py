"""The double-entry ledger: every entry moves amounts from account to account, and nothing is ever changed.

A move names its debit and its credit account and one positive amount, so an entry that does not balance cannot be
written, here or in the database. A mistake is mended by an entry that points at the one it corrects.

Accounts:
    driver:<booking>       what a driver owes us (debit) and has paid (credit)
    garage:<garage>        what we owe a garage's owner
    vat:<country>          VAT to be paid on
    provider:<name>        money that lies with a payment provider
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from parkube.parking.domain.errors import ParkingError


class LedgerError(ParkingError):
    """An entry that must not be written."""

    code = "ledger"


@dataclass(frozen=True, slots=True)
class Move:
    """An amount in minor units, moved from the credited account to the debited one."""

    debit: str
    credit: str
    amount_minor: int

    def __post_init__(self) -> None:
        if self.amount_minor <= 0:
            raise LedgerError(f"a move of {self.amount_minor} between {self.debit} and {self.credit}")
        if self.debit == self.credit:
            raise LedgerError(f"a move from {self.debit} to itself")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the books, in one currency. (kind, reference) is its own, so nothing is written twice."""

    kind: str
    reference: str
    booking_id: str
    at: datetime
    currency: str
    moves: tuple[Move, ...]
    text: str = ""
    corrects: int | None = None


def charged(
    booking_id: str, garage_id: str, gross_minor: int, vat_minor: int, currency: str, at: datetime, reference: str
) -> Entry:
    """A stay's charge: the driver owes it, the owner has earned the net, the rest is VAT."""
    driver = f"driver:{booking_id}"
    moves = []
    if gross_minor - vat_minor > 0:
        moves.append(Move(driver, f"garage:{garage_id}", gross_minor - vat_minor))
    if vat_minor > 0:
        moves.append(Move(driver, "vat:NL", vat_minor))
    return Entry("charge", reference, booking_id, at, currency, tuple(moves))


def paid(booking_id: str, provider: str, amount_minor: int, currency: str, at: datetime, reference: str) -> Entry:
    """A payment: the provider holds the money, the driver owes it no longer."""
    move = Move(f"provider:{provider}", f"driver:{booking_id}", amount_minor)
    return Entry("payment", reference, booking_id, at, currency, (move,))


def balances(entries: Iterable[Entry]) -> dict[tuple[str, str], int]:
    """Debit minus credit of every account, by (account, currency). They add up to nothing in each currency."""
    sums: dict[tuple[str, str], int] = {}
    for entry in entries:
        for move in entry.moves:
            debit, credit = (move.debit, entry.currency), (move.credit, entry.currency)
            sums[debit] = sums.get(debit, 0) + move.amount_minor
            sums[credit] = sums.get(credit, 0) - move.amount_minor
    return sums
