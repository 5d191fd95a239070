"""Never more bays promised than there are: whatever happens in whichever order, and 200 at once for the last one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parkube.parking.adapters.database import open_database
from parkube.parking.domain.errors import Conflict
from parkube.parking.domain.occupancy import most_at_once
from parkube.parking.services import booking as bookings
from parkube.parking.services import keeping, terms
from tests.fakes.parking import FakeGarage, World

KINDS = {"standard": 2, "ev": 1}
CAPACITY = sum(KINDS.values())


class NeverOversold(RuleBasedStateMachine):
    """A small garage with two kinds of bay, its drivers, its owner and its clock."""

    @initialize()
    def opens(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.mine: list[dict[str, Any]] = []
        self.run(self._open())

    async def _open(self) -> None:
        database = open_database(f"sqlite:///{Path(self.folder.name) / 'db.sqlite'}")
        await database.upgrade()
        self.world = await World.open(database)
        await self.world.garage(capacity=CAPACITY)
        await terms.put_terms(self.world.platform, "nl-test", {"bays": KINDS})
        self.garage = await FakeGarage(self.world).connect()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def ask(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        answer = await self.world.http.request(method, f"/api/v1/driver{path}", **more)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        return answer.json() if answer.status_code in (200, 201) else None

    async def call(self, number: int, method: str, path: str = "", **more: Any) -> None:
        if self.mine:
            booking = self.mine[number % len(self.mine)]
            answer = await self.world.call(booking, method, path, **more)
            assert answer.status_code < 500 or answer.status_code == 503, answer.text

    @rule(kind=st.sampled_from(["standard", "standard", "ev"]), start=st.integers(0, 40), quarters=st.integers(1, 16))
    def book(self, kind: str, start: int, quarters: int) -> None:
        begin = self.world.clock.now + timedelta(minutes=15 * start)
        body = {"garage_id": "nl-test", "from": begin.isoformat(), "bay_kind": kind,
                "to": (begin + timedelta(minutes=15 * quarters)).isoformat()}  # fmt: skip
        quote = self.run(self.ask("POST", "/quotes", json=body))
        made = self.run(self.ask("POST", "/bookings", json={"quote_id": quote["id"]})) if quote else None
        if made:
            self.mine.append(made)

    @rule()
    def drive_up(self) -> None:
        made = self.run(self.ask("POST", "/stays", json={"garage_id": "nl-test"}))
        if made:
            self.mine.append(made)

    @rule(number=st.integers(0, 50), quarters=st.integers(0, 24))
    def move_the_end(self, number: int, quarters: int) -> None:
        to = (self.world.clock.now + timedelta(minutes=15 * quarters)).isoformat()
        self.run(self.call(number, "PATCH", json={"to": to}))

    @rule(number=st.integers(0, 50))
    def cancel(self, number: int) -> None:
        self.run(self.call(number, "DELETE"))

    @rule(number=st.integers(0, 50), gate=st.sampled_from(["entry", "exit"]))
    def pass_a_gate(self, number: int, gate: str) -> None:
        self.run(self.call(number, "POST", "/open", json={"gate": gate}))

    @rule(minutes=st.integers(1, 90))
    def wait(self, minutes: int) -> None:
        self.world.clock.forward(minutes=minutes)
        self.run(keeping.tick(self.world.platform))

    @rule(bays=st.integers(0, 3), dark=st.booleans())
    def share(self, bays: int, dark: bool) -> None:
        written: dict[str, Any] = {"bays": KINDS, "shared": [{"bays": bays}]}
        if dark:
            now = self.world.clock.now
            later = now + timedelta(hours=3)
            written["blackouts"] = [{"from": now.isoformat(), "to": later.isoformat()}]
        held = self.run(self._promised())
        self.run(terms.put_terms(self.world.platform, "nl-test", written))
        assert self.run(self._promised()) == held

    @precondition(lambda self: self.garage.connection is not None)
    @rule()
    def link_breaks(self) -> None:
        self.garage.disconnect()

    @precondition(lambda self: self.garage.connection is None)
    @rule()
    def link_is_back(self) -> None:
        self.run(self.garage.connect())

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        promised = self.run(self._promised())
        for kind, bays in KINDS.items():
            assert most_at_once([(start, end) for _, of, start, end in promised if of == kind]) <= bays
        assert most_at_once([(start, end) for _, _, start, end in promised]) <= CAPACITY

    async def _promised(self) -> list[tuple[str, str, float, float]]:
        async with self.world.platform.database.reading() as transaction:
            holding = await transaction.holding()
        return sorted((b.id, b.bay_kind, b.window.start.timestamp(), b.window.end.timestamp()) for b in holding)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.assert_balanced())
            self.run(self.world.http.aclose())
            self.run(self.world.platform.database.close())  # type: ignore[attr-defined]
            self.loop.close()
            self.folder.cleanup()


NeverOversold.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestNeverOversold = NeverOversold.TestCase


async def test_200_at_once_for_the_last_bay(world: World) -> None:
    await world.garage(capacity=3)
    for _ in range(2):
        await world.book()
    now = world.clock.now
    first = await bookings.quote(world.platform, "nl-test", now.isoformat(), (now + timedelta(hours=1)).isoformat())
    asked = [replace(first, id=f"qt_{number}") for number in range(200)]
    async with world.platform.database.writing() as transaction:
        for quote in asked:
            await transaction.add_quote(quote)

    async def book(quote_id: str) -> str:
        try:
            return (await bookings.book(world.platform, quote_id, None, None)).state.value
        except Conflict as error:
            return error.code

    outcomes = await asyncio.gather(*(book(quote.id) for quote in asked))
    assert sorted(set(outcomes)) == ["booked", "no_free_bay"]
    assert outcomes.count("booked") == 1
