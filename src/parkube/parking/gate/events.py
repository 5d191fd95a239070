"""What the lane hears, and what it decides. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parkube.parking.domain.site import Site


@dataclass(frozen=True, slots=True)
class Scanned:
    """A code was shown to a gate's scanner. `now`: Unix seconds by the garage's clock, None where nobody knows."""

    gate: str
    code: str
    now: float | None


@dataclass(frozen=True, slots=True)
class Presented:
    """A PIN was typed, a plate was read, a card was held there. `moment`: seconds of a clock that only goes on."""

    gate: str
    kind: str
    value: str
    now: float | None
    moment: float


@dataclass(frozen=True, slots=True)
class OpenAsked:
    """The platform asks to open a gate, until `expires_at` (Unix seconds)."""

    gate: str
    command: str
    expires_at: float
    now: float | None
    booking: str | None = None
    jti: str | None = None


@dataclass(frozen=True, slots=True)
class SiteOrdered:
    """The platform says in which state the garage is."""

    state: Site
    command: str = ""


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
class Hold:
    """Hold every gate up, or let go of them."""

    up: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What whoever asked is told."""

    ok: bool
    reason: str = ""


Decision = Record | Pulse | Hold | Answer
