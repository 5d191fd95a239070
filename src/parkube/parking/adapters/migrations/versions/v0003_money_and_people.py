"""Money and people: a ledger whose entries come to what they say, payouts, orders, refunds; rights, logins, the trail.

The ledger's check. An entry says what it comes to, and its moves must come to that, at the end of the transaction at
the latest. PostgreSQL: a deferred constraint trigger on both tables. SQLite, which has none: the moves are written
first, under a deferred foreign key, and the entry last, which seals them; a move to a sealed entry is refused.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("buyers", "trail")
_BALANCED = """
CREATE FUNCTION ledger_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    entry integer;
    said bigint;
    come bigint;
BEGIN
    IF TG_TABLE_NAME = 'ledger_moves' THEN entry := NEW.entry_id; ELSE entry := NEW.id; END IF;
    SELECT total_minor INTO said FROM ledger_entries WHERE id = entry;
    SELECT sum(amount_minor) INTO come FROM ledger_moves WHERE entry_id = entry;
    IF come IS NULL OR said IS DISTINCT FROM come THEN
        RAISE EXCEPTION 'ledger entry % comes to %, it says %', entry, come, said USING ERRCODE = '23000';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Creates the new tables, and gives the ledger its check."""
    for create in (
        _organisations,
        _agreements,
        _payouts,
        _payout_marks,
        _payment_orders,
        _refunds,
        _webhook_events,
        _buyers,
        _people,
        _memberships,
        _access_tokens,
        _login_codes,
        _trail,
        _idempotency,
    ):
        create()
    op.add_column("receipts", sa.Column("kind", sa.String(length=16), server_default="receipt", nullable=False))
    op.add_column("receipts", sa.Column("refers_to", sa.Integer(), nullable=True))
    op.add_column("bookings", sa.Column("credited_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("bookings", sa.Column("person_id", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_bookings_person_id"), "bookings", ["person_id"], unique=False)
    op.add_column("payments", sa.Column("state", sa.String(length=16), server_default="captured", nullable=False))
    op.add_column("payments", sa.Column("captured_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE payments SET captured_minor = amount_minor")
    op.add_column("payments", sa.Column("refunds", sa.JSON(), nullable=True))
    op.add_column("payments", sa.Column("url", sa.Text(), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        _ledger_on_postgresql()
    else:
        _ledger_on_sqlite()
    for table in APPEND_ONLY:
        _keep(table)


def downgrade() -> None:
    """There is no way back: a ledger does not forget its payouts. Raises NotImplementedError."""
    raise NotImplementedError("restore the database from before")


def _ledger_on_postgresql() -> None:
    op.execute("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only")
    op.add_column("ledger_entries", sa.Column("total_minor", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE ledger_entries SET total_minor = (SELECT sum(amount_minor) FROM ledger_moves WHERE entry_id = id)"
    )
    op.execute("ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_append_only")
    op.alter_column("ledger_entries", "total_minor", nullable=False)
    op.alter_column("ledger_entries", "booking_id", existing_type=sa.String(length=64), nullable=True)
    op.execute("ALTER TABLE ledger_moves ALTER CONSTRAINT fk_ledger_moves_entry_id DEFERRABLE INITIALLY DEFERRED")
    op.execute(_BALANCED)
    for table in ("ledger_entries", "ledger_moves"):
        op.execute(
            f"CREATE CONSTRAINT TRIGGER {table}_balanced AFTER INSERT ON {table} "
            "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_balanced()"
        )


def _ledger_on_sqlite() -> None:
    # SQLite changes a table by making it anew; the engine has foreign keys off while migrations run.
    op.create_table(
        "ledger_entries_new",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=160), nullable=False),
        sa.Column("booking_id", sa.String(length=64), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("corrects", sa.Integer(), nullable=True),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_ledger_entries_booking_id")),
        sa.ForeignKeyConstraint(["corrects"], ["ledger_entries.id"], name=op.f("fk_ledger_entries_corrects")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
    )
    op.create_table(
        "ledger_moves_new",
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("debit", sa.String(length=96), nullable=False),
        sa.Column("credit", sa.String(length=96), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_ledger_moves_positive")),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_ledger_moves_two_accounts")),
        sa.ForeignKeyConstraint(
            ["entry_id"],
            ["ledger_entries.id"],
            name=op.f("fk_ledger_moves_entry_id"),
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("entry_id", "line", name=op.f("pk_ledger_moves")),
    )
    op.execute(
        "INSERT INTO ledger_entries_new SELECT id, kind, reference, booking_id, at, currency, text, corrects, "
        "(SELECT sum(amount_minor) FROM ledger_moves WHERE entry_id = ledger_entries.id) FROM ledger_entries"
    )
    op.execute("INSERT INTO ledger_moves_new SELECT entry_id, line, debit, credit, amount_minor FROM ledger_moves")
    for table in ("ledger_moves", "ledger_entries"):
        op.drop_table(table)
        op.rename_table(f"{table}_new", table)
    op.create_index(op.f("ix_ledger_entries_booking_id"), "ledger_entries", ["booking_id"], unique=False)
    op.create_index("uq_ledger_entries_kind_reference", "ledger_entries", ["kind", "reference"], unique=True)
    op.create_index(op.f("ix_ledger_moves_credit"), "ledger_moves", ["credit"], unique=False)
    op.create_index(op.f("ix_ledger_moves_debit"), "ledger_moves", ["debit"], unique=False)
    for table in ("ledger_entries", "ledger_moves"):
        _keep(table)
    op.execute(
        "CREATE TRIGGER ledger_moves_sealed BEFORE INSERT ON ledger_moves "
        "WHEN EXISTS (SELECT 1 FROM ledger_entries WHERE id = NEW.entry_id) "
        "BEGIN SELECT RAISE(ABORT, 'the ledger entry is written, nothing is added to it'); END"
    )
    op.execute(
        "CREATE TRIGGER ledger_entries_balanced BEFORE INSERT ON ledger_entries "
        "WHEN NEW.total_minor IS NOT (SELECT sum(amount_minor) FROM ledger_moves WHERE entry_id = NEW.id) "
        "BEGIN SELECT RAISE(ABORT, 'the ledger entry does not come to what it says'); END"
    )


def _keep(table: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
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


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency")),
    )


def _login_codes() -> None:
    op.create_table(
        "login_codes",
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("email", name=op.f("pk_login_codes")),
    )


def _organisations() -> None:
    op.create_table(
        "organisations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("vat_number", sa.String(length=32), nullable=False),
        sa.Column("iban", sa.String(length=34), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organisations")),
    )


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
        sa.UniqueConstraint("issuer", "subject", name="uq_people_subject"),
    )


def _trail() -> None:
    op.create_table(
        "trail",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=96), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=96), nullable=False),
        sa.Column("garage_id", sa.String(length=63), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trail")),
    )
    op.create_index("ix_trail_garage", "trail", ["garage_id", "id"], unique=False)
    op.create_index("ix_trail_subject", "trail", ["subject", "id"], unique=False)


def _webhook_events() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("event_id", sa.String(length=96), nullable=False),
        sa.Column("reference", sa.String(length=96), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("provider", "event_id", name=op.f("pk_webhook_events")),
    )


def _access_tokens() -> None:
    op.create_table(
        "access_tokens",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_access_tokens_person_id")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_access_tokens")),
    )
    op.create_index(op.f("ix_access_tokens_person_id"), "access_tokens", ["person_id"], unique=False)


def _agreements() -> None:
    op.create_table(
        "agreements",
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("commission_bp", sa.Integer(), nullable=False),
        sa.Column("vat_percent", sa.String(length=16), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.CheckConstraint("commission_bp >= 0 AND commission_bp <= 10000", name=op.f("ck_agreements_share")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_agreements_garage_id")),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name=op.f("fk_agreements_organisation_id")),
        sa.PrimaryKeyConstraint("garage_id", name=op.f("pk_agreements")),
    )
    op.create_index(op.f("ix_agreements_organisation_id"), "agreements", ["organisation_id"], unique=False)


def _memberships() -> None:
    op.create_table(
        "memberships",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=True),
        sa.Column("garage_id", sa.String(length=63), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("organisation_id IS NULL OR garage_id IS NULL", name=op.f("ck_memberships_one_place")),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_memberships_garage_id")),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name=op.f("fk_memberships_organisation_id")),
        sa.ForeignKeyConstraint(["person_id"], ["people.id"], name=op.f("fk_memberships_person_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_organisation_id"), "memberships", ["organisation_id"], unique=False)
    op.create_index(op.f("ix_memberships_person_id"), "memberships", ["person_id"], unique=False)


def _payout_marks() -> None:
    op.create_table(
        "payout_marks",
        sa.Column("garage_id", sa.String(length=63), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["garage_id"], ["garages.id"], name=op.f("fk_payout_marks_garage_id")),
        sa.PrimaryKeyConstraint("garage_id", "currency", "kind", name=op.f("pk_payout_marks")),
    )


def _payouts() -> None:
    op.create_table(
        "payouts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organisation_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("transferred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bank_reference", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payouts_positive")),
        sa.ForeignKeyConstraint(["organisation_id"], ["organisations.id"], name=op.f("fk_payouts_organisation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payouts")),
        sa.UniqueConstraint("organisation_id", "number", name="uq_payouts_number"),
    )


def _payment_orders() -> None:
    op.create_table(
        "payment_orders",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("booking_id", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("reference", sa.String(length=96), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("capture_later", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("captured_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_orders_positive")),
        sa.CheckConstraint("captured_minor <= amount_minor", name=op.f("ck_payment_orders_not_over")),
        sa.CheckConstraint("refunded_minor <= captured_minor", name=op.f("ck_payment_orders_not_back_twice")),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_payment_orders_booking_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_orders")),
    )
    op.create_index(op.f("ix_payment_orders_booking_id"), "payment_orders", ["booking_id"], unique=False)
    op.create_index("ix_payment_orders_state", "payment_orders", ["state", "changed_at"], unique=False)
    op.create_index("uq_payment_orders_reference", "payment_orders", ["provider", "reference"], unique=True)


def _buyers() -> None:
    op.create_table(
        "buyers",
        sa.Column("receipt_number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("vat_number", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["receipt_number"], ["receipts.number"], name=op.f("fk_buyers_receipt_number")),
        sa.PrimaryKeyConstraint("receipt_number", name=op.f("pk_buyers")),
    )


def _refunds() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("booking_id", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reference", sa.String(length=96), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("idempotency_key", sa.String(length=128), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_positive")),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name=op.f("fk_refunds_booking_id")),
        sa.ForeignKeyConstraint(["order_id"], ["payment_orders.id"], name=op.f("fk_refunds_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_refunds_idempotency_key")),
    )
    op.create_index(op.f("ix_refunds_booking_id"), "refunds", ["booking_id"], unique=False)
    op.create_index("ix_refunds_state", "refunds", ["state", "asked_at"], unique=False)
