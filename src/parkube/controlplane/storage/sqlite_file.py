"""The file behind the SQLite store: one append-only log of changes, its SQL, and nothing of time or the event loop.

    change(revision, key, value, previous)   value NULL: a deletion; previous: the revision of the row it supersedes
    meta(name, value)                        ceiling: above all revisions given out; compacted: where history starts

A `File` belongs to one thread; `Reader`s are for others and see what is committed. A batch is one statement where
possible: each statement hands the interpreter lock over twice, and on a busy loop that is what takes time.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from parkube.controlplane.storage.port import Change, KeyValue, StoreError, StoreFull

_SCHEMA = """
CREATE TABLE IF NOT EXISTS change (
  revision INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, previous INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS change_key ON change (key, revision);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_VERSION = 1
_ROWS = 200  # of one INSERT
_LAST = chr(0x10FFFF)
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}


class Row(NamedTuple):
    """One row of the log."""

    revision: int
    key: str
    value: bytes | None
    previous: int


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}{'?mode=ro' if read_only else ''}"
    link = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    link.execute("PRAGMA busy_timeout = 5000")
    return link


def _lock(path: Path) -> int:
    """Keep other servers off this file, and other users from reading it: it holds secrets."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        held = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise StoreError(f"{path} is in use by another server") from None
    return held


def _translated(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _FULL:
        return StoreFull(f"no room to write {path}: {error}")
    return StoreError(f"{path}: {error}")


class File:
    """The writer's connection. Raises StoreError; StoreFull when the disk is."""

    def __init__(self, path: Path, max_pages: int = 0) -> None:
        self.path = path
        self._lock = _lock(path)
        try:
            self._link = _connect(path, read_only=False)
            version = self._link.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                os.close(self._lock)
                raise StoreError(f"{path} was written by a newer version (format {version}, known is {_VERSION})")
            self._link.execute("PRAGMA journal_mode = WAL")
            self._link.execute("PRAGMA synchronous = FULL")
            self._link.execute("PRAGMA journal_size_limit = 16777216")
            if max_pages:
                self._link.execute(f"PRAGMA max_page_count = {max_pages}")
            self._link.executescript(_SCHEMA)
            self._link.execute(f"PRAGMA user_version = {_VERSION}")
        except sqlite3.Error as error:
            os.close(self._lock)
            raise _translated(error, path) from error

    def close(self) -> None:
        """Checkpoint and close."""
        self._link.close()
        os.close(self._lock)

    def meta(self, name: str) -> int:
        """A number kept beside the log; 0 when it was never set."""
        found = self._link.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(found[0]) if found else 0

    def set_meta(self, name: str, value: int) -> None:
        """Durable when it returns."""
        try:
            self._link.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
        except sqlite3.Error as error:
            raise _translated(error, self.path) from error

    def last_revision(self) -> int:
        """The highest revision in the log."""
        return int(self._link.execute("SELECT coalesce(max(revision), 0) FROM change").fetchone()[0])

    def index(self) -> Iterator[tuple[str, int]]:
        """Every living key and its revision."""
        yield from self._link.execute(
            "SELECT key, revision FROM (SELECT key, max(revision) AS revision, value FROM change GROUP BY key) "
            "WHERE value IS NOT NULL"
        )

    def append(self, rows: Sequence[Row], dropped: Sequence[int] = ()) -> None:
        """All rows, without the revisions `dropped`, or nothing; durable when it returns."""
        try:
            if len(rows) <= _ROWS and not dropped:
                if rows:
                    self._insert(rows)
                return
            self._link.execute("BEGIN IMMEDIATE")
            for start in range(0, len(rows), _ROWS):
                self._insert(rows[start : start + _ROWS])
            self._link.executemany("DELETE FROM change WHERE revision = ?", [(revision,) for revision in dropped])
            self._link.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _translated(error, self.path) from error

    def _insert(self, rows: Sequence[Row]) -> None:
        marks = ",".join(["(?,?,?,?)"] * len(rows))
        self._link.execute(f"INSERT INTO change VALUES {marks}", [field for row in rows for field in row])

    def value_at(self, revision: int) -> bytes:
        """The value written at a revision."""
        return bytes(self._link.execute("SELECT value FROM change WHERE revision = ?", (revision,)).fetchone()[0])

    def compact_part(self, after: int, upto: int) -> bool:
        """Delete what rows in (`after`, `upto`] superseded, and deletions among them; whether anything was."""
        link = self._link
        try:
            link.execute("BEGIN IMMEDIATE")
            superseded = link.execute(
                "DELETE FROM change WHERE revision IN "
                "(SELECT previous FROM change WHERE revision > ? AND revision <= ?)",
                (after, upto),
            )
            deletions = link.execute(
                "DELETE FROM change WHERE revision > ? AND revision <= ? AND value IS NULL", (after, upto)
            )
            changed = superseded.rowcount + deletions.rowcount > 0
            if changed:
                link.execute("INSERT OR REPLACE INTO meta VALUES ('compacted', ?)", (upto,))
            link.execute("COMMIT" if changed else "ROLLBACK")
            return changed
        except sqlite3.Error as error:
            self._roll_back()
            raise _translated(error, self.path) from error

    def _roll_back(self) -> None:
        if self._link.in_transaction:
            self._link.execute("ROLLBACK")


class Reader:
    """A read-only connection."""

    def __init__(self, path: Path) -> None:
        self._link = _connect(path, read_only=True)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._link.close()

    def get(self, key: str, revision: int) -> KeyValue | None:
        """The key as of `revision`."""
        with self._lock:
            found = self._link.execute(
                "SELECT revision, value FROM change WHERE key = ? AND revision <= ? ORDER BY revision DESC LIMIT 1",
                (key, revision),
            ).fetchone()
        return KeyValue(key, found[1], found[0]) if found and found[1] is not None else None

    def range(self, prefix: str, after: str, limit: int, revision: int) -> tuple[list[KeyValue], bool]:
        """Keys under `prefix` after `after` as of `revision`, and whether more follow."""
        with self._lock:
            rows = self._link.execute(
                "SELECT key, value, revision FROM change c WHERE key > ? AND key < ? AND revision <= ? "
                "AND value IS NOT NULL AND NOT EXISTS (SELECT 1 FROM change n WHERE n.key = c.key "
                "AND n.revision > c.revision AND n.revision <= ?) ORDER BY key LIMIT ?",
                (max(after, prefix), prefix + _LAST, revision, revision, limit + 1 if limit else -1),
            ).fetchall()
        more = bool(limit) and len(rows) > limit
        return [KeyValue(*row) for row in (rows[:limit] if more else rows)], more

    def changes(self, prefix: str, after: int, upto: int) -> list[Change]:
        """Changes under `prefix` in (after, upto], each with the value it superseded where that is still held."""
        with self._lock:
            rows = self._link.execute(
                "SELECT n.revision, n.key, n.value, o.value FROM change n LEFT JOIN change o "
                "ON o.revision = n.previous WHERE n.revision > ? AND n.revision <= ? AND n.key >= ? AND n.key < ? "
                "ORDER BY n.revision",
                (after, upto, prefix, prefix + _LAST),
            ).fetchall()
        return [Change(*row) for row in rows]
