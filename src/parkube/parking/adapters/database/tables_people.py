"""The tables of people and rights: who there is, what they may, how they log in, and what was done by whom."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from parkube.parking.adapters.database.schema import Moment, metadata

people = Table(
    "people",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("email", String(254), unique=True),
    Column("name", Text, nullable=False),
    Column("issuer", Text),
    Column("subject", String(255)),
    Column("created_at", Moment, nullable=False),
    Column("deleted_at", Moment),
    UniqueConstraint("issuer", "subject", name="uq_people_subject"),
)

memberships = Table(
    "memberships",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("organisation_id", ForeignKey("organisations.id"), index=True),
    Column("garage_id", ForeignKey("garages.id")),
    Column("created_at", Moment, nullable=False),
    CheckConstraint("organisation_id IS NULL OR garage_id IS NULL", name="one_place"),
)

# What a bearer shows; only the hash is kept.
access_tokens = Table(
    "access_tokens",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("person_id", ForeignKey("people.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
)

login_codes = Table(
    "login_codes",
    metadata,
    Column("email", String(254), primary_key=True),
    Column("code_hash", String(64), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("locked_until", Moment),
    Column("changed_at", Moment, nullable=False),
)

trail = Table(
    "trail",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(96), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(96), nullable=False),
    Column("garage_id", String(63)),
    Column("detail", JSON, nullable=False),
    Index("ix_trail_garage", "garage_id", "id"),
    Index("ix_trail_subject", "subject", "id"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer),
    Column("headers", JSON),
    Column("body", LargeBinary),
    Column("at", Moment, nullable=False),
)
