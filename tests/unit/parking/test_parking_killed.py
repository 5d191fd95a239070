"""kill -9 of the platform's own process in each step of a stay: nothing lost, nothing charged twice, the gate opens.

Real processes, a real database, a real link to the real garage app; time stands in a file.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from parkube.parking.adapters.database import SqlDatabase
from tests.fakes.linked_garage import LinkedGarage
from tests.fakes.mortal import FileClock
from tests.fakes.parking import OPERATOR, START, World, ok

ROOT = Path(__file__).parents[3]
NEVER = 0


class Gone(Exception):
    """The platform has died."""


class Process:
    """A platform that is killed and started again, on the same port and the same database."""

    def __init__(self, zygote: asyncio.subprocess.Process, port: int) -> None:
        self._zygote, self.port = zygote, port
        self.pid, self.deaths = 0, 0

    async def start(self, dies_at: int = NEVER, when: str = "before") -> None:
        """Starts one; where it dies while it starts, another, that lives."""
        await self._start(dies_at, when)
        if not self.pid:
            await self._start(NEVER, when)
        assert self.pid
        self._dying = asyncio.create_task(self._hear())

    async def starts_again(self) -> None:
        """Once it is dead."""
        await asyncio.wait_for(self._dying, 10)
        await self.start()

    async def end(self) -> None:
        """kill -9, unless it is dead already."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            await self._dying
            self.deaths -= 1

    async def _start(self, dies_at: int, when: str) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps({"dies_at": dies_at, "when": when}).encode() + b"\n")
        await self._hear()

    async def _hear(self) -> None:
        assert self._zygote.stdout is not None
        word, _, number = (await self._zygote.stdout.readline()).decode().partition(" ")
        assert word == "ready" or number.strip() == str(-signal.SIGKILL), f"{word} {number}"
        self.pid = int(number) if word == "ready" else 0
        self.deaths += word == "dead"


@asynccontextmanager
async def process(url: str, clock: Path) -> AsyncIterator[Process]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    zygote = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.mortal", url, str(port), str(clock), cwd=ROOT, start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
    )  # fmt: skip
    try:
        yield Process(zygote, port)
    finally:
        os.killpg(zygote.pid, signal.SIGKILL)
        await zygote.wait()


class Story:
    """One stay, told as a driver and a garage live it; whatever fails because the platform died is done again."""

    def __init__(self, process: Process, garage: LinkedGarage, clock: FileClock, http: httpx.AsyncClient) -> None:
        self.process, self.garage, self.clock, self.http = process, garage, clock, http

    async def again(self, done: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                return await done()
            except (httpx.TransportError, Gone):
                await self.process.starts_again()

    async def ask(self, path: str, body: object = None, secret: str = "", key: str = "", method: str = "POST") -> Any:
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        headers |= {"Idempotency-Key": key} if key else {}
        call = self.http.request
        answer = await self.again(lambda: call(method, f"/api/v1/driver/{path}", json=body, headers=headers))
        said = answer.json()
        if path.endswith("/open") and answer.status_code == 409:  # It opened before the platform died, and says so.
            assert said["detail"] == "the vehicle is inside"
        else:
            assert answer.is_success, answer.text
        return said

    async def told(self) -> None:
        """Waits until the platform has the garage's whole journal."""

        async def waited() -> None:
            async with asyncio.timeout(10):
                while not (self.garage.link.connected and self.garage.told):
                    if not self.process.pid:
                        raise Gone
                    await asyncio.sleep(0.002)

        await self.again(waited)

    async def tell(self, name: str) -> None:
        now = self.clock()
        window = {"from": now.isoformat(), "to": now.replace(hour=now.hour + 2).isoformat()}
        await self.told()
        quote = await self.ask("quotes", {"garage_id": self.garage.garage.config.garage, **window})
        booking = await self.ask("bookings", {"quote_id": quote["id"]}, key=f"book-{name}")
        mine, secret = f"bookings/{booking['id']}", booking["secret"]
        await self.ask(f"{mine}/open", {"gate": "entry"}, secret)
        if not self.opened(booking, "entry"):  # The command died with the platform: the code opens.
            assert await self.garage.garage.scan("entry", booking["grant"]) == (True, "")
        assert await self.garage.garage.scan("entry", booking["grant"]) == (False, "used")
        await self.told()
        self.clock.seconds += 140 * 60
        assert (await self.again(lambda: self.http.post("/tick"))).is_success
        assert await self.garage.garage.scan("exit", booking["grant"]) == (True, "")
        await self.told()
        receipt = await self.ask(f"{mine}/pay", None, secret)
        assert receipt["total_cents"] == 750
        shown = await self.ask(mine, None, secret, method="GET")
        assert (shown["state"], shown["due_cents"], shown["session"]["state"]) == ("paid", 0, "closed")
        self.booking = booking

    def opened(self, booking: dict[str, Any], gate: str) -> bool:
        lines = self.garage.journal.records()
        return any(r.kind == "opened" and r.booking == booking["id"] and r.gate == gate for r in lines)


async def kept_once(database: SqlDatabase, garage_id: str, booking_id: str) -> None:
    """What the database holds of a stay that is paid."""
    async with database.reading() as transaction:
        assert [e.kind for e in await transaction.entries(booking_id)].count("charge") == 1
        assert len(await transaction.receipts(booking_id)) == 1
        numbers = [event.seq for event in await transaction.events(garage_id)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert await transaction.holding() == []


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path, database: SqlDatabase) -> str:
    """The address of the database that the fixture has made ready."""
    if database._turn is not None:
        return f"sqlite:///{tmp_path / 'platform.sqlite'}"
    return str(request.getfixturevalue("postgres_address"))


def deaths_on(database: SqlDatabase) -> Iterator[tuple[int, str]]:
    """(commit, side of it): on SQLite after each commit, when what is done was answered to nobody; on PostgreSQL both
    sides of every third in turn, since what is rolled back there is the server's business."""
    if database._turn is not None:
        return ((number, "after") for number in range(1, 60))
    return zip(range(1, 60, 3), itertools.cycle(("before", "after")), strict=False)


@pytest.mark.timeout(240)
async def test_kill_9_of_the_platform_around_each_commit_of_a_stay(
    url: str, database: SqlDatabase, tmp_path: Path
) -> None:
    clock, world, died = FileClock(tmp_path / "clock"), await World.open(database), 0
    async with (
        process(url, tmp_path / "clock") as killed,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{killed.port}", timeout=20) as http,
    ):
        for dies_at, when in deaths_on(database):
            clock.seconds = START.timestamp() + dies_at * 86_400
            name, killed.deaths = f"nl-{when}-{dies_at}", 0
            await world.garage(name)
            made = await world.http.post(f"/api/v1/operator/garages/{name}/token", headers=OPERATOR)
            await killed.start(dies_at, when)
            garage = LinkedGarage(
                name, ok(made, 201)["token"], killed.port, tmp_path, lambda: clock.seconds, lambda: -0.49
            )
            story = Story(killed, garage, clock, http)
            async with garage.linked():
                await story.tell(name)
            await garage.close()
            await killed.end()
            await kept_once(database, name, story.booking["id"])
            died += killed.deaths
            if not killed.deaths:
                break
        else:
            pytest.fail("the story never ends")
    assert died >= 5
    await world.assert_balanced()
    await world.http.aclose()
