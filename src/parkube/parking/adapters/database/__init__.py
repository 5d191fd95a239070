"""The platform's database: SQLAlchemy 2 on SQLite or PostgreSQL, behind the services' port."""

from parkube.parking.adapters.database.batch import BatchDatabase, batch
from parkube.parking.adapters.database.engine import SqlDatabase, open_database, upgrade

__all__ = ["BatchDatabase", "SqlDatabase", "batch", "open_database", "upgrade"]
