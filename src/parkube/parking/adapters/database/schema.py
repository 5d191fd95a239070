"""The tables. Amounts are minor units; moments are UTC; what a tariff or a price's lines were is kept as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A moment: timestamptz on PostgreSQL, text in UTC on SQLite, always aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

settings = Table(
    "settings", metadata, Column("name", String(64), primary_key=True), Column("value", Text, nullable=False)
)

garages = Table(
    "garages",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("name", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("latitude", Float),
    Column("longitude", Float),
    Column("time_zone", String(64), nullable=False),
    Column("country", String(2), nullable=False),
    Column("usage", String(32), nullable=False),
    Column("capacity", Integer),
    Column("height_m", Float),
    Column("gates", JSON, nullable=False),
    Column("tariff", JSON, nullable=False),
    Column("managed", Boolean, nullable=False),
    Column("bookable", Boolean, nullable=False),
    Column("node", Text),
    Column("source", String(32), nullable=False),
    Column("source_ref", Text, nullable=False),
    CheckConstraint("capacity >= 0", name="capacity_not_negative"),
)

quotes = Table(
    "quotes",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("garage_id", ForeignKey("garages.id"), nullable=False),
    Column("starts_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("lines", JSON, nullable=False),
    Column("tariff", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("bay_kind", String(16), nullable=False, server_default="standard"),
    CheckConstraint("ends_at > starts_at", name="window"),
)

bookings = Table(
    "bookings",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("garage_id", ForeignKey("garages.id"), nullable=False),
    Column("quote_id", ForeignKey("quotes.id"), nullable=False, unique=True),
    Column("starts_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
    Column("state", String(16), nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("lines", JSON, nullable=False),
    Column("tariff", JSON, nullable=False),
    Column("jti", String(64), nullable=False, unique=True),
    Column("grant_text", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("plate_raw", String(32)),
    Column("plate_normal", String(16), index=True),
    Column("plate_country", String(2)),
    Column("idempotency_key", String(128), unique=True),
    Column("charged_minor", BigInteger, nullable=False),
    Column("paid_minor", BigInteger, nullable=False),
    Column("credited_minor", BigInteger, nullable=False, server_default="0"),
    Column("person_id", String(64), index=True),
    Column("bay_kind", String(16), nullable=False, server_default="standard"),
    Column("drive_up", Boolean, nullable=False, server_default=false()),
    Column("in_out", Boolean, nullable=False, server_default=false()),
    Column("replaces", String(64), index=True, unique=True),
    CheckConstraint("ends_at > starts_at", name="window"),
    CheckConstraint("paid_minor <= charged_minor", name="not_overpaid"),
    Index("ix_bookings_holding", "garage_id", "state", "ends_at"),
    Index("ix_bookings_state", "state", "ends_at"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("booking_id", ForeignKey("bookings.id"), primary_key=True),
    Column("garage_id", ForeignKey("garages.id"), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("entered_at", Moment, nullable=False),
    Column("exited_at", Moment),
    Column("entry_known", Boolean, nullable=False),
)

garage_links = Table(
    "garage_links",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("token_hashes", JSON, nullable=False),
    Column("journal", Integer, nullable=False),
    Column("journal_id", String(64)),
    Column("acked_seq", BigInteger, nullable=False),
    Column("last_seen", Moment),
    Column("app_version", String(64)),
    Column("boot_id", String(64)),
)

gate_events = Table(
    "gate_events",
    metadata,
    Column("garage_id", ForeignKey("garages.id"), primary_key=True),
    Column("journal", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("gate", String(32)),
    Column("jti", String(64)),
    Column("booking_id", String(64)),
    Column("command_id", String(64)),
    Column("detail", JSON),
)

commands = Table(
    "commands",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("garage_id", ForeignKey("garages.id"), nullable=False),
    Column("booking_id", ForeignKey("bookings.id")),
    Column("kind", String(16), nullable=False),
    Column("gate", String(32), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
)

verifications = Table(
    "verifications",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("garage_id", ForeignKey("garages.id"), nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("step", String(16)),
    Column("reason", Text),
    Column("duration_ms", Integer, nullable=False),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("reference", String(160), nullable=False),
    Column("booking_id", ForeignKey("bookings.id"), index=True),
    Column("at", Moment, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("text", Text, nullable=False),
    Column("corrects", ForeignKey("ledger_entries.id")),
    Column("total_minor", BigInteger, nullable=False),
    Index("uq_ledger_entries_kind_reference", "kind", "reference", unique=True),
)

# A row is a move from one account to another: what does not balance cannot be written down. That an entry's moves come
# to its total, no more and no less, is checked by triggers.
ledger_moves = Table(
    "ledger_moves",
    metadata,
    Column("entry_id", ForeignKey("ledger_entries.id", deferrable=True, initially="DEFERRED"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("debit", String(96), nullable=False, index=True),
    Column("credit", String(96), nullable=False, index=True),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor > 0", name="positive"),
    CheckConstraint("debit <> credit", name="two_accounts"),
)

payments = Table(
    "payments",
    metadata,
    Column("key", String(160), primary_key=True),
    Column("reference", String(96), nullable=False, unique=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("description", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("state", String(16), nullable=False, server_default="captured"),
    Column("captured_minor", BigInteger, nullable=False, server_default="0"),
    Column("refunds", JSON),
    Column("url", Text),
)

receipts = Table(
    "receipts",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("booking_id", ForeignKey("bookings.id"), nullable=False, index=True),
    Column("garage_id", ForeignKey("garages.id"), nullable=False),
    Column("issued_at", Moment, nullable=False),
    Column("entered_at", Moment),
    Column("exited_at", Moment),
    Column("lines", JSON, nullable=False),
    Column("total_minor", BigInteger, nullable=False),
    Column("vat_minor", BigInteger, nullable=False),
    Column("vat_percent", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("payment_ref", String(96), nullable=False),
    Column("kind", String(16), nullable=False, server_default="receipt"),
    Column("refers_to", Integer),
)

APPEND_ONLY = ("ledger_entries", "ledger_moves", "gate_events", "receipts", "buyers", "trail")
"""Tables whose rows the database itself refuses to change or delete."""
