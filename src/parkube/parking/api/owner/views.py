"""The owner's JSON, made from the domain's records. One function a shape."""

from __future__ import annotations

from typing import Any

from parkube.parking.domain.ledger import Entry
from parkube.parking.domain.payouts import Payout
from parkube.parking.domain.people import Person
from parkube.parking.domain.refunds import Refund
from parkube.parking.domain.rights import Membership
from parkube.parking.domain.times import rfc3339
from parkube.parking.services.trail import Noted


def entry(made: Entry) -> dict[str, Any]:
    """shapes.LedgerRow"""
    return {
        "id": made.id,
        "kind": made.kind,
        "reference": made.reference,
        "booking_id": made.booking_id,
        "at": rfc3339(made.at),
        "currency": made.currency,
        "text": made.text,
        "corrects": made.corrects,
        "moves": [{"debit": m.debit, "credit": m.credit, "amount_cents": m.amount_minor} for m in made.moves],
    }


def payout(made: Payout) -> dict[str, Any]:
    """shapes.PayoutRow"""
    return {
        "id": made.id,
        "number": made.number,
        "currency": made.currency,
        "amount_cents": made.amount_minor,
        "made_at": rfc3339(made.made_at),
        "state": made.state,
        "transferred_at": rfc3339(made.transferred_at) if made.transferred_at else None,
        "bank_reference": made.bank_reference,
        "lines": [
            {"garage_id": line.garage_id, "kind": line.kind, "text": line.text, "amount_cents": line.amount_minor}
            for line in made.lines
        ],
    }


def refund(made: Refund) -> dict[str, Any]:
    """shapes.RefundRow"""
    return {
        "id": made.id,
        "amount_cents": made.amount_minor,
        "currency": made.currency,
        "state": made.state.value,
        "reason": made.reason,
    }


def open_refund(made: Refund) -> dict[str, Any]:
    """operator's shapes.OpenRefund"""
    return refund(made) | {"booking_id": made.booking_id, "asked_at": rfc3339(made.asked_at)}


def member(membership: Membership, person: Person) -> dict[str, Any]:
    """shapes.StaffRow"""
    return {
        "id": membership.id,
        "person_id": person.id,
        "email": person.email,
        "name": person.name,
        "role": membership.role.value,
        "organisation_id": membership.organisation_id,
        "garage_id": membership.garage_id,
    }


def noted(one: Noted) -> dict[str, Any]:
    """shapes.TrailRow"""
    return {
        "id": one.id,
        "at": rfc3339(one.at),
        "actor": one.actor,
        "action": one.action,
        "subject": one.subject,
        "garage_id": one.garage_id,
        "detail": one.detail,
    }
