"""The fleet: garages kept in step, tokens, the gate cycle, the link over a real socket, what pages are told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from parkube.parking.operator.desired import platform_body
from parkube.parking.operator.platform import Platform as OperatorsPlatform
from parkube.parking.operator.status import verified_value
from parkube.parking.services import keeping, verification
from tests.fakes.parking import OPERATOR, FakeGarage, World, ok, problem

PUT = {
    "name": "Garage Waag",
    "city": "Deventer",
    "location": {"latitude": 52.25, "longitude": 6.16},
    "bays": {"standard": 30, "ev": 4},
    "gates": ["entry", {"name": "back", "direction": "exit"}],
    "tariff": {"steps": [{"every_minutes": 60, "price_cents": 250}]},
    "node": "pi-1",
}


async def test_the_operator_keeps_a_garage_in_step(world: World) -> None:
    path = "/api/v1/operator/garages/nl-waag"
    problem(await world.http.put(path, json=PUT), 401, "no_token")
    problem(await world.http.put(path, json=PUT, headers={"Authorization": "Bearer x"}), 401, "denied")
    made = ok(await world.http.put(path, json=PUT, headers=OPERATOR))
    assert (made["bays"], made["bookable"], made["gates"][0]["direction"]) == (34, True, "entry")
    again = ok(await world.http.put(path, json={"node": "pi-2"}, headers=OPERATOR))
    assert (again["node"], again["name"], again["bays"]) == ("pi-2", "Garage Waag", 34)
    wrong = {
        "bays": {"standard": -1},
        "gates": ["a", "a"],
        "tariff": {"steps": []},
        "time_zone": "Mars/Base",
    }
    refused = problem(await world.http.put(path, json=wrong, headers=OPERATOR), 422, "invalid")
    assert {fault["field"] for fault in refused["errors"]} >= {"bays", "gates", "time_zone"}
    problem(await world.http.put(path, json={"baays": 3}, headers=OPERATOR), 422, "invalid")
    problem(await world.http.put("/api/v1/operator/garages/Nl_Waag", json={}, headers=OPERATOR), 422, "invalid")
    assert ok(await world.http.get("/api/v1/operator/fleet", headers=OPERATOR))["garages"][0]["verified"] == "Unknown"


async def test_a_cycle_passes_and_each_failure_names_its_step(world: World, garage: FakeGarage) -> None:
    async def cycle() -> dict[str, Any]:
        answer: dict[str, Any] = ok(await world.http.post("/api/v1/operator/garages/nl-test/verify", headers=OPERATOR))
        return answer

    async def row() -> dict[str, Any]:
        fleet = ok(await world.http.get("/api/v1/operator/fleet", headers=OPERATOR))
        found: dict[str, Any] = fleet["garages"][0]
        return found

    done = await cycle()
    assert (done["ok"], done["step"]) == (True, None)
    assert ((await row())["verified"], (await row())["verified_at"]) == ("True", "2026-05-04T08:00:00Z")
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["verified"] is True
    garage.fails_at = "relay"
    assert (await cycle())["step"] == "relay"
    assert ((await row())["verified"], (await row())["reason"]) == ("False", "relay: broken")
    garage.fails_at, garage.silent = None, True
    late = await verification.verify(world.platform, "nl-test", within_s=0.01)
    assert (late.ok, late.step) == (False, "link")
    garage.disconnect()
    assert (await cycle())["step"] == "link"
    assert (await row())["verified"] == "Unknown"
    problem(await world.http.post("/api/v1/operator/garages/nope/verify", headers=OPERATOR), 404, "not_found")
    # Not one of them was a visit.
    assert await world.entries() == []
    assert ok(await world.http.get("/api/v1/driver/garages/nl-test"))["free_bays"] == 2


async def test_an_answer_without_its_journal_line_is_not_verified(world: World, garage: FakeGarage) -> None:
    async def answers_only(frame: Any) -> None:
        from parkube.parking.services.links import Outcome

        world.platform.links.answer(frame["id"], Outcome(True))

    assert garage.connection is not None
    garage.connection.send = answers_only
    done = await verification.verify(world.platform, "nl-test", within_s=0.01)
    assert (done.ok, done.step) == (False, "event")


@pytest.fixture
async def served(world: World) -> AsyncIterator[str]:
    """The platform on a real socket: host:port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(world.app, log_level="warning", lifespan="off", ws="websockets-sansio")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    world.platform.live.close()
    server.should_exit = True
    await task


async def test_the_link_over_a_socket(world: World, served: str) -> None:
    await world.garage()
    token = ok(await world.http.post("/api/v1/operator/garages/nl-test/token", headers=OPERATOR), 201)["token"]
    url = f"ws://{served}/api/v1/garage/link"

    async def hello(socket: ClientConnection, **more: Any) -> dict[str, Any]:
        await socket.send(json.dumps({"type": "hello", "garage": "nl-test", "app_version": "1", **more}))
        answer: dict[str, Any] = json.loads(await socket.recv())
        return answer

    for wrong in ({}, {"Authorization": "Bearer nope"}):
        async with connect(url, additional_headers=wrong, proxy=None) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await hello(socket)
            assert closed.value.rcvd is not None
            assert "token" in closed.value.rcvd.reason
    headers = {"Authorization": f"Bearer {token}"}
    event = {"at": "2026-05-04T08:00:00Z", "kind": "started", "gate": ""}
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        welcome = await hello(socket)
        assert (welcome["type"], welcome["acked_seq"], welcome["keys"][0]["kid"]) == (
            "welcome",
            0,
            world.platform.signer.kid,
        )
        await socket.send(json.dumps({"type": "events", "events": [{"seq": n, **event} for n in (1, 2, 3)]}))
        assert json.loads(await socket.recv()) == {"type": "ack", "seq": 3}
        async with connect(url, additional_headers=headers, proxy=None) as newer:
            assert (await hello(newer, last_seq=3))["acked_seq"] == 3
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert world.platform.links.get("nl-test") is not None
            # A lost disk: the journal begins again, and none of it is taken for what was there.
        async with connect(url, additional_headers=headers, proxy=None) as fresh:
            assert (await hello(fresh, last_seq=0))["acked_seq"] == 0
            await fresh.send(json.dumps({"type": "events", "events": [{"seq": 1, **event}]}))
            assert json.loads(await fresh.recv())["seq"] == 1
            await fresh.send("{broken")
            with pytest.raises(ConnectionClosedError):
                await fresh.recv()
    async with world.platform.database.reading() as transaction:
        events = await transaction.events("nl-test")
    assert [(one.journal, one.seq) for one in events] == [(1, 1), (1, 2), (1, 3), (2, 1)]


async def test_pages_are_told_as_it_happens(world: World, served: str, garage: FakeGarage) -> None:
    booking = await world.book()

    async def next_event(lines: AsyncIterator[str], wanted: str) -> dict[str, Any]:
        async for line in lines:
            if line == f"event: {wanted}":
                found: dict[str, Any] = json.loads((await anext(lines)).removeprefix("data: "))
                return found
        raise AssertionError("the stream ended")

    async with httpx.AsyncClient(base_url=f"http://{served}", trust_env=False) as http, asyncio.timeout(10):
        driver = {"Authorization": f"Bearer {booking['secret']}"}
        path = f"/api/v1/driver/events?booking={booking['id']}"
        async with (
            http.stream("GET", path, headers=driver) as mine,
            http.stream("GET", "/api/v1/operator/events?access_token=operator-token") as fleet,
        ):
            told, shown = mine.aiter_lines(), fleet.aiter_lines()
            assert (await next_event(told, "booking"))["state"] == "booked"
            assert (await next_event(shown, "fleet"))["garages"][0]["id"] == "nl-test"
            await world.call(booking, "POST", "/open", json={"gate": "entry"})
            assert (await next_event(told, "booking"))["state"] == "entered"
            assert (await next_event(told, "garage"))["id"] == "nl-test"
            assert (await next_event(shown, "garage"))["online"] is True
        denied = await http.get(f"/api/v1/driver/events?booking={booking['id']}")
        problem(denied, 401, "no_token")


async def test_another_process_takes_garages_in_and_this_one_notices(world: World) -> None:
    from parkube.parking.adapters import city
    from parkube.parking.services.importing import Report, take_in

    other = await World.open(world.platform.database)  # type: ignore[arg-type]
    assert await keeping.refresh(world.platform) is False
    await take_in(other.platform, city.generate(5), Report(), source="city", force=False)
    await other.http.aclose()
    assert await keeping.refresh(world.platform) is True
    assert len(world.platform.index) == 5
    assert await keeping.refresh(world.platform) is False


async def test_garages_taken_in_while_the_index_is_filled_are_noticed_too(world: World) -> None:
    from parkube.parking.adapters import city
    from parkube.parking.services.importing import Report, take_in

    database = world.platform.database
    other = await World.open(database)  # type: ignore[arg-type]

    class Slow:
        """A reading during which, once the garages are read, another process takes some in."""

        def __init__(self, inside: Any) -> None:
            self.inside = inside

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inside, name)

        async def garages(self) -> Any:
            found = await self.inside.garages()
            await take_in(other.platform, city.generate(5), Report(), source="city", force=False)
            return found

    class Between:
        @asynccontextmanager
        async def reading(self) -> AsyncIterator[Any]:
            async with database.reading() as transaction:
                yield Slow(transaction)

    world.platform.database = Between()  # type: ignore[assignment]
    assert await keeping.load(world.platform) == 0
    world.platform.database = database
    await other.http.aclose()
    assert await keeping.refresh(world.platform) is True
    assert len(world.platform.index) == 5


async def test_the_operator_program_and_this_platform_understand_each_other(world: World) -> None:
    spec = {
        "displayName": "Garage Waag",
        "location": {"latitude": 52.25, "longitude": 6.16, "city": "Deventer"},
        "bays": [{"kind": "standard", "count": 30}, {"kind": "ev", "count": 4}],
        "gates": [{"name": "entry", "direction": "in"}, {"name": "door", "direction": "pedestrian"}],
    }
    tariff = {
        "name": "Centre",
        "vatPercent": "21",
        "steps": [{"fromMinutes": 0, "everyMinutes": 20, "priceCents": 100}],
        "dayCapCents": 2400,
        "capWindow": "calendar_day",
    }
    transport = httpx.ASGITransport(app=world.app)
    program = OperatorsPlatform("http://platform", "operator-token", transport)
    await program.put_garage("nl-waag", platform_body(spec, tariff, "pi-1"))
    assert len(await program.new_token("nl-waag")) > 40
    cycle = await program.verify("nl-waag")
    assert (cycle.ok, cycle.step, verified_value(cycle)) == (False, "link", "Unknown")
    assert (await program.seen("nl-waag"))["freeBays"] == 34
    await program.close()
    quote = await world.quote("nl-waag", hours=10)
    assert (quote["price_cents"], quote["lines"][0]["text"][:7]) == (2400, "day cap")
