"""The fleet operator's JSON: garages as the cluster knows them, tokens, verification."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool, StrictInt

from parkube.parking.api.shapes import Moment, Shape

Verified = Literal["True", "False", "Unknown"]


class Location(Shape):
    """WGS 84 degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


class Gate(Shape):
    """A gate of a garage, by the name that grants and commands use."""

    name: str = Field(pattern="^[a-z][a-z0-9-]{0,31}$")
    direction: Literal["entry", "exit", "both", "pedestrian"] = "both"


class GaragePut(Shape):
    """What the operator keeps in step with the Garage resource. What is absent stays as it is."""

    name: str | None = Field(default=None, max_length=200)
    city: str | None = Field(default=None, max_length=100)
    location: Location | None = None
    time_zone: str | None = Field(default=None, max_length=64)
    bays: StrictInt | dict[str, StrictInt] | None = None
    gates: list[Gate | str] | None = None
    tariff: dict[str, Any] | None = None
    node: str | None = Field(default=None, max_length=253)
    bookable: StrictBool | None = None


class GarageToken(Shape):
    """The secret with which this garage's app opens its link. It is shown once."""

    garage_id: str
    token: str


class Verification(Shape):
    """How a synthetic gate cycle went; `step` is the one that failed, null where all passed."""

    ok: bool
    step: str | None
    reason: str | None
    duration_ms: int
    at: Moment


class FleetGarage(Shape):
    """One garage as the fleet page shows it."""

    id: str
    name: str
    city: str
    latitude: float | None
    longitude: float | None
    node: str | None
    phase: str
    verified: Verified
    reason: str | None
    verified_at: Moment | None
    duration_ms: int | None
    app_version: str | None
    free_bays: int | None
    last_seen: Moment | None
    online: bool


class FleetNode(Shape):
    """One node of the cluster."""

    name: str
    roles: list[str]
    ready: bool
    version: str
    age_s: int
    addresses: list[str]


class Fleet(Shape):
    """Garages that the operator manages, and the cluster's nodes."""

    garages: list[FleetGarage]
    nodes: list[FleetNode]
