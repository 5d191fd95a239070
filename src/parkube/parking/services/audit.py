"""Whether the books add up, and say the same as bookings and receipts. Looks only; mends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parkube.parking.domain.bookings import Booking, State
from parkube.parking.domain.ledger import balances
from parkube.parking.domain.payouts import MADE, Payout
from parkube.parking.domain.refunds import Refund
from parkube.parking.services.ports import Database, Transaction

Sums = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at (of the bookings, those with money in the ledger), and each fault in one sentence."""

    entries: int
    bookings: int
    receipts: int
    faults: tuple[str, ...]


async def audit(database: Database) -> Audit:
    """Goes through all that was ever written, in one transaction."""
    faults: list[str] = []
    async with database.reading() as transaction:
        entries = await transaction.entries()
        sums = balances(entries)
        booking_ids = sorted({entry.booking_id for entry in entries if entry.booking_id is not None})
        for booking_id in booking_ids:
            booking = await transaction.booking(booking_id)
            if booking is None:
                faults.append(f"the ledger speaks of the booking {booking_id}, which is not there")
            else:
                faults += await _booking_faults(transaction, booking, sums)
        receipts = await transaction.receipts()
        faults += _waiting_faults(sums, await transaction.refunds_open(), await transaction.payouts())
    for currency in sorted({currency for _, currency in sums}):
        rest = sum(amount for (_, of), amount in sums.items() if of == currency)
        if rest:
            faults.append(f"the accounts in {currency} add up to {rest}, not to 0")
    if [receipt.number for receipt in receipts] != list(range(1, len(receipts) + 1)):
        faults.append("the receipts are not numbered one by one")
    owed = any(amount for (account, _), amount in sums.items() if account.startswith("driver:"))
    vat = -sum(amount for (account, _), amount in sums.items() if account.startswith("vat:"))
    said = sum(receipt.vat_minor for receipt in receipts)
    if not owed and vat != said:
        faults.append(f"the ledger holds {vat} of VAT, the receipts say {said}")
    return Audit(len(entries), len(booking_ids), len(receipts), tuple(faults))


def _waiting_faults(sums: Sums, asked: Sequence[Refund], payouts: Sequence[Payout]) -> list[str]:
    faults = []
    back: dict[tuple[str, str], int] = {}
    for refund in asked:
        key = (f"refunds:{refund.booking_id}", refund.currency)
        back[key] = back.get(key, 0) + refund.amount_minor
    payable: dict[tuple[str, str], int] = {}
    for payout in payouts:
        if payout.state == MADE:
            key = (f"payable:{payout.organisation_id}", payout.currency)
            payable[key] = payable.get(key, 0) + payout.amount_minor
    for prefix, known in (("refunds:", back), ("payable:", payable)):
        for key in sorted(known.keys() | {key for key in sums if key[0].startswith(prefix)}):
            if -sums.get(key, 0) != known.get(key, 0):
                faults.append(f"{key[0]} holds {-sums.get(key, 0)} {key[1]}, {known.get(key, 0)} is on its way")
    return faults


async def _booking_faults(transaction: Transaction, booking: Booking, sums: Sums) -> list[str]:
    faults = []
    owed = sums.get((f"driver:{booking.id}", booking.price.currency), 0)
    if owed != booking.due_minor:
        faults.append(f"{booking.id}: the ledger says {owed} is due, the booking {booking.due_minor}")
    if owed < 0:
        faults.append(f"{booking.id}: {-owed} too much was paid")
    receipts = sum(receipt.total_minor for receipt in await transaction.receipts(booking.id))
    if receipts != booking.paid_minor and (receipts > booking.paid_minor or booking.due_minor == 0):
        faults.append(f"{booking.id}: the receipts come to {receipts}, {booking.paid_minor} was paid")
    if booking.state is State.PAID and owed:
        faults.append(f"{booking.id}: it is paid, and {owed} is due")
    return faults
