"""The tables of stays: owners' terms, what happened to a booking, who may pass, what was counted. No queries."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
)

from parkube.parking.adapters.database.schema import Moment, metadata

garage_terms = Table(
    "garage_terms",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("terms", JSON, nullable=False),
)

site_orders = Table(
    "site_orders",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("aspect", String(16), nullable=False),
    Column("value", Boolean, nullable=False),
    Column("by", String(64), nullable=False),
)

booking_changes = Table(
    "booking_changes",
    metadata,
    Column("booking_id", ForeignKey("bookings.id"), primary_key=True),
    Column("key", String(96), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("kind", String(24), nullable=False),
    Column("detail", JSON, nullable=False),
)

passages = Table(
    "passages",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("journal", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("booking_id", ForeignKey("bookings.id"), nullable=False, index=True),
    Column("direction", String(8), nullable=False),
    Column("at", Moment, nullable=False),
)

# Plates are personal data: a credential is deleted when its booking's grant has ended.
credentials = Table(
    "credentials",
    metadata,
    Column("booking_id", ForeignKey("bookings.id"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("value", String(64), nullable=False),
    Column("garage_id", ForeignKey("garages.id"), nullable=False),
    Column("until", Moment, nullable=False),
    Index("ix_credentials_garage_id", "garage_id", "kind", "value"),
)

allowances = Table(
    "allowances",
    metadata,
    Column("driver", String(80), primary_key=True),
    Column("at_once", Integer, nullable=False),
    CheckConstraint("at_once >= 1", name="at_least_one"),
)

counts = Table(
    "counts",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("key", String(96), primary_key=True),
    Column("at", Moment, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("bays", Integer, nullable=False),
    Column("source", String(32), nullable=False),
    Index("ix_counts_at", "garage_id", "at"),
)

occupancy_samples = Table(
    "occupancy_samples",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("at", Moment, primary_key=True),
    Column("occupied", Integer, nullable=False),
)

forecasts = Table(
    "forecasts",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("made_at", Moment, nullable=False),
    Column("model", JSON, nullable=False),
)

APPEND_ONLY = ("site_orders", "booking_changes", "passages", "counts")
