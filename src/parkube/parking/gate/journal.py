"""The garage's journal: what happened at its gates, numbered, on disk before anyone is told. Not the platform's record.

SQLite in WAL mode with synchronous=FULL: `append` returns when the event would survive a power cut. What the platform
has acknowledged is kept for a while (`keep`), because spent grants are known from it.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from parkube.parking.gate.errors import JournalError
from parkube.parking.gate.events import Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, gate TEXT NOT NULL,
    jti TEXT, booking TEXT, command TEXT, detail TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_by_command ON event (command) WHERE command IS NOT NULL;
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

BUSY_S = 1.0  # a driver waits before the gate: a disk that is stuck longer is a broken one


class Entry(NamedTuple):
    """One numbered event; `at` in Unix seconds."""

    seq: int
    at: float
    record: Record


class Journal:
    """One garage's events. Every method may raise JournalError: then nothing may move."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {path} cannot be opened: {error}") from error

    def append(self, record: Record) -> Entry:
        """Write one event; durable on return."""
        at = self._clock()
        try:
            cursor = self._db.execute(
                "INSERT INTO event (at, kind, gate, jti, booking, command, detail) VALUES (?,?,?,?,?,?,?)",
                (
                    at,
                    record.kind,
                    record.gate,
                    record.jti,
                    record.booking,
                    record.command,
                    json.dumps(dict(record.detail)),
                ),
            )
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be written: {error}") from error
        return Entry(int(cursor.lastrowid or 0), at, record)

    def after(self, seq: int, limit: int = 500) -> list[Entry]:
        """Events numbered above `seq`, in order."""
        return list(self._read("WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)))

    def records(self) -> Iterator[Record]:
        """Everything that is kept, in order."""
        return (entry.record for entry in self._read("ORDER BY seq", ()))

    def of_command(self, command: str) -> list[Record]:
        """What became of one command of the platform."""
        return [entry.record for entry in self._read("WHERE command = ? ORDER BY seq", (command,))]

    @property
    def last_seq(self) -> int:
        """The number of the last event, 0 before the first."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
        return int(row[0]) if row else 0

    @property
    def last_at(self) -> float:
        """When the last event was, in Unix seconds; 0 before the first."""
        row = self._db.execute("SELECT at FROM event ORDER BY seq DESC LIMIT 1").fetchone()
        return float(row[0]) if row else 0.0

    @property
    def id(self) -> str:
        """Which journal this is: another one, with numbers of its own, has another."""
        found = self.fact("journal_id")
        if found is None:
            found = uuid.uuid4().hex
            self.remember("journal_id", found)
        return found

    @property
    def acked_seq(self) -> int:
        """Up to where the platform has everything."""
        return int(self.fact("acked") or 0)

    def acked(self, seq: int) -> None:
        """The platform has everything up to `seq`; an older acknowledgement changes nothing."""
        if seq > self.acked_seq:
            self.remember("acked", str(min(seq, self.last_seq)))

    def fact(self, name: str) -> str | None:
        """A remembered value (keys, the acknowledged number)."""
        try:
            row = self._db.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be read: {error}") from error
        return str(row[0]) if row else None

    def remember(self, name: str, value: str) -> None:
        """Keep a value across restarts."""
        try:
            self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be written: {error}") from error

    def prune(self, keep_s: float) -> int:
        """Forget acknowledged events older than `keep_s`; how many."""
        try:
            return self._db.execute(
                "DELETE FROM event WHERE seq <= ? AND at < ?", (self.acked_seq, self._clock() - keep_s)
            ).rowcount
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _read(self, where: str, values: Iterable[Any]) -> Iterator[Entry]:
        try:
            rows = self._db.execute(
                f"SELECT seq, at, kind, gate, jti, booking, command, detail FROM event {where}", tuple(values)
            ).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be read: {error}") from error
        for seq, at, kind, gate, jti, booking, command, detail in rows:
            yield Entry(seq, at, Record(kind, gate, jti, booking, command, json.loads(detail)))
