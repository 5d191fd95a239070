"""The frames of the garage link: JSON text over a WebSocket at GET /api/v1/garage/link.

    garage                                             platform
      | -- hello {garage, journal_id?, boot_id, last_seq ...} ------> |
      | <-- welcome {now, keys:[{kid, public_key_b64}], acked_seq} - |
      | -- events {events:[{seq, at, kind, gate, ...}]} -----------> |   stored once a (garage, seq), then
      | <-- ack {seq} ---------------------------------------------- |   acknowledged, cumulatively
      | <-- command {id, kind, gate, grant?, expires_at} ----------- |
      | -- result {command, ok, step?, reason?, duration_ms?} -----> |
      | -- status {devices:{relay, scanner, journal}, coils} ------> |   every 15 s

A garage whose last_seq is behind what was acknowledged, or whose journal_id is another, has lost its disk: its journal
is taken for a new one, and welcome.acked_seq is 0 again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class Frame(BaseModel):
    """Fields that a newer garage sends and this platform does not know are ignored, not refused."""

    model_config = ConfigDict(extra="ignore")


class Hello(Frame):
    """The garage's first frame."""

    type: Literal["hello"] = "hello"
    garage: str = Field(max_length=63)
    app_version: str = Field(default="", max_length=64)
    boot_id: str = Field(default="", max_length=64)
    journal_id: str | None = Field(default=None, max_length=64)
    last_seq: int = Field(default=0, ge=0)
    clock: str | float | None = None


class Event(Frame):
    """One line of the garage's journal. `at` is RFC 3339 or Unix seconds, by the garage's clock."""

    seq: int = Field(ge=1)
    at: str | float
    kind: str = Field(max_length=32)
    gate: str | None = Field(default=None, max_length=32)
    jti: str | None = Field(default=None, max_length=64)
    booking: str | None = Field(default=None, max_length=64)
    command: str | None = Field(default=None, max_length=64)
    detail: Any = None


class Events(Frame):
    """Journal lines in order, from the one after the last acknowledged."""

    type: Literal["events"] = "events"
    events: list[Event] = Field(max_length=1000)


class Result(Frame):
    """How a command went."""

    type: Literal["result"] = "result"
    command: str
    ok: bool
    step: str | None = None
    reason: str | None = None
    duration_ms: float | None = None


class Status(Frame):
    """The garage's devices as they are now."""

    type: Literal["status"] = "status"
    devices: dict[str, bool] = {}
    coils: Any = None


FromGarage = TypeAdapter[Hello | Events | Result | Status](
    Annotated[Hello | Events | Result | Status, Field(discriminator="type")]
)
