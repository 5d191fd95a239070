"""What the services need of the world: a database, a signer, payments, a cluster. Protocols only, no implementation.

A `Transaction` is one: all that is done in it is kept, or nothing. A reading one sees one state; a writing one may
lock. Rows that two might change at once are read by the methods whose names begin with `lock`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from parkube.parking.domain.bookings import Booking, Quote
from parkube.parking.domain.commands import Command
from parkube.parking.domain.garages import Garage, GateEvent, Link, Verification
from parkube.parking.domain.sessions import Session
from parkube.parking.services.ports_money import MoneyTransaction
from parkube.parking.services.ports_people import PeopleTransaction
from parkube.parking.services.ports_stays import CountTransaction, StayTransaction

Clock = Callable[[], datetime]
"""Now, aware and in UTC."""
NewId = Callable[[str], str]
"""new_id(prefix): an identifier that nobody can guess."""


class Transaction(MoneyTransaction, PeopleTransaction, StayTransaction, CountTransaction, Protocol):
    """The platform's records, inside one transaction."""

    async def hold_still(self) -> None:
        """Before anything is read: all of it is then of one moment, whatever others write meanwhile."""

    async def setting(self, name: str) -> str | None: ...
    async def put_setting(self, name: str, value: str) -> None: ...

    async def garage(self, garage_id: str) -> Garage | None: ...
    async def lock_garage(self, garage_id: str) -> Garage | None:
        """The garage, held until the end of the transaction: one booking at a time decides about its bays."""

    async def garages(self) -> Sequence[Garage]: ...
    async def put_garages(self, garages: Sequence[Garage]) -> None: ...

    async def add_quote(self, quote: Quote) -> None: ...
    async def quote(self, quote_id: str) -> Quote | None: ...

    async def add_booking(self, booking: Booking) -> None: ...
    async def booking(self, booking_id: str) -> Booking | None: ...
    async def lock_booking(self, booking_id: str) -> Booking | None: ...
    async def save_booking(self, booking: Booking) -> None: ...
    async def booking_of_key(self, idempotency_key: str) -> Booking | None: ...
    async def booking_of_quote(self, quote_id: str) -> Booking | None: ...
    async def booking_of_jti(self, jti: str) -> Booking | None: ...
    async def holding(self) -> Sequence[Booking]:
        """Every booking that holds a bay."""

    async def overstaying(self, ended_by: datetime) -> Sequence[Booking]:
        """Bookings whose vehicle is inside though they ended by then."""

    async def session(self, booking_id: str) -> Session | None: ...
    async def save_session(self, session: Session) -> None: ...
    async def running_sessions(self, booked_until: datetime) -> Sequence[Session]:
        """Running sessions whose booking ended by then."""

    async def unused_bookings(self, ended_by: datetime) -> Sequence[Booking]:
        """Bookings nobody came for, that ended by then."""

    async def link(self, garage_id: str) -> Link | None: ...
    async def lock_link(self, garage_id: str) -> Link | None: ...
    async def links(self) -> Sequence[Link]: ...
    async def save_link(self, link: Link) -> None: ...
    async def add_events(self, events: Sequence[GateEvent]) -> None: ...
    async def events(self, garage_id: str) -> Sequence[GateEvent]: ...

    async def add_command(self, command: Command) -> None: ...
    async def lock_command(self, command_id: str) -> Command | None: ...
    async def save_command(self, command: Command) -> None: ...

    async def add_verification(self, verification: Verification) -> None: ...
    async def latest_verifications(self) -> Sequence[Verification]: ...


class Database(Protocol):
    """Where transactions come from. Raises Unavailable when it does not answer."""

    def reading(self) -> AbstractAsyncContextManager[Transaction]: ...
    def writing(self) -> AbstractAsyncContextManager[Transaction]: ...


class Signer(Protocol):
    """The platform's Ed25519 key."""

    @property
    def kid(self) -> str: ...
    @property
    def public_key(self) -> bytes:
        """32 bytes."""

    def sign(self, message: bytes) -> bytes: ...
    def secret_of(self, purpose: str) -> str:
        """A secret that only this platform can derive, the same each time: a bearer token for one thing."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node of the cluster."""

    name: str
    roles: tuple[str, ...]
    ready: bool
    version: str
    created_at: datetime | None
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GarageSeen:
    """A Garage resource's status, as the cluster's operator wrote it."""

    id: str
    node: str | None
    phase: str
    verified: str
    reason: str | None
    verified_at: datetime | None
    duration_ms: int | None
    app_version: str | None


class Cluster(Protocol):
    """What the Kubernetes API shows of the fleet. Empty where there is no cluster."""

    def nodes(self) -> Sequence[NodeSeen]: ...
    def garages(self) -> Sequence[GarageSeen]: ...


class NoCluster:
    """The platform outside a cluster: it knows its garages by their links alone."""

    def nodes(self) -> Sequence[NodeSeen]:
        return ()

    def garages(self) -> Sequence[GarageSeen]:
        return ()
