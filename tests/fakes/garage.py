"""A garage in memory: simulated relay and scanners, a clock that only tests move, a platform key to sign with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from parkube.parking.domain.grants import Grant, encode
from parkube.parking.gate.access import AccessList
from parkube.parking.gate.app import Garage
from parkube.parking.gate.config import GateConfig, parse
from parkube.parking.gate.devices.simulated import SimulatedRelay, SimulatedScanner
from parkube.parking.gate.journal import Journal
from parkube.parking.gate.lane import Lane
from parkube.parking.gate.main import check_signature

NAME = "nl-dfa45ccc"
NOON = 1_800_000_000.0


class FakeGarage:
    """Everything of one garage that a test wants to touch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOON
        self.time_known = True
        self.key = Ed25519PrivateKey.generate()
        self.relay = SimulatedRelay()
        self.scanners = {"entry": SimulatedScanner(), "exit": SimulatedScanner()}
        self.start()

    @property
    def config(self) -> GateConfig:
        board = {"address": "127.0.0.1", "port": 5020}
        gates = [
            {"name": "entry", "direction": "in", "relay": {**board, "coil": 0}},
            {"name": "exit", "direction": "out", "relay": {**board, "coil": 1}},
            {"name": "door", "direction": "pedestrian", "relay": {**board, "coil": 2}},
        ]
        raw: dict[str, Any] = {
            "garage": NAME, "platformUrl": "http://127.0.0.1:1", "dataDir": str(self.folder),
            "gates": gates, "testCoil": {**board, "coil": 7},
        }  # fmt: skip
        return parse(raw, "token")

    def start(self) -> None:
        """Start the app on whatever its journal holds; calling it again is a restart after a crash."""
        self.journal = Journal(self.folder / "journal.sqlite", lambda: self.now)
        self.lane = Lane(NAME, {gate.name: gate.direction for gate in self.config.gates}, check_signature)
        self.lane.keys = {"k1": self.key.public_key().public_bytes_raw()}
        relays = {gate.name: self.relay for gate in self.config.gates}
        self.garage = Garage(
            self.config, self.lane, self.journal, relays, self.relay, self.scanners,
            clock=lambda: self.now, monotonic=lambda: self.now, access=AccessList(self.folder / "access.sqlite"),
            time_known=lambda: self.time_known,
        )  # fmt: skip
        self.garage.start()

    def grant(self, **changes: Any) -> str:
        """The text of a grant, valid for an hour around noon unless changed."""
        fields: dict[str, Any] = {
            "jti": "j1", "kid": "k1", "garage": NAME, "gates": ("entry", "exit", "door"),
            "nbf": int(NOON - 1800), "exp": int(NOON + 1800), "booking": "b1", "test": False,
        }  # fmt: skip
        return encode(Grant(**{**fields, **changes}), self.key.sign)

    @property
    def kinds(self) -> list[str]:
        """What the journal says happened, since the last start."""
        kinds = [record.kind for record in self.journal.records()]
        return kinds[len(kinds) - kinds[::-1].index("started") :]
