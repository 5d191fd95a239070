"""The real garage app with a simulated relay, and its real link to a platform on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from parkube.parking.gate.app import Garage
from parkube.parking.gate.config import parse
from parkube.parking.gate.devices.simulated import SimulatedRelay, SimulatedScanner
from parkube.parking.gate.journal import Journal
from parkube.parking.gate.lane import Lane
from parkube.parking.gate.link import Link
from parkube.parking.gate.main import check_signature


class LinkedGarage:
    """One garage's app, its relay, and its link that can be cut. clock: Unix seconds."""

    def __init__(
        self, garage_id: str, token: str, port: int, folder: Path, clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:  # fmt: skip
        board = {"address": "127.0.0.1", "port": 5020}
        gates = [
            {"name": "entry", "direction": "in", "relay": {**board, "coil": 0, "pulseMs": 50}},
            {"name": "exit", "direction": "out", "relay": {**board, "coil": 1, "pulseMs": 50}},
        ]
        raw = {
            "garage": garage_id, "platformUrl": f"http://127.0.0.1:{port}", "dataDir": str(folder), "gates": gates,
            "testCoil": {**board, "coil": 7},
        }  # fmt: skip
        self.relay = SimulatedRelay()
        lane = Lane(garage_id, {"entry": "in", "exit": "out"}, check_signature)
        self.journal = Journal(folder / f"{garage_id}.sqlite", clock)
        scanners = {"entry": SimulatedScanner(), "exit": SimulatedScanner()}
        relays = {"entry": self.relay, "exit": self.relay}
        self.garage = Garage(parse(raw, token), lane, self.journal, relays, self.relay, scanners, clock=clock)
        self.garage.start()
        self.link = Link(self.garage, "boot", clock=clock, log=lambda _: None, jitter=jitter)

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        """The cable is in."""
        task = asyncio.create_task(self.link.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def told(self) -> bool:
        """Whether the platform has everything."""
        return self.journal.acked_seq >= self.journal.last_seq

    async def close(self) -> None:
        await self.relay.close()
        self.journal.close()
