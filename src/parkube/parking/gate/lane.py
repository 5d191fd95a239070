"""The lane: every decision at a gate, and nothing else. No I/O, no clock: events in, decisions out.

                 Scanned / Presented / OpenAsked (may pass)     RelayAnswered(ok)
        +------+ --------------------------------> +---------+ ----------------> +------+
        | idle |          admitted, journalled     | opening |      opened       | idle |
        +------+ <-------------------------------- +---------+                   +------+
          |  ^            RelayAnswered(failed): failed, the grant is free again
          |  |
          +--+  Scanned / Presented / OpenAsked (may not): refused, with the reason

    SiteOrdered: open, full | closed, maintenance: nobody in | evacuated: all gates up, nobody is asked

A grant is spent at an entry from `admitted` on, until `failed`; where in and out is allowed, and at every exit, who is
in and who is out decides (domain.antipassback). An exit lets out whoever the platform ever let in, late, twice or with
a clock that is wrong, and marks it. After a crash between `admitted` and `opened`, `restore` takes the admission for an
opening: a driver who may be inside is believed to be inside.
The order of decisions is the order in which they must be done: a Record is on disk before the Pulse that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from parkube.parking.domain import grants
from parkube.parking.domain.antipassback import Passback, Passed, Reset
from parkube.parking.domain.credentials import PIN, PLATE
from parkube.parking.domain.plates import nearest
from parkube.parking.domain.site import Site
from parkube.parking.gate.config import TEST_GATE
from parkube.parking.gate.events import (
    Admission,
    Answer,
    Decision,
    Hold,
    OpenAsked,
    Presented,
    Pulse,
    Record,
    RelayAnswered,
    Scanned,
    SiteOrdered,
)

IN, OUT, PEDESTRIAN = "in", "out", "pedestrian"
_SHUT: Final = (Site.CLOSED, Site.MAINTENANCE)
WRONG_PINS: Final = 5
PIN_PAUSE_S: Final = 60.0


class Lane:
    """The gates of one garage. `keys`: kid -> raw Ed25519 public key, replaced as the platform rotates them.

    gates: name -> in, out or pedestrian; names alone are ways in.
    """

    def __init__(self, garage: str, gates: Mapping[str, str] | Iterable[str], check: grants.Check) -> None:
        self.garage = garage
        self.directions = dict(gates) if isinstance(gates, Mapping) else dict.fromkeys(gates, IN)
        self.gates = frozenset(self.directions)
        self.keys: dict[str, bytes] = {}
        self.site = Site.OPEN
        self._check = check
        self._spent: set[tuple[str, str]] = set()
        self._revoked: set[str] = set()
        self._passback = Passback()
        self._number = 0
        self._codes: dict[tuple[str, str], str] = {}
        self._wrong_pins: dict[str, list[float]] = {}

    def restore(self, records: Iterable[Record]) -> list[Decision]:
        """Take up where the journal ends. Returns what must be recorded for admissions left open by a crash."""
        open_: dict[tuple[str, str | None, str | None], Record] = {}
        for record in records:
            place = (record.gate, record.jti, record.command)
            if record.kind == "admitted":
                open_[place] = record
                self._passes(record.jti, record.gate)
            elif record.kind == "opened":
                if open_.pop(place, None) is None:
                    self._passes(record.jti, record.gate)
            elif record.kind == "failed":
                open_.pop(place, None)
                self._has_not_passed(record.jti, record.gate)
            elif record.kind == "revoked" and record.jti:
                self._revoked.add(record.jti)
            elif record.kind == "passback_reset":
                self._forget_passes(record.jti)
            elif record.kind == "site":
                self.site = Site(str(record.detail["state"]))
        return [Record("opened", r.gate, r.jti, r.booking, r.command, {"outcome": "unknown"}) for r in open_.values()]

    def scanned(self, event: Scanned) -> list[Decision]:
        """A driver shows a code."""
        if self.site is Site.EVACUATED:
            return [Record("waved_through", event.gate), Answer(True)]
        if self.site in _SHUT and self.directions.get(event.gate) == IN:
            jti, booking = self._named_in(event.code)
            return self._refuse(Record("refused", event.gate, jti, booking, None, {"reason": self.site.value}))
        try:
            grant = self._verify(event.code, event.gate, event.now)
        except grants.GrantRefused as refusal:
            jti, booking = self._named_in(event.code)
            return self._refuse(Record("refused", event.gate, jti, booking, None, {"reason": refusal.code}))
        if grant.test:
            return self._refuse(Record("refused", event.gate, grant.jti, None, None, {"reason": "test_grant"}))
        return self._admit(Admission(event.gate, grant.jti, grant.booking), self._marks(grant, event.gate, event.now))

    def presented(self, event: Presented) -> list[Decision]:
        """A PIN, a plate or a card stands for a grant, and what holds for the grant holds for it."""
        if self.site is Site.EVACUATED:
            return [Record("waved_through", event.gate), Answer(True)]
        if event.kind == PIN and self._pins_are_paused(event):
            return self._refuse(Record("refused", event.gate, detail={"reason": "too_many_pins", "by": PIN}))
        code = self._codes.get((event.kind, event.value))
        if code is None and event.kind == PLATE and self.directions.get(event.gate) == OUT:
            code = self._inside_by_plate(event.value)
        if code is None:
            # What was shown is not written down: it may be a plate, and it is nobody's business here.
            if event.kind == PIN:
                self._wrong_pins.setdefault(event.gate, []).append(event.moment)
            return self._refuse(
                Record("refused", event.gate, detail={"reason": f"unknown_{event.kind}", "by": event.kind})
            )
        decisions = self.scanned(Scanned(event.gate, code, event.now))
        return [
            replace(one, detail={**one.detail, "by": event.kind}) if isinstance(one, Record) else one
            for one in decisions
        ]

    def open_asked(self, event: OpenAsked) -> list[Decision]:
        """The platform's command: too late is refused, and said."""
        reason = ""
        if self.site is Site.EVACUATED and event.gate in self.gates:
            return [Record("waved_through", event.gate, command=event.command), Answer(True)]
        if event.gate not in self.gates:
            reason = "other_gate"
        elif event.now is not None and event.now >= event.expires_at:
            reason = "expired"
        elif self.site in _SHUT and self.directions[event.gate] == IN:
            reason = self.site.value
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
        self._has_not_passed(who.jti, who.gate)
        record = Record("failed", who.gate, who.jti, who.booking, who.command, {"reason": event.reason or "relay"})
        return [record, Answer(False, "relay")]

    def site_ordered(self, event: SiteOrdered) -> list[Decision]:
        """The platform says in which state the garage is. The same again is nothing."""
        if event.state is self.site:
            return [Answer(True)]
        self.site = event.state
        record = Record("site", "", command=event.command, detail={"state": event.state.value})
        return [record, Hold(event.state is Site.EVACUATED), Answer(True)]

    def passback_reset(self, jti: str | None) -> list[Decision]:
        """From here on nothing is known of who is in or out: of one, or of all."""
        self._forget_passes(jti)
        return [Record("passback_reset", "", jti), Answer(True)]

    def revoke(self, jti: str) -> list[Decision]:
        """From now on this grant lets nobody in."""
        self._revoked.add(jti)
        return [Record("revoked", "", jti), Answer(True)]

    def know(self, codes: Mapping[tuple[str, str], str]) -> None:
        """All credentials that open something now: (kind, value) -> the code of their grant."""
        self._codes = dict(codes)

    def test_grant(self, code: str, now: float) -> grants.Grant:
        """Check a test grant by the same path as a driver's. Raises GrantRefused."""
        grant = self._verify(code, TEST_GATE, now)
        if not grant.test:
            raise grants.GrantRefused(grants.OTHER_GATE)
        self._spent.add((grant.jti, TEST_GATE))
        return grant

    def _verify(self, code: str, gate: str, now: float | None) -> grants.Grant:
        direction = self.directions.get(gate, IN)
        grant = grants.verify(
            code, keys=self.keys, check=self._check, garage=self.garage, gate=gate,
            now=None if direction == OUT else now, used=lambda _jti, _gate: False,
        )  # fmt: skip
        if direction == OUT:
            return grant
        may_enter = self._passback.may_enter(grant.jti) if grant.in_out else (grant.jti, gate) not in self._spent
        if direction == IN and not may_enter:
            raise grants.GrantRefused(grants.USED)
        if grant.jti in self._revoked:
            raise grants.GrantRefused(grants.EXPIRED)
        return grant

    def _marks(self, grant: grants.Grant, gate: str, now: float | None) -> list[str]:
        """What would have refused this grant anywhere but at an exit; and that nobody knew the time."""
        marks = ["time_unknown"] if now is None else []
        if self.directions.get(gate) != OUT:
            return marks
        if now is not None and not grant.nbf <= now < grant.exp:
            marks.append("not_yet" if now < grant.nbf else "expired")
        if grant.jti in self._revoked:
            marks.append("revoked")
        if grant.jti not in self._passback.inside():
            marks.append("not_inside")
        return marks

    def _inside_by_plate(self, read: str) -> str | None:
        inside = self._passback.inside()
        codes = {
            value: code
            for (kind, value), code in self._codes.items()
            if kind == PLATE and self._named_in(code)[0] in inside
        }
        found = nearest(read, codes)
        return codes[found] if found is not None else None

    def _pins_are_paused(self, event: Presented) -> bool:
        recent = [at for at in self._wrong_pins.get(event.gate, ()) if 0 <= event.moment - at < PIN_PAUSE_S]
        self._wrong_pins[event.gate] = recent
        return len(recent) >= WRONG_PINS

    def _admit(self, who: Admission, marks: list[str] | None = None) -> list[Decision]:
        self._passes(who.jti, who.gate)
        detail = {"marks": marks} if marks else {}
        return [Record("admitted", who.gate, who.jti, who.booking, who.command, detail), Pulse(who)]

    def _refuse(self, record: Record) -> list[Decision]:
        return [record, Answer(False, str(record.detail["reason"]))]

    def _passes(self, jti: str | None, gate: str) -> None:
        direction = self.directions.get(gate, IN)
        if not jti or direction == PEDESTRIAN:
            return
        self._number += 1
        self._passback.heard(Passed(self._number, jti, direction == IN))
        if direction == IN:
            self._spent.add((jti, gate))

    def _has_not_passed(self, jti: str | None, gate: str) -> None:
        self._spent.discard((jti or "", gate))
        if jti:
            self._number += 1
            self._passback.heard(Reset(self._number, jti))

    def _forget_passes(self, jti: str | None) -> None:
        self._number += 1
        self._passback.heard(Reset(self._number, jti))
        self._spent = set() if jti is None else {spent for spent in self._spent if spent[0] != jti}

    @staticmethod
    def _named_in(code: str) -> tuple[str | None, str | None]:
        try:
            grant = grants.decode(code).grant
        except grants.GrantRefused:
            return None, None
        return grant.jti, grant.booking
