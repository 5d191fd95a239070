"""The owner's JSON: garages, ledger lines, payouts, staff, refunds, the trail."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt

from parkube.parking.api.shapes import Moment, Shape

Cents = Annotated[StrictInt, Field(ge=1, le=100_000_000)]


class OwnGarage(Shape):
    """A garage of one's own."""

    id: str
    name: str
    city: str
    capacity: int | None
    organisation_id: str | None
    commission_bp: int | None


class OwnGarages(Shape):
    """The garages that one's roles reach."""

    items: list[OwnGarage]


class LedgerRow(Shape):
    """A ledger entry with its moves."""

    id: int
    kind: str
    reference: str
    booking_id: str | None
    at: Moment
    currency: str
    text: str
    corrects: int | None
    moves: list[LedgerMove]


class LedgerMove(Shape):
    """An amount from the credited account to the debited one."""

    debit: str
    credit: str
    amount_cents: int


class StatementLine(Shape):
    """One line of a payout's statement."""

    garage_id: str
    kind: str
    text: str
    amount_cents: int


class PayoutRow(Shape):
    """A payout with its statement."""

    id: str
    number: int
    currency: str
    amount_cents: int
    made_at: Moment
    state: Literal["made", "transferred"]
    transferred_at: Moment | None
    bank_reference: str
    lines: list[StatementLine]


class Payouts(Shape):
    """All payouts of an organisation, by number."""

    items: list[PayoutRow]


class RefundAsked(Shape):
    """Money to give back; without an amount it is all that was paid."""

    amount_cents: Cents | None = None
    reason: str = Field(min_length=1, max_length=200)


class RefundRow(Shape):
    """A refund; `asked` while the provider has not answered."""

    id: str
    amount_cents: int
    currency: str
    state: Literal["asked", "done", "refused"]
    reason: str


class RefundRows(Shape):
    """The refunds that were made of one wish: one for each payment it came by."""

    items: list[RefundRow]


class DiscountAsked(Shape):
    """Something off what is due; `reference` makes a repeat the same discount."""

    amount_cents: Cents
    text: str = Field(min_length=1, max_length=200)
    reference: str = Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_.:-]+$")


class Due(Shape):
    """What is due of a booking afterwards."""

    booking_id: str
    due_cents: int
    currency: str


class StaffAsked(Shape):
    """Who is to have which role here; in one garage, where it is named."""

    email: str = Field(min_length=3, max_length=254)
    name: str = Field(default="", max_length=200)
    role: Literal["owner", "owner_staff"]
    garage_id: str | None = Field(default=None, max_length=63)


class StaffRow(Shape):
    """Somebody with a role."""

    id: str
    person_id: str
    email: str | None
    name: str
    role: str
    organisation_id: str | None
    garage_id: str | None


class Staff(Shape):
    """Everybody with a role in an organisation or its garages."""

    items: list[StaffRow]


class TrailRow(Shape):
    """One line of the audit trail."""

    id: int
    at: Moment
    actor: str
    action: str
    subject: str
    garage_id: str | None
    detail: dict[str, Any]
