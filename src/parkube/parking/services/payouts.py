"""Owners' money: who owns which garage on which terms, payouts with statements, and that they left the bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from parkube.parking.domain import ledger
from parkube.parking.domain.errors import Conflict, Invalid, NotFound
from parkube.parking.domain.ledger import Terms
from parkube.parking.domain.payouts import Payout, held, left, statement
from parkube.parking.domain.people import KINDS, OWNER, Organisation
from parkube.parking.services import trail
from parkube.parking.services.platform import Platform


async def put_organisation(platform: Platform, organisation: Organisation) -> Organisation:
    """Keeps an organisation. Raises Invalid with every fault."""
    faults = []
    if organisation.kind not in KINDS:
        faults.append(("kind", f"one of {', '.join(KINDS)}"))
    if not organisation.name.strip():
        faults.append(("name", "must not be empty"))
    if len(organisation.country) != 2 or not organisation.country.isalpha():
        faults.append(("country", "two letters of ISO 3166"))
    if faults:
        raise Invalid("; ".join(f"{field}: {text}" for field, text in faults), faults)
    async with platform.database.writing() as transaction:
        known = await transaction.lock_organisation(organisation.id)
        made = replace(organisation, created_at=known.created_at if known else platform.clock())
        await transaction.put_organisation(made)
        await trail.note(platform, transaction, "organisation", made.id, None)
    return made


async def put_terms(platform: Platform, garage_id: str, terms: Terms) -> Terms:
    """Says who owns a garage and what the platform keeps. The next charge is the first by new terms.

    Raises NotFound, Invalid, Conflict where the garage's account still holds money for another owner.
    """
    if not 0 <= terms.commission_bp <= 10_000:
        raise Invalid("a share is from 0 to 10000 hundredths of a percent", [("commission_bp", "0 to 10000")])
    async with platform.database.writing() as transaction:
        owner = await transaction.lock_organisation(terms.organisation_id)
        if owner is None or owner.kind != OWNER:
            raise NotFound(f"there is no owner {terms.organisation_id!r}")
        if await transaction.lock_garage(garage_id) is None:
            raise NotFound(f"there is no garage {garage_id!r}")
        before = await transaction.terms(garage_id)
        if before is not None and before.organisation_id != terms.organisation_id:
            sums = await transaction.garage_sums([garage_id])
            if any(held(of_currency) for of_currency in sums.values()):
                raise Conflict("pay the garage's owner out first", code="not_paid_out")
        await transaction.put_terms(garage_id, terms)
        await trail.note(platform, transaction, "terms", garage_id, garage_id, commission_bp=terms.commission_bp)
    return terms


async def pay_out(platform: Platform, organisation_id: str) -> Sequence[Payout]:
    """Makes a payout in each currency in which the organisation's garages hold money together. None is no payout.

    Raises NotFound. Twice at once is once: the organisation is locked, and what was paid out is no longer held.
    """
    made = []
    async with platform.database.writing() as transaction:
        if await transaction.lock_organisation(organisation_id) is None:
            raise NotFound(f"there is no organisation {organisation_id!r}")
        garages = await transaction.garages_of(organisation_id)
        for currency, sums in sorted((await transaction.garage_sums(garages)).items()):
            holds = held(sums)
            amount = sum(holds.values())
            if amount <= 0:
                continue
            payout = await transaction.add_payout(
                Payout(
                    id=platform.new_id("py"),
                    organisation_id=organisation_id,
                    number=0,
                    currency=currency,
                    amount_minor=amount,
                    made_at=platform.clock(),
                    lines=statement(sums, await transaction.payout_marks(garages, currency)),
                )
            )
            accounts = {f"garage:{garage_id}": held_minor for garage_id, held_minor in holds.items()}
            await transaction.post(ledger.paid_out(organisation_id, accounts, currency, payout.made_at, payout.id))
            await transaction.put_payout_marks(currency, sums)
            await trail.note(platform, transaction, "payout", payout.id, None, amount_minor=amount, currency=currency)
            made.append(payout)
    return made


async def transferred(platform: Platform, payout_id: str, bank_reference: str) -> Payout:
    """The payout has left the bank. Again is nothing. Raises NotFound, Conflict for another reference."""
    async with platform.database.writing() as transaction:
        known = await transaction.payout(payout_id)
        if known is None:
            raise NotFound("there is no such payout")
        payout = left(known, bank_reference, platform.clock())
        if payout == known:
            return payout
        await transaction.save_payout(payout)
        await transaction.post(
            ledger.left_the_bank(
                payout.organisation_id, payout.amount_minor, payout.currency, platform.clock(), payout.id
            )
        )
        await trail.note(platform, transaction, "transfer", payout.id, None, amount_minor=payout.amount_minor)
    return payout
