"""The platform and the real garage app over a real socket, with a simulated relay: link up, link cut, link back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from tests.fakes.linked_garage import LinkedGarage
from tests.fakes.parking import OPERATOR, World, ok


class Place(LinkedGarage):
    """A garage of a platform in this process."""

    def __init__(self, world: World, token: str, port: int, folder: Path) -> None:
        super().__init__("nl-test", token, port, folder, lambda: world.clock.now.timestamp())
        self.world = world

    @asynccontextmanager
    async def linked(self) -> AsyncIterator[None]:
        async with super().linked():
            await self._until(lambda: self.world.platform.links.get("nl-test") is not None and self.link.connected)
            yield
        await self._until(lambda: self.world.platform.links.get("nl-test") is None)

    async def all_sent(self) -> None:
        await self._until(lambda: self.told)

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
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
    await made.close()
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
