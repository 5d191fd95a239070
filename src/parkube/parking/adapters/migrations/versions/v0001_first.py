"""The first schema: garages, bookings, sessions, the garages' journals, the ledger; some tables append only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger_entries", "ledger_moves", "gate_events", "receipts")


def upgrade() -> None:
    """Creates every table, then what keeps the append-only ones so."""
    _garages()
    _payments()
    _settings()
    _garage_links()
    _gate_events()
    _quotes()
    _verifications()
    _bookings()
    _commands()
    _ledger_entries()
    _receipts()
    _sessions()
    _ledger_moves()
    for table in APPEND_ONLY:
        _keep(table)


def downgrade() -> None:
    """Drops it all."""
    op.drop_table("ledger_moves")
    op.drop_table("sessions")
    op.drop_table("receipts")
    op.drop_table("ledger_entries")
    op.drop_table("commands")
    op.drop_table("bookings")
    op.drop_table("verifications")
    op.drop_table("quotes")
    op.drop_table("gate_events")
    op.drop_table("garage_links")
    op.drop_table("settings")
    op.drop_table("payments")
    op.drop_table("garages")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION append_only()")


def _keep(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE OR REPLACE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% is append only', TG_TABLE_NAME; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION append_only()"
        )
        return
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append only'); END"
        )


def _garages() -> None:
    op.create_table(
        "garages",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("usage", sa.String(length=32), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("height_m", sa.Float(), nullable=True),
        sa.Column("gates", sa.JSON(), nullable=False),
        sa.Column("tariff", sa.JSON(), nullable=False),
        sa.Column("managed", sa.Boolean(), nullable=False),
        sa.Column("bookable", sa.Boolean(), nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("source_ref", sa.Text(), nullable=False),
        sa.CheckConstraint("capacity >= 0", name=op.f("ck_garages_capacity_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_garages")),
    )


def _payments() -> None:
    op.create_table(
        "payments",
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("reference", sa.String(length=96), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_payments")),
        sa.UniqueConstraint("reference", name=op.f("uq_payments_reference")),
    )


def _settings() -> None:
    op.create_table(
        "settings",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )


def _garage_links() -> None:
    op.create_table(
        "garage_links",
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("token_hashes", sa.JSON(), nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.Column("journal_id", sa.String(length=64), nullable=True),
        sa.Column("acked_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("app_version", sa.String(length=64), nullable=True),
        sa.Column("boot_id", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_garage_links_garage_id")),
        sa.PrimaryKeyConstraint("garage_id", name=op.f("pk_garage_links")),
    )


def _gate_events() -> None:
    op.create_table(
        "gate_events",
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("gate", sa.String(length=32), nullable=True),
        sa.Column("jti", sa.String(length=64), nullable=True),
        sa.Column("booking_id", sa.String(length=64), nullable=True),
        sa.Column("command_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_gate_events_garage_id")),
        sa.PrimaryKeyConstraint("garage_id", "journal", "seq", name=op.f("pk_gate_events")),
    )


def _quotes() -> None:
    op.create_table(
        "quotes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("vat_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("tariff", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_quotes_window")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_quotes_garage_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotes")),
    )


def _verifications() -> None:
    op.create_table(
        "verifications",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_verifications_garage_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verifications")),
    )
    op.create_index(op.f("ix_verifications_garage_id"), "verifications", ["garage_id"], unique=False)


def _bookings() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("quote_id", sa.String(length=64), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("tariff", sa.JSON(), nullable=False),
        sa.Column("jti", sa.String(length=64), nullable=False),
        sa.Column("grant_text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("plate_raw", sa.String(length=32), nullable=True),
        sa.Column("plate_normal", sa.String(length=16), nullable=True),
        sa.Column("plate_country", sa.String(length=2), nullable=True),
        sa.Column("idempotency_key", sa.String(length=128), nullable=True),
        sa.Column("charged_minor", sa.BigInteger(), nullable=False),
        sa.Column("paid_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_bookings_window")),
        sa.CheckConstraint("paid_minor <= charged_minor", name=op.f("ck_bookings_not_overpaid")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_bookings_garage_id")),
        sa.ForeignKeyConstraint(["quote_id"], ["quotes.id"], name=op.f("fk_bookings_quote_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bookings")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_bookings_idempotency_key")),
        sa.UniqueConstraint("jti", name=op.f("uq_bookings_jti")),
        sa.UniqueConstraint("quote_id", name=op.f("uq_bookings_quote_id")),
    )
    op.create_index("ix_bookings_holding", "bookings", ["garage_id", "state", "ends_at"], unique=False)
    op.create_index("ix_bookings_state", "bookings", ["state", "ends_at"], unique=False)


def _commands() -> None:
    op.create_table(
        "commands",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("booking_id", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("gate", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_commands_booking_id")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_commands_garage_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
    )


def _ledger_entries() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=160), nullable=False),
        sa.Column("booking_id", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("corrects", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_ledger_entries_booking_id")),
        sa.ForeignKeyConstraint(["corrects"], ["ledger_entries.id"], name=op.f("fk_ledger_entries_corrects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
    )
    op.create_index(op.f("ix_ledger_entries_booking_id"), "ledger_entries", ["booking_id"], unique=False)
    op.create_index("uq_ledger_entries_kind_reference", "ledger_entries", ["kind", "reference"], unique=True)


def _receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("booking_id", sa.String(length=64), nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("vat_minor", sa.BigInteger(), nullable=False),
        sa.Column("vat_percent", sa.String(length=16), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("payment_ref", sa.String(length=96), nullable=False),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_receipts_booking_id")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_receipts_garage_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_receipts")),
    )
    op.create_index(op.f("ix_receipts_booking_id"), "receipts", ["booking_id"], unique=False)


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("booking_id", sa.String(length=64), nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("exited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("entry_known", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_sessions_booking_id")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_sessions_garage_id")),
        sa.PrimaryKeyConstraint("booking_id", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_state"), "sessions", ["state"], unique=False)


def _ledger_moves() -> None:
    op.create_table(
        "ledger_moves",
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("debit", sa.String(length=96), nullable=False),
        sa.Column("credit", sa.String(length=96), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_ledger_moves_positive")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_ledger_moves_two_accounts")),
        sa.ForeignKeyConstraint(["entry_id"], ["ledger_entries.id"], name=op.f("fk_ledger_moves_entry_id")),
        sa.PrimaryKeyConstraint("entry_id", "line", name=op.f("pk_ledger_moves")),
    )
    op.create_index(op.f("ix_ledger_moves_credit"), "ledger_moves", ["credit"], unique=False)
    op.create_index(op.f("ix_ledger_moves_debit"), "ledger_moves", ["debit"], unique=False)
