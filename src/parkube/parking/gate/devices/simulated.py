"""A relay and a scanner in memory: for tests, and for scale runs with thousands of garages in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parkube.parking.gate.devices.port import OnCode
from parkube.parking.gate.errors import DeviceError


class SimulatedRelay:
    """Coils that remember every change. `dead` makes the board silent; `stuck` makes a coil not follow."""

    def __init__(self, coils: int = 16) -> None:
        self.states = [False] * coils
        self.changes: list[tuple[int, bool]] = []
        self.dead = False
        self.stuck = False
        self.before_write: Callable[[], None] = lambda: None
        self._timers: dict[int, asyncio.TimerHandle] = {}

    async def pulse(self, coil: int, pulse_ms: int) -> None:
        await self.write(coil, True)
        if (older := self._timers.get(coil)) is not None:
            older.cancel()
        self._timers[coil] = asyncio.get_running_loop().call_later(pulse_ms / 1000, self._set, coil, False)

    async def write(self, coil: int, on: bool) -> None:
        self._check(coil)
        self.before_write()
        self._set(coil, on)

    async def read(self, coil: int) -> bool:
        self._check(coil)
        return self.states[coil]

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def _check(self, coil: int) -> None:
        if self.dead:
            raise DeviceError("the relay board does not answer")
        if not 0 <= coil < len(self.states):
            raise DeviceError(f"the relay board does not know coil {coil}")

    def _set(self, coil: int, on: bool) -> None:
        if not self.stuck:
            self.states[coil] = on
            self.changes.append((coil, on))


class SimulatedScanner:
    """A scanner whose codes come from `show`."""

    def __init__(self) -> None:
        self.alive = True
        self._on_code: OnCode | None = None

    async def answers(self) -> bool:
        return self.alive

    async def run(self, on_code: OnCode) -> None:
        self._on_code = on_code
        await asyncio.Event().wait()

    async def show(self, code: str) -> tuple[bool, str]:
        """As if a driver held a code before it."""
        assert self._on_code is not None, "the scanner is not running"
        return await self._on_code(code)
