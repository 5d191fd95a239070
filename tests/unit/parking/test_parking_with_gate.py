"""The platform and the real garage app over a real socket, with a simulated relay: link up, link cut, link back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from parkube.parking.gate.app import Garage
from parkube.parking.gate.config import parse
from parkube.parking.gate.devices.simulated import SimulatedRelay, SimulatedScanner
from parkube.parking.gate.journal import Journal
from parkube.parking.gate.lane import Lane
from parkube.parking.gate.link import Link
from parkube.parking.gate.main import check_signature
from tests.fakes.parking import OPERATOR, World, ok


class Place:
    """One garage's app, its relay, and its link that can be cut."""

    def __init__(self, world: World, token: str, port: int, folder: Path) -> None:
        board = {"address": "127.0.0.1", "port": 5020}
        gates = [
            {"name": "entry", "direction": "in", "relay": {**board, "coil": 0, "pulseMs": 50}},
            {"name": "exit", "direction": "out", "relay": {**board, "coil": 1, "pulseMs": 50}},
        ]
        config = parse(
            {
                "garage": "nl-test",
                "platformUrl": f"http://127.0.0.1:{port}",
                "dataDir": str(folder),
                "gates": gates,
                "testCoil": {**board, "coil": 7},
            },
            token,
        )

        def clock() -> float:
            return world.clock.now.timestamp()

        self.world, self.relay = world, SimulatedRelay()
        lane = Lane("nl-test", {"entry": "in", "exit": "out"}, check_signature)
        scanners = {"entry": SimulatedScanner(), "exit": SimulatedScanner()}
        relays = {"entry": self.relay, "exit": self.relay}
        self.garage = Garage(
            config, lane, Journal(folder / "journal.sqlite", clock), relays, self.relay, scanners, clock=clock
        )
        self.garage.start()
        self.link = Link(self.garage, "boot", clock=clock, log=lambda _: None)

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.link.run())
        try:
            async with asyncio.timeout(10):
                while self.world.platform.links.get("nl-test") is None or not self.link.connected:
                    await asyncio.sleep(0.005)
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            async with asyncio.timeout(10):
                while self.world.platform.links.get("nl-test") is not None:
                    await asyncio.sleep(0.005)

    async def all_sent(self) -> None:
        async with asyncio.timeout(10):
            while self.garage.journal.acked_seq < self.garage.journal.last_seq:
                await asyncio.sleep(0.005)


@pytest.fixture
async def place(world: World, tmp_path: Path) -> AsyncIterator[Place]:
    await world.garage()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(world.app, log_level="warning", lifespan="off", ws="websockets-sansio"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    token = ok(await world.http.post("/api/v1/operator/garages/nl-test/token", headers=OPERATOR), 201)["token"]
    folder = tmp_path / "garage"
    folder.mkdir()
    made = Place(world, token, listener.getsockname()[1], folder)
    yield made
    await made.relay.close()
    server.should_exit = True
    await task


async def test_the_story_through_the_real_app(world: World, place: Place) -> None:
    async with place.linked():
        cycle = ok(await world.http.post("/api/v1/operator/garages/nl-test/verify", headers=OPERATOR))
        assert (cycle["ok"], cycle["step"]) == (True, None)
        assert place.relay.changes == [(7, True), (7, False)]
        booking = await world.book()
        opened = ok(await world.call(booking, "POST", "/open", json={"gate": "entry"}))
        assert (opened["state"], place.relay.changes[2]) == ("opened", (0, True))
        await place.all_sent()
        assert ok(await world.call(booking, "GET"))["state"] == "entered"
        world.clock.forward(hours=1)
        assert ok(await world.call(booking, "POST", "/open", json={"gate": "exit"}))["state"] == "opened"
        await place.all_sent()
        assert ok(await world.call(booking, "POST", "/pay"))["total_cents"] == 600
        place.relay.dead = True
        cycle = ok(await world.http.post("/api/v1/operator/garages/nl-test/verify", headers=OPERATOR))
        assert (cycle["ok"], cycle["step"]) == (False, "relay")


async def test_cut_off_between_booking_and_arrival(world: World, place: Place) -> None:
    async with place.linked():
        booking = await world.book()
    assert (await place.garage.scan("entry", booking["grant"]))[0] is True
    assert (await place.garage.scan("entry", booking["grant"])) == (False, "used")
    world.clock.forward(minutes=50)
    assert (await place.garage.scan("exit", booking["grant"]))[0] is True
    async with place.linked():
        await place.all_sent()
        shown = ok(await world.call(booking, "GET"))
        assert (shown["state"], shown["due_cents"]) == ("exited", 600)
    async with place.linked():
        await place.all_sent()
    async with world.platform.database.reading() as transaction:
        events = await transaction.events("nl-test")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events if event.booking_id] == [
        "admitted",
        "opened",
        "refused",
        "admitted",
        "opened",
    ]
    ok(await world.call(booking, "POST", "/pay"))
