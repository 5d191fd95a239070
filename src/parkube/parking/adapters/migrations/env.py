"""Alembic's entry: runs the migrations on the connection it is given, or on the address in its configuration."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine

from parkube.parking.adapters.database.schema import metadata

config = context.config


def run() -> None:
    """Upgrade online, in one transaction."""
    connection = config.attributes.get("connection")
    if connection is None:
        with create_engine(config.get_main_option("sqlalchemy.url") or "").connect() as own:
            context.configure(connection=own, target_metadata=metadata, render_as_batch=True)
            with context.begin_transaction():
                context.run_migrations()
        return
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
