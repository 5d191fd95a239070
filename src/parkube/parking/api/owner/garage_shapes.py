"""The owner's JSON for a garage: its terms, its state, what is counted there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from parkube.parking.api.shapes import Moment, Shape


class Terms(Shape):
    """What is shared, when and under which terms. Read as a whole, so that every fault is named at once."""

    bays: Any = Field(default_factory=dict)
    shared: Any = Field(default_factory=list)
    none_on: Any = Field(default_factory=list)
    blackouts: Any = Field(default_factory=list)
    opening: Any = Field(default_factory=list)
    limits: Any = Field(default_factory=dict)
    cancelling: Any = Field(default_factory=dict)
    in_out: Any = False
    drive_up_minutes: Any = 60


class SiteOrder(Shape):
    """A state switched on or off."""

    state: Literal["full", "closed", "maintenance", "evacuated"]
    on: bool


class Site(Shape):
    """The state that holds."""

    state: Literal["open", "full", "closed", "maintenance", "evacuated"]


class Recount(Shape):
    """All that stand inside were counted."""

    occupied: int = Field(ge=0, le=100_000)
    source: str = Field(default="person", pattern="^[a-z][a-z0-9-]{0,31}$")


class Drift(Shape):
    """What a recount found that nobody had counted: `bays` more (above 0) or fewer inside than was thought."""

    at: Moment
    thought: int
    found: int
    bays: int
    source: str


class Occupancy(Shape):
    """raw is what was counted, however odd; taken and free are what others are told, null where nothing was counted."""

    raw: int | None
    counted_at: Moment | None
    taken: int | None
    free: int | None
    almost_full: bool
    drifts: list[Drift]


class PassbackReset(Shape):
    """Whose being in or out is forgotten at the garage; of all where no booking is named."""

    booking_id: str | None = Field(default=None, max_length=64)
