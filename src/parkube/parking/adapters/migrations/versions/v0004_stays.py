"""Stays: what owners share and under which terms, what happened to each booking, who may pass, what was counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = ("site_orders", "booking_changes", "passages", "counts")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Adds columns to bookings and quotes, then the tables."""
    op.add_column("bookings", sa.Column("bay_kind", sa.String(16), nullable=False, server_default="standard"))
    op.add_column("bookings", sa.Column("drive_up", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("bookings", sa.Column("in_out", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("bookings", sa.Column("replaces", sa.String(64)))
    op.create_index("ix_bookings_plate_normal", "bookings", ["plate_normal"])
    op.add_column("quotes", sa.Column("bay_kind", sa.String(16), nullable=False, server_default="standard"))
    op.create_index("ix_bookings_replaces", "bookings", ["replaces"], unique=True)
    _terms()
    _history()
    _access()
    _occupancy()
    for table in APPEND_ONLY:
        _keep(table)


def downgrade() -> None:
    """Takes it all away."""
    for table in ("forecasts", "occupancy_samples", "counts", "allowances", "credentials", "passages"):
        op.drop_table(table)
    for table in ("booking_changes", "site_orders", "garage_terms"):
        op.drop_table(table)
    op.drop_index("ix_bookings_replaces", "bookings")
    op.drop_column("quotes", "bay_kind")
    op.drop_index("ix_bookings_plate_normal", "bookings")
    for column in ("replaces", "in_out", "drive_up", "bay_kind"):
        op.drop_column("bookings", column)


def _garage(key: bool = False) -> sa.Column[str]:
    return sa.Column("garage_id", sa.String(63), sa.ForeignKey("garages.id"), primary_key=key, nullable=False)


def _booking(key: bool = False) -> sa.Column[str]:
    return sa.Column("booking_id", sa.String(64), sa.ForeignKey("bookings.id"), primary_key=key, nullable=False)


def _terms() -> None:
    op.create_table("garage_terms", _garage(True), sa.Column("terms", sa.JSON(), nullable=False))
    op.create_table(
        "site_orders",
        _garage(True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("aspect", sa.String(16), nullable=False),
        sa.Column("value", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(64), nullable=False),
    )


def _history() -> None:
    op.create_table(
        "booking_changes",
        _booking(True),
        sa.Column("key", sa.String(96), primary_key=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
    )
    op.create_table(
        "passages",
        _garage(True),
        sa.Column("journal", sa.Integer(), primary_key=True),
        sa.Column("seq", sa.BigInteger(), primary_key=True),
        _booking(),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
    )
    op.create_index("ix_passages_booking_id", "passages", ["booking_id"])


def _access() -> None:
    op.create_table(
        "credentials",
        _booking(True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("value", sa.String(64), nullable=False),
        _garage(),
        sa.Column("until", _MOMENT, nullable=False),
    )
    op.create_index("ix_credentials_garage_id", "credentials", ["garage_id", "kind", "value"])
    op.create_table(
        "allowances",
        sa.Column("driver", sa.String(80), primary_key=True),
        sa.Column("at_once", sa.Integer(), nullable=False),
        sa.CheckConstraint("at_once >= 1", name=op.f("ck_allowances_at_least_one")),
    )


def _occupancy() -> None:
    op.create_table(
        "counts",
        _garage(True),
        sa.Column("key", sa.String(96), primary_key=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("bays", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
    )
    op.create_index("ix_counts_at", "counts", ["garage_id", "at"])
    op.create_table(
        "occupancy_samples",
        _garage(True),
        sa.Column("at", _MOMENT, primary_key=True),
        sa.Column("occupied", sa.Integer(), nullable=False),
    )
    op.create_table(
        "forecasts",
        _garage(True),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("model", sa.JSON(), nullable=False),
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
