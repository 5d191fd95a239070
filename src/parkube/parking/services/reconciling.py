"""Reconciliation: a provider's settlement against the ledger, and what it brought, written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from parkube.parking.domain import ledger
from parkube.parking.domain.reconciliation import IN_THE_LEDGER, Reconciled, Settled, compare, rows_of
from parkube.parking.services import trail
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports import Transaction


async def reconcile(
    platform: Platform, provider: str, rows: Sequence[Settled], since: datetime, until: datetime
) -> Reconciled:
    """What does not match between a settlement's rows and the ledger's of that time (half open). Changes nothing."""
    async with platform.database.reading() as transaction:
        entries = await transaction.entries_of_kinds(IN_THE_LEDGER, since, until)
        theirs = [replace(row, reference=await _their_reference(transaction, row)) for row in rows]
    return compare(rows_of(entries, provider), theirs)


async def _their_reference(transaction: Transaction, row: Settled) -> str:
    # Some providers' files name our order or refund instead of theirs.
    if row.reference.startswith("po_"):
        order = await transaction.lock_order(row.reference)
        return (order.reference if order else None) or row.reference
    if row.reference.startswith("rf_"):
        refund = await transaction.lock_refund(row.reference)
        return (refund.reference if refund else None) or row.reference
    return row.reference


async def book_settlement(platform: Platform, provider: str, settlement_id: str, found: Reconciled) -> int:
    """Posts what a settlement brought to the bank, less the provider's fees. The same settlement again is nothing.

    Mismatches do not hold it up: the money is there, and what does not match stays in the provider's account. Returns
    how many entries were written.
    """
    written = 0
    async with platform.database.writing() as transaction:
        now = platform.clock()
        for currency, (gross, fees) in sorted(found.totals.items()):
            reference = f"{provider}:{settlement_id}:{currency}"
            if await transaction.entry_of("settlement", reference) is not None:
                continue
            entry = ledger.settlement(provider, gross, fees, currency, now, reference)
            if await transaction.post(entry) is not None:
                written += 1
                await trail.note(
                    platform, transaction, "settlement", reference, None, gross_minor=gross, fees_minor=fees
                )
    return written
