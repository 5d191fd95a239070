"""The tables of money beyond the ledger: who owns what, payouts, provider's orders, refunds, buyers of invoices."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from parkube.parking.adapters.database.schema import Moment, metadata

organisations = Table(
    "organisations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("country", String(2), nullable=False),
    Column("vat_number", String(32), nullable=False),
    Column("iban", String(34), nullable=False),
    Column("created_at", Moment, nullable=False),
)

agreements = Table(
    "agreements",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("organisation_id", ForeignKey("organisations.id"), nullable=False, index=True),
    Column("commission_bp", Integer, nullable=False),
    Column("vat_percent", String(16), nullable=False),
    Column("country", String(2), nullable=False),
    CheckConstraint("commission_bp >= 0 AND commission_bp <= 10000", name="share"),
)

payouts = Table(
    "payouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organisation_id", ForeignKey("organisations.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("lines", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("transferred_at", Moment),
    Column("bank_reference", Text, nullable=False),
    CheckConstraint("amount_minor > 0", name="positive"),
    UniqueConstraint("organisation_id", "number", name="uq_payouts_number"),
)

# What the ledger had cumulated for a garage when its last payout was made: the next statement begins there.
payout_marks = Table(
    "payout_marks",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
)

payment_orders = Table(
    "payment_orders",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("booking_id", ForeignKey("bookings.id"), nullable=False, index=True),
    Column("provider", String(16), nullable=False),
    Column("method", String(32), nullable=False),
    Column("reference", String(96)),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("capture_later", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("captured_minor", BigInteger, nullable=False),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("url", Text),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    CheckConstraint("amount_minor > 0", name="positive"),
    CheckConstraint("captured_minor <= amount_minor", name="not_over"),
    CheckConstraint("refunded_minor <= captured_minor", name="not_back_twice"),
    Index("uq_payment_orders_reference", "provider", "reference", unique=True),
    Index("ix_payment_orders_state", "state", "changed_at"),
)

refunds = Table(
    "refunds",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("booking_id", ForeignKey("bookings.id"), nullable=False, index=True),
    Column("order_id", ForeignKey("payment_orders.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reference", String(96)),
    Column("asked_at", Moment, nullable=False),
    Column("done_at", Moment),
    Column("idempotency_key", String(128), unique=True),
    CheckConstraint("amount_minor > 0", name="positive"),
    Index("ix_refunds_state", "state", "asked_at"),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("provider", String(16), primary_key=True),
    Column("event_id", String(96), primary_key=True),
    Column("reference", String(96), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("applied_at", Moment),
)

buyers = Table(
    "buyers",
    metadata,
    Column("receipt_number", ForeignKey("receipts.number"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("country", String(2), nullable=False),
    Column("vat_number", String(32), nullable=False),
    Column("at", Moment, nullable=False),
)
