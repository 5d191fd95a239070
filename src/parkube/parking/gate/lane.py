"""The lane: every decision at a gate, and nothing else. No I/O, no clock: events in, decisions out.

                 Scanned / OpenAsked (may pass)            RelayAnswered(ok)
        +------+ -----------------------------> +---------+ ----------------> +------+
        | idle |        admitted, journalled    | opening |      opened       | idle |
        +------+ <----------------------------- +---------+                   +------+
          |  ^            RelayAnswered(failed): failed, the grant is free again
          |  |
          +--+  Scanned / OpenAsked (may not): refused, with the reason

A grant is spent at a gate from `admitted` on, until `failed`. After a crash between the two, `restore` takes the
admission for an opening: a driver who may be inside is believed to be inside.
The order of decisions is the order in which they must be done: a Record is on disk before the Pulse that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parkube.parking.domain import grants
from parkube.parking.gate.config import TEST_GATE


@dataclass(frozen=True, slots=True)
class Scanned:
    """A code was shown to a gate's scanner. `now`: Unix seconds by the garage's own clock."""

    gate: str
    code: str
    now: float


@dataclass(frozen=True, slots=True)
class OpenAsked:
    """The platform asks to open a gate, until `expires_at` (Unix seconds)."""

    gate: str
    command: str
    expires_at: float
    now: float
    booking: str | None = None
    jti: str | None = None


@dataclass(frozen=True, slots=True)
class RelayAnswered:
    """What the relay said to the pulse of this admission."""

    admission: Admission
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Admission:
    """Who is being let through which gate."""

    gate: str
    jti: str | None = None
    booking: str | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Write this to the journal, durably, before anything that follows."""

    kind: str
    gate: str
    jti: str | None = None
    booking: str | None = None
    command: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pulse:
    """Pulse the gate's coil, then tell the lane with RelayAnswered."""

    admission: Admission


@dataclass(frozen=True, slots=True)
class Answer:
    """What whoever asked is told."""

    ok: bool
    reason: str = ""


Decision = Record | Pulse | Answer


class Lane:
    """The gates of one garage. `keys`: kid -> raw Ed25519 public key, replaced as the platform rotates them."""

    def __init__(self, garage: str, gates: Iterable[str], check: grants.Check) -> None:
        self.garage = garage
        self.gates = frozenset(gates)
        self.keys: dict[str, bytes] = {}
        self._check = check
        self._spent: set[tuple[str, str]] = set()
        self._revoked: set[str] = set()

    def restore(self, records: Iterable[Record]) -> list[Decision]:
        """Take up where the journal ends. Returns what must be recorded for admissions left open by a crash."""
        open_: dict[tuple[str, str | None, str | None], Record] = {}
        for record in records:
            place = (record.gate, record.jti, record.command)
            if record.kind == "admitted":
                open_[place] = record
                self._spend(record)
            elif record.kind == "opened":
                open_.pop(place, None)
                self._spend(record)
            elif record.kind == "failed":
                open_.pop(place, None)
                self._spent.discard((record.jti or "", record.gate))
            elif record.kind == "revoked" and record.jti:
                self._revoked.add(record.jti)
        return [Record("opened", r.gate, r.jti, r.booking, r.command, {"outcome": "unknown"}) for r in open_.values()]

    def scanned(self, event: Scanned) -> list[Decision]:
        """A driver shows a code."""
        try:
            grant = self._verify(event.code, event.gate, event.now)
        except grants.GrantRefused as refusal:
            jti, booking = self._named_in(event.code)
            return self._refuse(Record("refused", event.gate, jti, booking, None, {"reason": refusal.code}))
        if grant.test:
            return self._refuse(Record("refused", event.gate, grant.jti, None, None, {"reason": "test_grant"}))
        return self._admit(Admission(event.gate, grant.jti, grant.booking))

    def open_asked(self, event: OpenAsked) -> list[Decision]:
        """The platform's command: too late is refused, and said."""
        reason = ""
        if event.gate not in self.gates:
            reason = "other_gate"
        elif event.now >= event.expires_at:
            reason = "expired"
        if reason:
            return self._refuse(
                Record("refused", event.gate, event.jti, event.booking, event.command, {"reason": reason})
            )
        return self._admit(Admission(event.gate, event.jti, event.booking, event.command))

    def relay_answered(self, event: RelayAnswered) -> list[Decision]:
        """The relay moved, or did not."""
        who = event.admission
        if event.ok:
            return [Record("opened", who.gate, who.jti, who.booking, who.command), Answer(True)]
        self._spent.discard((who.jti or "", who.gate))
        record = Record("failed", who.gate, who.jti, who.booking, who.command, {"reason": event.reason or "relay"})
        return [record, Answer(False, "relay")]

    def revoke(self, jti: str) -> list[Decision]:
        """From now on this grant opens nothing."""
        self._revoked.add(jti)
        return [Record("revoked", "", jti), Answer(True)]

    def test_grant(self, code: str, now: float) -> grants.Grant:
        """Check a test grant by the same path as a driver's. Raises GrantRefused."""
        grant = self._verify(code, TEST_GATE, now)
        if not grant.test:
            raise grants.GrantRefused(grants.OTHER_GATE)
        self._spent.add((grant.jti, TEST_GATE))
        return grant

    def _verify(self, code: str, gate: str, now: float) -> grants.Grant:
        grant = grants.verify(
            code, keys=self.keys, check=self._check, garage=self.garage, gate=gate, now=now,
            used=lambda jti, at: (jti, at) in self._spent,
        )  # fmt: skip
        if grant.jti in self._revoked:
            raise grants.GrantRefused(grants.EXPIRED)
        return grant

    def _admit(self, who: Admission) -> list[Decision]:
        if who.jti:
            self._spent.add((who.jti, who.gate))
        return [Record("admitted", who.gate, who.jti, who.booking, who.command), Pulse(who)]

    def _refuse(self, record: Record) -> list[Decision]:
        return [record, Answer(False, str(record.detail["reason"]))]

    def _spend(self, record: Record) -> None:
        if record.jti:
            self._spent.add((record.jti, record.gate))

    @staticmethod
    def _named_in(code: str) -> tuple[str | None, str | None]:
        try:
            grant = grants.decode(code).grant
        except grants.GrantRefused:
            return None, None
        return grant.jti, grant.booking
