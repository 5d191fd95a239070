"""The work queue in virtual time: dedupe, dirty while active, delays, back-off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from parkube.kubeapi.workqueue import WorkQueue


class Time:
    """A clock and timers that move only when told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        self.timers.append((self.now + delay, call))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((t for t in self.timers if t[0] <= end), key=lambda t: t[0])[:1]:
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = end


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def queue(time: Time) -> WorkQueue:
    return WorkQueue(base_delay=1, max_delay=60, clock=time, call_later=time.call_later)


async def test_a_key_waits_once_and_comes_back_when_it_changed_while_active(queue: WorkQueue) -> None:
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get(), len(queue)] == ["a", "b", 0]
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    queue.done("b")
    assert [await queue.get(), len(queue)] == ["a", 0]


async def test_back_off_doubles_until_forgotten_and_the_earliest_delay_counts(queue: WorkQueue, time: Time) -> None:
    for expected in (1, 2, 4, 8, 16, 32, 60, 60):
        queue.add_rate_limited("a")
        time.advance(expected - 0.1)
        assert len(queue) == 0
        time.advance(0.2)
        queue.done(await queue.get())
    queue.forget("a")
    queue.add_rate_limited("a")
    queue.add_after("a", 50)
    time.advance(1.01)
    assert len(queue) == 1
    time.advance(100)
    assert len(queue) == 1


async def test_workers_try_again_what_failed_and_look_again_when_asked_to(queue: WorkQueue, time: Time) -> None:
    seen: list[str] = []

    async def reconcile(key: str) -> float | None:
        seen.append(key)
        if key == "bad" and seen.count("bad") < 3:
            raise ValueError("not yet")
        return 10 if key == "again" and seen.count("again") < 2 else None

    task = asyncio.create_task(queue.run(reconcile, workers=2))
    queue.add("bad")
    queue.add("again")
    for _ in range(30):
        await asyncio.sleep(0)
        time.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (seen.count("bad"), seen.count("again"), queue.failures("bad")) == (3, 2, 0)


async def test_a_cancelled_getter_loses_no_key(queue: WorkQueue) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"
