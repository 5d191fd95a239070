"""The running garage: carries out the lane's decisions, in their order, on journal and relays. Decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from parkube.parking.domain.credentials import PIN, RFID, normal
from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.site import Site
from parkube.parking.gate.access import AccessList
from parkube.parking.gate.config import Gate, GateConfig
from parkube.parking.gate.cycle import Cycle, Outcome
from parkube.parking.gate.devices.port import Relay, Scanner
from parkube.parking.gate.errors import DeviceError, JournalError
from parkube.parking.gate.events import (
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
from parkube.parking.gate.journal import Journal
from parkube.parking.gate.lane import Lane

KEEP_S = 90 * 86_400.0


class Garage:
    """One garage's gates. `relays` by gate name; `on_record` hears of each journalled event (the link sends it)."""

    def __init__(
        self, config: GateConfig, lane: Lane, journal: Journal, relays: Mapping[str, Relay], test_relay: Relay | None,
        scanners: Mapping[str, Scanner], *, clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic, access: AccessList | None = None,
        time_known: Callable[[], bool] = lambda: True,
    ) -> None:  # fmt: skip
        self.config, self.lane, self.journal = config, lane, journal
        self.relays, self.scanners = relays, scanners
        self.on_record: Callable[[], None] = lambda: None
        self._clock, self._monotonic, self._time_known = clock, monotonic, time_known
        self.access = access
        self._held_up: set[str] = set()
        self._down: set[str] = set()
        coil = config.test_coil.coil if config.test_coil else 0
        self._cycle = Cycle(lane, journal, test_relay, coil, list(scanners.items()), monotonic)

    def start(self) -> None:
        """Take up where the journal ends. Raises JournalError."""
        for decision in self.lane.restore(self.journal.records()):
            assert isinstance(decision, Record)
            self.journal.append(decision)
        self.journal.append(Record("started", "", detail={"app_version": self.config.app_version}))
        self.journal.prune(KEEP_S)
        if self.access is not None:
            self.access.prune(self._clock())
            self.lane.know(self.access.codes())

    async def release(self, every_s: float = 1.0) -> None:
        """Open the coils that are closed: a pulse that a crash cut short has nobody else to end it.

        Before the first pulse; a board that does not answer is asked again every `every_s` seconds.
        """
        await asyncio.gather(*(self._release(gate, every_s) for gate in self.config.gates))

    async def scan(self, gate: str, code: str) -> tuple[bool, str]:
        """A code was shown: (passes, reason)."""
        # A keypad and a card reader that share the scanner's line say which they are.
        kind, colon, value = code.partition(":")
        if colon and kind.lower() in (PIN, RFID):
            return await self.present(gate, kind.lower(), value)
        return await self._perform(self.lane.scanned(Scanned(gate, code, self._now())))

    async def present(self, gate: str, kind: str, value: str) -> tuple[bool, str]:
        """A PIN, a plate or a card: (passes, reason)."""
        try:
            compared = normal(kind, value)
        except Invalid:
            compared = ""
        return await self._perform(self.lane.presented(Presented(gate, kind, compared, self._now(), self._monotonic())))

    async def site(self, state: Site, command: str) -> tuple[bool, str]:
        """The platform says in which state the garage is; evacuated holds every gate up."""
        return await self._perform(self.lane.site_ordered(SiteOrdered(state, command)))

    async def reset_passback(self, jti: str | None) -> tuple[bool, str]:
        """Forget who is in and out: one, or all."""
        return await self._perform(self.lane.passback_reset(jti))

    def allow(self, jti: str, code: str, credentials: Sequence[tuple[str, str]], until: float) -> None:
        """What stands for a grant from now on. Raises JournalError."""
        if self.access is not None:
            self.access.put(jti, code, credentials, until)
            self.lane.know(self.access.codes())

    async def hold(self) -> bool:
        """Bring the gates to where the state wants them: up, or let go. Whether all are there; else again soon."""
        wanted = {gate.name for gate in self.config.gates} if self.lane.site is Site.EVACUATED else set()
        for name in sorted(wanted ^ self._held_up):
            gate, relay = self.config.gate(name), self.relays.get(name)
            if gate is None or relay is None:
                continue
            try:
                await relay.write(gate.relay.coil, name in wanted)
            except DeviceError:
                continue
            (self._held_up.add if name in wanted else self._held_up.discard)(name)
        return wanted == self._held_up

    async def open(
        self, gate: str, command: str, expires_at: float, booking: str | None = None, jti: str | None = None
    ) -> tuple[bool, str]:
        """The platform's command; one that was carried out before is answered as before, not carried out again."""
        done = self._done(command)
        if done is not None:
            return done
        asked = OpenAsked(gate, command, expires_at, self._now(), booking, jti)
        return await self._perform(self.lane.open_asked(asked))

    async def revoke(self, jti: str) -> tuple[bool, str]:
        """A grant that lets nobody in from now on."""
        if self.access is not None:
            self.access.forget(jti)
            self.lane.know(self.access.codes())
        return await self._perform(self.lane.revoke(jti))

    async def verify(self, command: str, code: str) -> Outcome:
        """One synthetic gate cycle."""
        outcome = await self._cycle.run(command, code, self._clock())
        if outcome.step == "journal":
            self._down.add("journal")
        elif outcome.step not in ("grant", "scanner"):
            self._down.discard("journal")
        self.on_record()
        return outcome

    def devices(self) -> dict[str, bool]:
        """Which devices answered last, as the platform is told."""
        return {
            "relay": not any(name.startswith("relay") for name in self._down),
            "scanner": all(scanner.alive for scanner in self.scanners.values()),
            "journal": "journal" not in self._down,
        }

    async def watch_devices(self) -> None:
        """Ask each relay once; journal who went away or came back."""
        for name, relay in self.relays.items():
            gate = self.config.gate(name)
            try:
                await relay.read(gate.relay.coil if gate else 0)
                self._seen(f"relay:{name}", True)
            except DeviceError:
                self._seen(f"relay:{name}", False)
        for name, scanner in self.scanners.items():
            self._seen(f"scanner:{name}", scanner.alive)

    async def _release(self, gate: Gate, every_s: float) -> None:
        relay = self.relays[gate.name]
        while True:
            if self.lane.site is Site.EVACUATED:
                return  # Held up on purpose.
            try:
                if await relay.read(gate.relay.coil):
                    await relay.write(gate.relay.coil, False)
                return
            except DeviceError:
                await asyncio.sleep(every_s)

    def _seen(self, device: str, up: bool) -> None:
        if up == (device not in self._down):
            return
        (self._down.discard if up else self._down.add)(device)
        if not up:
            self._held_up.discard(device.partition(":")[2])  # A board that lost its power has let go.
        try:
            gate = device.partition(":")[2]
            self.journal.append(Record("device_up" if up else "device_down", gate, detail={"device": device}))
            self._down.discard("journal")
        except JournalError:
            self._down.add("journal")
        self.on_record()

    def _now(self) -> float | None:
        return self._clock() if self._time_known() else None

    def _done(self, command: str) -> tuple[bool, str] | None:
        for record in self.journal.of_command(command):
            if record.kind in {"opened", "waved_through"}:
                return True, ""
            if record.kind in {"refused", "failed"}:
                return False, str(record.detail.get("reason", record.kind))
        return None

    async def _perform(self, decisions: Sequence[Decision]) -> tuple[bool, str]:
        answer = Answer(False, "none")
        for decision in decisions:
            if isinstance(decision, Record):
                try:
                    self.journal.append(decision)
                    self._down.discard("journal")
                except JournalError:
                    self._down.add("journal")
                    return False, "journal"
                self.on_record()
            elif isinstance(decision, Pulse):
                return await self._pulse(decision)
            elif isinstance(decision, Hold):
                await self.hold()
            else:
                answer = decision
        return answer.ok, answer.reason

    async def _pulse(self, pulse: Pulse) -> tuple[bool, str]:
        gate = self.config.gate(pulse.admission.gate)
        relay = self.relays.get(pulse.admission.gate)
        if gate is None or relay is None:
            return await self._perform(self.lane.relay_answered(RelayAnswered(pulse.admission, False, "no_relay")))
        try:
            await relay.pulse(gate.relay.coil, gate.relay.pulse_ms)
        except DeviceError as error:
            answer = RelayAnswered(pulse.admission, False, str(error))
        else:
            answer = RelayAnswered(pulse.admission, True)
        return await self._perform(self.lane.relay_answered(answer))
