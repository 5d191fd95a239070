"""What opens this garage's gates besides codes, on disk: each PIN, plate and card with the grant it stands for.

Apart from the journal, which keeps for ever what happened: this is personal data, and forgotten when its time is over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from parkube.parking.gate.errors import JournalError

_SCHEMA: Final = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
PRAGMA secure_delete=ON;
CREATE TABLE IF NOT EXISTS access (
    kind TEXT NOT NULL, value TEXT NOT NULL, jti TEXT NOT NULL, code TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (kind, value));
CREATE INDEX IF NOT EXISTS access_by_jti ON access (jti);
"""


class AccessList:
    """One garage's. Every method may raise JournalError: then what was told is asked for again."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
            self._db.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;" + _SCHEMA
            )
        except sqlite3.Error as error:
            raise JournalError(f"the access list {path} cannot be opened: {error}") from error

    def put(self, jti: str, code: str, credentials: Iterable[tuple[str, str]], until: float) -> None:
        """All credentials of one grant, instead of those before. `until`: Unix seconds."""
        rows = [(kind, value, jti, code, until) for kind, value in credentials]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM access WHERE jti = ?", (jti,))
            self._db.executemany("INSERT OR REPLACE INTO access VALUES (?,?,?,?,?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise JournalError(f"the access list cannot be written: {error}") from error

    def forget(self, jti: str) -> None:
        """A grant that lets nobody in any more; who is inside is let out by the code."""
        self._run("DELETE FROM access WHERE jti = ?", (jti,))

    def prune(self, now: float) -> None:
        """Forget what is over."""
        self._run("DELETE FROM access WHERE until < ?", (now,))

    def codes(self) -> Mapping[tuple[str, str], str]:
        """(kind, value) -> the code of the grant."""
        try:
            rows = self._db.execute("SELECT kind, value, code FROM access").fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"the access list cannot be read: {error}") from error
        return {(kind, value): code for kind, value, code in rows}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _run(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise JournalError(f"the access list cannot be written: {error}") from error
