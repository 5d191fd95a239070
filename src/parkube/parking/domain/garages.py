"""A garage as the platform knows it: a record, not the Kubernetes resource and not the app that runs there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.tariffs import Step, Tariff

GARAGE_ID: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
"""A garage's id is its name on the Kubernetes API."""

STANDARD_TARIFF: Final = Tariff((Step(0, 30, 150),), cap_minor=2500, name="standard")
"""Where no source gives a price: 1.50 per started half hour, at most 25.00 a day. Such a garage is not bookable."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate by the name that grants and commands use. Direction: entry, exit, both, or pedestrian (no vehicle)."""

    name: str
    direction: str = "both"


@dataclass(frozen=True, slots=True)
class Garage:
    """One garage. Unknown is None, never a number: position in degrees, capacity in bays, height in metres."""

    id: str
    name: str
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None
    time_zone: str = "Europe/Amsterdam"
    country: str = ""
    usage: str = "garage"
    capacity: int | None = None
    height_m: float | None = None
    gates: tuple[Gate, ...] = ()
    tariff: Tariff = STANDARD_TARIFF
    managed: bool = False
    bookable: bool = True
    node: str | None = None
    source: str = ""
    source_ref: str = ""

    @property
    def can_be_booked(self) -> bool:
        """Whether a driver can book here: bays that are counted, and gates that the fleet's operator runs."""
        return self.managed and self.bookable and bool(self.capacity) and bool(self.gates)

    def gate_faults(self, gate: str) -> None:
        """Raises Invalid where the garage has no such gate."""
        names = [known.name for known in self.gates]
        if gate not in names:
            raise Invalid(
                f"{self.name} has no gate {gate!r}, it has {', '.join(names) or 'none'}", [("gate", "unknown")]
            )


@dataclass(frozen=True, slots=True)
class Link:
    """What the platform remembers of a garage's app: how far its journal was received, and when it was last heard.

    journal counts the journals the garage has had: a lost disk begins a new one, numbered from 1 again. journal_id is
    what the garage calls the one it has, if it calls it anything.
    """

    garage_id: str
    token_hashes: tuple[str, ...] = ()
    journal: int = 1
    journal_id: str | None = None
    acked_seq: int = 0
    last_seen: datetime | None = None
    app_version: str | None = None
    boot_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """How a synthetic gate cycle of a garage went. `step` is the one that failed."""

    garage_id: str
    at: datetime
    ok: bool
    step: str | None
    reason: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class GateEvent:
    """One line of a garage's journal, as it arrived. `at` is by the garage's clock, received_at by ours."""

    garage_id: str
    journal: int
    seq: int
    at: datetime
    received_at: datetime
    kind: str
    gate: str | None = None
    jti: str | None = None
    booking_id: str | None = None
    command_id: str | None = None
    detail: object = None


def check_garage_id(garage_id: str) -> str:
    """The id, if it can be a garage's. Raises Invalid."""
    if not GARAGE_ID.match(garage_id):
        raise Invalid(
            f"{garage_id[:80]!r} cannot be a garage's id: lower-case letters, digits and dashes, at most 63",
            [("id", "lower-case letters, digits and dashes")],
        )
    return garage_id


def check_gates(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates, if each has a name of its own. Raises Invalid."""
    names = [gate.name for gate in gates]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Invalid(f"two gates are named {', '.join(twice)}", [("gates", "a gate's name is its own")])
    return tuple(gates)
