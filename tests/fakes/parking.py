"""A platform in a test's hand: its clock stands still, its garages answer as they are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from parkube.parking.adapters.database import SqlDatabase
from parkube.parking.adapters.payments import BuiltinPayments
from parkube.parking.adapters.signing import check, load_signer
from parkube.parking.api.app import create_app
from parkube.parking.domain import grants
from parkube.parking.domain.garages import Garage, Gate, GateEvent
from parkube.parking.domain.ledger import Entry
from parkube.parking.domain.rights import Role
from parkube.parking.domain.tariffs import Step, Tariff
from parkube.parking.main.wiring import new_id
from parkube.parking.services import arriving, journal, keeping, people
from parkube.parking.services.audit import audit
from parkube.parking.services.links import Connection, Outcome
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports_people import SESSION

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
OPERATOR = {"Authorization": "Bearer operator-token"}
TARIFF = Tariff((Step(0, 30, 150),), cap_minor=2500, name="test")


@dataclass
class Clock:
    """Time, moved by hand."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **much: float) -> None:
        self.now += timedelta(**much)


class World:
    """A platform on a database, and an HTTP client of it."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self.platform, self.clock = platform, clock
        self.app = create_app(platform, operator_token="operator-token")
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://platform")

    @classmethod
    async def open(cls, database: SqlDatabase) -> World:
        clock = Clock()
        platform = Platform(
            database=database,
            signer=await load_signer(database),
            payments=BuiltinPayments(database, clock, new_id),
            clock=clock,
            new_id=new_id,
        )
        await keeping.load(platform)
        return cls(platform, clock)

    async def garage(self, garage_id: str = "nl-test", **changes: Any) -> Garage:
        """A garage that can be booked, in the database and in the index."""
        made = Garage(
            garage_id, "Testgarage", "Utrecht", 52.09, 5.12, country="NL", capacity=2, managed=True, tariff=TARIFF,
            gates=(Gate("entry", "entry"), Gate("exit", "exit")),
        )  # fmt: skip
        made = replace(made, **changes)
        async with self.platform.database.writing() as transaction:
            await transaction.put_garages([made])
        self.platform.index.put(made)
        return made

    async def quote(
        self, garage_id: str = "nl-test", start: datetime | None = None, hours: float = 2
    ) -> dict[str, Any]:
        begin = start or self.clock.now
        body = {"garage_id": garage_id, "from": begin.isoformat(), "to": (begin + timedelta(hours=hours)).isoformat()}
        return ok(await self.http.post("/api/v1/driver/quotes", json=body), 201)

    async def book(self, garage_id: str = "nl-test", start: datetime | None = None, hours: float = 2) -> dict[str, Any]:
        quote = await self.quote(garage_id, start, hours)
        return ok(await self.http.post("/api/v1/driver/bookings", json={"quote_id": quote["id"]}), 201)

    async def call(self, booking: Mapping[str, Any], method: str, path: str = "", **more: Any) -> httpx.Response:
        """A booking's call, with its secret."""
        headers = {"Authorization": f"Bearer {booking['secret']}"}
        return await self.http.request(
            method, f"/api/v1/driver/bookings/{booking['id']}{path}", headers=headers, **more
        )

    async def token_of(
        self, email: str, role: Role | None = None, organisation_id: str | None = None, garage_id: str | None = None
    ) -> str:
        """The token of somebody who is logged in, with a role somewhere."""
        platform = self.platform
        if role is not None:
            await people.give_role(platform, email, role, organisation_id, garage_id)
        async with platform.database.writing() as transaction:
            person = await people.person_for(platform, transaction, email)
            return await people.new_token(platform, transaction, person.id, SESSION, "test", timedelta(days=1))

    async def entries(self) -> list[Entry]:
        async with self.platform.database.reading() as transaction:
            return list(await transaction.entries())

    async def assert_balanced(self) -> None:
        """The books add up, and they and the bookings say the same."""
        assert (await audit(self.platform.database)).faults == ()


@dataclass
class Letters:
    """A mail server that keeps what it is given: (to, subject, text)."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)

    async def send(self, to: str, subject: str, text: str) -> None:
        self.sent.append((to, subject, text))

    @property
    def code(self) -> str:
        """The code in the latest letter."""
        return self.sent[-1][2].split(" is ")[1].split(".")[0]


@dataclass
class FakeGarage:
    """A garage's app at the end of a link: keeps a journal, answers commands, goes offline and comes back."""

    world: World
    garage_id: str = "nl-test"
    events: list[dict[str, Any]] = field(default_factory=list)
    commands: list[Mapping[str, Any]] = field(default_factory=list)
    acked: int = 0
    fails_at: str | None = None
    silent: bool = False
    connection: Connection | None = None
    clock_error: timedelta = timedelta(0)

    async def connect(self) -> FakeGarage:
        platform = self.world.platform
        self.acked = await journal.hello(platform, self.garage_id, len(self.events), "test", "boot")
        self.connection = Connection(self.garage_id, self._command, self._close, platform.clock())
        platform.links.open(self.connection)
        await arriving.arrived(platform, self.connection, platform.clock() + self.clock_error)
        await self.send()
        return self

    def disconnect(self) -> None:
        assert self.connection is not None
        self.world.platform.links.gone(self.connection)
        self.connection = None

    async def scan(self, code: str, gate: str) -> str:
        """A code shown at a gate: "" or why not. Decided here, as the garage does, link or no link."""
        signer = self.world.platform.signer
        try:
            grant = grants.verify(
                code, keys={signer.kid: signer.public_key}, check=check, garage=self.garage_id, gate=gate,
                now=self.world.clock.now.timestamp(), used=self._used,
            )  # fmt: skip
        except grants.GrantRefused as refused:
            await self.report("refused", gate, detail={"reason": refused.code})
            return refused.code
        await self.report("opened", gate, jti=grant.jti, booking=grant.booking)
        return ""

    async def report(self, kind: str, gate: str, **more: Any) -> None:
        self.events.append(
            {
                "seq": len(self.events) + 1,
                "at": self.world.clock.now + self.clock_error,
                "kind": kind,
                "gate": gate,
                **more,
            }
        )
        if self.connection is not None:
            await self.send()

    async def send(self, since: int | None = None) -> int:
        """Sends what is not acknowledged, or everything since."""
        assert self.connection is not None
        after = self.acked if since is None else since
        sent = [self._event(event) for event in self.events if event["seq"] > after]
        if sent:
            self.acked = await journal.receive(self.world.platform, self.connection, sent)
        return self.acked

    def _event(self, event: Mapping[str, Any]) -> GateEvent:
        return GateEvent(
            self.garage_id, 0, event["seq"], event["at"], self.world.clock.now, event["kind"], event["gate"],
            event.get("jti"), event.get("booking"), event.get("command"), event.get("detail"),
        )  # fmt: skip

    def _used(self, jti: str, gate: str) -> bool:
        return any(e["kind"] == "opened" and e.get("jti") == jti and e["gate"] == gate for e in self.events)

    async def _command(self, frame: Mapping[str, Any]) -> None:
        self.commands.append(frame)
        if self.silent or frame["type"] != "command":
            return
        links = self.world.platform.links
        if frame["kind"] == "open":
            if self.fails_at:
                links.answer(frame["id"], Outcome(False, reason=self.fails_at))
                return
            await self.report("opened", frame["gate"], jti=frame["jti"], booking=frame["booking"], command=frame["id"])
            links.answer(frame["id"], Outcome(True))
        elif frame["kind"] == "verify":
            if self.fails_at:
                links.answer(frame["id"], Outcome(False, self.fails_at, "broken", 3))
                return
            links.answer(frame["id"], Outcome(True, None, None, 3))
            await self.report("verify_done", "test", command=frame["id"])

    async def _close(self, reason: str) -> None:
        self.disconnect()


def ok(response: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert response.status_code == status, response.text
    return response.json()


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The body of a refusal that must be this one."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["code"] == code, body
    assert body["detail"]
    return body
