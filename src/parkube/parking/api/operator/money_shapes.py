"""The operator's JSON about owners and money: organisations, terms, payouts, settlements, corrections, keys."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictInt

from parkube.parking.api.owner.shapes import RefundRow
from parkube.parking.api.shapes import Moment, Shape


class OrganisationPut(Shape):
    """Who owns garages, runs the fleet, or sells on."""

    kind: Literal["owner", "operator", "partner"]
    name: str = Field(min_length=1, max_length=200)
    address: str = Field(default="", max_length=400)
    country: str = Field(default="NL", pattern="^[A-Z]{2}$")
    vat_number: str = Field(default="", max_length=32)
    iban: str = Field(default="", max_length=34)


class Organisation(OrganisationPut):
    """The same, with its id."""

    id: str


class TermsPut(Shape):
    """Who owns a garage, and the platform's share of its net turnover in hundredths of a percent."""

    organisation_id: str = Field(min_length=1, max_length=64)
    commission_bp: StrictInt = Field(ge=0, le=10_000)
    vat_percent: str = Field(default="21", pattern=r"^[0-9]{1,2}(\.[0-9]{1,2})?$")
    country: str = Field(default="NL", pattern="^[A-Z]{2}$")


class Terms(TermsPut):
    """The same, with the garage."""

    garage_id: str


class Transferred(Shape):
    """Under which reference a payout left the bank."""

    bank_reference: str = Field(min_length=1, max_length=140)


class OpenRefund(RefundRow):
    """A refund that has not reached its driver: asked for again by itself, or refused and waiting for a transfer."""

    booking_id: str
    asked_at: Moment


class Mismatch(Shape):
    """What does not match between our books and the provider's file."""

    kind: str
    reference: str
    ours_cents: int | None
    theirs_cents: int | None
    text: str


class Reconciled(Shape):
    """How a settlement compares with the books."""

    matched: int
    mismatches: list[Mismatch]


class SettlementAsked(Shape):
    """A provider's settlement file, and the time it is of (half open). `book` writes down what it brought."""

    provider: str = Field(pattern="^[a-z]{1,16}$")
    settlement_id: str = Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_.-]+$")
    since: Moment
    until: Moment
    csv: str = Field(max_length=250_000)
    book: StrictBool = False


class CorrectionAsked(Shape):
    """Why an entry is taken back."""

    why: str = Field(min_length=1, max_length=200)


class Correction(Shape):
    """The correction's id, and the entry it points at."""

    id: int
    corrects: int


class RoleAsked(Shape):
    """Who is to have which role where; operator and support may be everywhere."""

    email: str = Field(min_length=3, max_length=254)
    name: str = Field(default="", max_length=200)
    role: Literal["owner", "owner_staff", "operator", "support", "partner"]
    organisation_id: str | None = Field(default=None, max_length=64)
    garage_id: str | None = Field(default=None, max_length=63)


class KeyAsked(Shape):
    """What an API key is for."""

    name: str = Field(min_length=1, max_length=100)


class Key(Shape):
    """A partner's API key; it is shown once."""

    key: str


class Books(Shape):
    """Whether the books balance; each fault in one sentence."""

    entries: int
    bookings: int
    receipts: int
    faults: list[str]
