"""Whether the books add up, and say the same as bookings and receipts. Looks only; mends nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parkube.parking.domain.bookings import Booking, State
from parkube.parking.domain.ledger import balances
from parkube.parking.domain.payouts import MADE, Payout
from parkube.parking.domain.refunds import Refund
from parkube.parking.services.ports import Database, Transaction

Sums = dict[tuple[str, str], int]
_PAGE = 2000


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at (of the bookings, those with money in the ledger), and each fault in one sentence."""

    entries: int
    bookings: int
    receipts: int
    faults: tuple[str, ...]


async def audit(database: Database, done: Callable[[int], object] = lambda _rows: None) -> Audit:
    """Goes through all that was ever written, in pages and as it was at one moment. `done` hears of rows looked at."""
    async with database.reading() as transaction:
        await transaction.hold_still()
        entries, sums, spoken_of = await _ledger(transaction, done)
        with_money = len(spoken_of)
        faults = await _all_bookings(transaction, sums, spoken_of, done)
        faults += [f"the ledger speaks of the booking {one}, which is not there" for one in sorted(spoken_of)]
        receipts, highest, said = await transaction.receipts_in_all()
        faults += _waiting_faults(sums, await transaction.refunds_open(), await transaction.payouts())
    for currency in sorted({currency for _, currency in sums}):
        rest = sum(amount for (_, of), amount in sums.items() if of == currency)
        if rest:
            faults.append(f"the accounts in {currency} add up to {rest}, not to 0")
    if receipts != highest:
        faults.append("the receipts are not numbered one by one")
    owed = any(amount for (account, _), amount in sums.items() if account.startswith("driver:"))
    vat = -sum(amount for (account, _), amount in sums.items() if account.startswith("vat:"))
    if not owed and vat != said:
        faults.append(f"the ledger holds {vat} of VAT, the receipts say {said}")
    return Audit(entries, with_money, receipts, tuple(faults))


async def _ledger(transaction: Transaction, done: Callable[[int], object]) -> tuple[int, Sums, set[str]]:
    """How many entries, what is left in each account that is not empty, and the bookings spoken of."""
    count = after = 0
    sums: Sums = {}
    spoken_of: set[str] = set()
    while page := await transaction.entries_after(after, _PAGE, None):
        for key, amount in balances(page).items():
            sums[key] = sums.get(key, 0) + amount
            if not sums[key]:
                del sums[key]
        spoken_of.update(entry.booking_id for entry in page if entry.booking_id is not None)
        after = page[-1].id or 0
        count += len(page)
        done(len(page))
    return count, sums, spoken_of


async def _all_bookings(
    transaction: Transaction, sums: Sums, spoken_of: set[str], done: Callable[[int], object]
) -> list[str]:
    """What is wrong with each booking. Those that are there are taken out of `spoken_of`."""
    faults: list[str] = []
    after = ""
    while page := await transaction.bookings_with_receipts(after, _PAGE):
        for booking, receipts in page:
            if booking.charged_minor and booking.id not in spoken_of:
                faults.append(f"{booking.id}: {booking.charged_minor} was charged, the ledger does not know of it")
            spoken_of.discard(booking.id)
            faults += _booking_faults(booking, receipts, sums)
        after = page[-1][0].id
        done(len(page))
    return faults


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


def _booking_faults(booking: Booking, receipts: int, sums: Sums) -> list[str]:
    faults = []
    owed = sums.get((f"driver:{booking.id}", booking.price.currency), 0)
    if owed != booking.due_minor:
        faults.append(f"{booking.id}: the ledger says {owed} is due, the booking {booking.due_minor}")
    if owed < 0:
        faults.append(f"{booking.id}: {-owed} too much was paid")
    if receipts != booking.paid_minor and (receipts > booking.paid_minor or booking.due_minor == 0):
        faults.append(f"{booking.id}: the receipts come to {receipts}, {booking.paid_minor} was paid")
    if booking.state is State.PAID and owed:
        faults.append(f"{booking.id}: it is paid, and {owed} is due")
    return faults
