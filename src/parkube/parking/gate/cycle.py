"""The garage's part of the synthetic gate cycle: each step for real, on the test coil; the one that fails is named.

    grant -> scanner -> journal -> relay -> readback

Never a visit: what it journals is `verify_done`, and only a test grant runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parkube.parking.domain.grants import GrantRefused
from parkube.parking.gate.config import TEST_GATE
from parkube.parking.gate.devices.port import Relay, Scanner
from parkube.parking.gate.errors import DeviceError, JournalError
from parkube.parking.gate.events import Record
from parkube.parking.gate.journal import Journal
from parkube.parking.gate.lane import Lane


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cycle went. `step` is the one that failed, empty when none did."""

    ok: bool
    step: str
    reason: str
    duration_ms: int


class Cycle:
    """What a cycle needs. `monotonic` in seconds measures it."""

    def __init__(
        self, lane: Lane, journal: Journal, relay: Relay | None, coil: int, scanners: Sequence[tuple[str, Scanner]],
        monotonic: Callable[[], float],
    ) -> None:  # fmt: skip
        self._lane, self._journal, self._relay, self._coil = lane, journal, relay, coil
        self._scanners, self._monotonic = scanners, monotonic

    async def run(self, command: str, code: str, now: float) -> Outcome:
        """One cycle for the platform's command. Never raises for a broken device: it says which."""
        began = self._monotonic()
        jti: str | None = None
        step, reason = "grant", ""
        try:
            jti = self._lane.test_grant(code, now).jti
            step = "scanner"
            for gate, scanner in self._scanners:
                if not await scanner.answers():
                    raise DeviceError(f"the scanner at {gate} does not answer")
            step = "journal"
            self._journal.append(Record("verify_started", TEST_GATE, jti, None, command))
            step = await self._drive()
        except GrantRefused as refusal:
            reason = refusal.code
        except (DeviceError, JournalError) as error:
            reason = str(error)
            step = getattr(error, "step", step)
        duration_ms = round((self._monotonic() - began) * 1000)
        outcome = Outcome(not reason, step if reason else "", reason, duration_ms)
        detail = {"ok": outcome.ok, "step": outcome.step, "reason": reason, "duration_ms": duration_ms}
        try:
            self._journal.append(Record("verify_done", TEST_GATE, jti, None, command, detail))
        except JournalError as error:
            return Outcome(False, "journal", str(error), duration_ms)
        return outcome

    async def _drive(self) -> str:
        if self._relay is None:
            raise _At("relay", "no test coil is configured")
        for on in (True, False):
            try:
                await self._relay.write(self._coil, on)
            except DeviceError as error:
                raise _At("relay", str(error)) from error
            try:
                seen = await self._relay.read(self._coil)
            except DeviceError as error:
                raise _At("readback", str(error)) from error
            if seen is not on:
                raise _At(
                    "readback", f"the test coil was set {'on' if on else 'off'} and reads {'on' if seen else 'off'}"
                )
        return ""


class _At(DeviceError):
    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step
