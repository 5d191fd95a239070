"""What every controller is: named inputs and outputs, a queue of keys, and a reconcile that may run again at any time.

No policy here. A controller reads projections and the API, plans in a pure function, and writes through the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from parkube.controlplane.controllers.views import Views
from parkube.kubeapi.client import GVR, Client
from parkube.kubeapi.errors import AlreadyExists, Conflict, Forbidden, NotFound, namespace_ends
from parkube.kubeapi.recorder import Recorder
from parkube.kubeapi.workqueue import WorkQueue

T = TypeVar("T")
IN_FLIGHT = 50  # writes of one reconcile that wait for the API at once


class Controller(Protocol):
    """A loop that moves the cluster towards what its inputs ask for, by writing its outputs."""

    name: ClassVar[str]
    inputs: ClassVar[tuple[GVR, ...]]
    outputs: ClassVar[tuple[GVR, ...]]

    async def run(self) -> None:
        """Until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Env:
    """What controllers are given: the API, the shared views, the wall clock (s since 1970), and where to tell."""

    client: Client
    views: Views
    clock: Callable[[], float]
    recorder: Recorder


def loop_time() -> float:
    """The event loop's clock, so that delays follow virtual time in tests."""
    return asyncio.get_running_loop().time()


class Reconciler:
    """A controller with a queue; subclasses fill it from subscriptions and give `reconcile`."""

    name: ClassVar[str] = ""
    inputs: ClassVar[tuple[GVR, ...]] = ()
    outputs: ClassVar[tuple[GVR, ...]] = ()
    workers: ClassVar[int] = 2
    source: ClassVar[str] = ""  # the component that its events name; empty: its own name with "-controller"

    def __init__(self, env: Env) -> None:
        self.env, self.client, self.views, self.clock = env, env.client, env.views, env.clock
        self.recorder = env.recorder.named(self.source or f"{self.name}-controller")
        self.queue = WorkQueue(clock=loop_time)

    async def reconcile(self, key: str) -> float | None:
        """Bring one object nearer to what it asks for; a number asks to be called again after so many seconds."""
        raise NotImplementedError

    async def run(self) -> None:
        """Reconcile until cancelled; nothing is written before every view is complete."""
        await self.views.synced()
        await self.queue.run(self._reconcile, self.workers)

    async def _reconcile(self, key: str) -> float | None:
        try:
            return await self.reconcile(key)
        except Conflict:
            return 0.05  # planned on an old view: the event that shows the newer one is on its way
        except NotFound:
            return None  # gone meanwhile, which is an event of its own
        except Forbidden as error:
            if namespace_ends(error):
                return None
            raise


async def in_flight(calls: Iterable[Callable[[], Awaitable[T]]], limit: int = IN_FLIGHT) -> list[T | Exception]:
    """Run calls with at most `limit` under way; answers and errors in their order."""
    gate = asyncio.Semaphore(limit)

    async def one(call: Callable[[], Awaitable[T]]) -> T | Exception:
        async with gate:
            try:
                return await call()
            except Exception as error:
                return error

    return list(await asyncio.gather(*(one(call) for call in calls)))


async def slow_start(calls: list[Callable[[], Awaitable[T]]]) -> list[T | Exception]:
    """Run calls in batches of 1, 2, 4 … 50, and stop after a batch that had an error: a quota, a broken template."""
    done: list[T | Exception] = []
    size = 1
    while len(done) < len(calls):
        batch = await in_flight(calls[len(done) : len(done) + size])
        done.extend(batch)
        if any(isinstance(answer, Exception) and not isinstance(answer, AlreadyExists) for answer in batch):
            break
        size = min(IN_FLIGHT, size * 2)
    return done


class Expectations:
    """What was written and not yet seen back: until then, counting pods would make or delete them twice.

    Given up after `patience` seconds, in case the event never comes.
    """

    def __init__(self, clock: Callable[[], float] = loop_time, patience: float = 30.0) -> None:
        self._clock, self._patience = clock, patience
        self._waiting: dict[str, dict[str, float]] = {}

    def expect(self, owner: str, item: str) -> None:
        """`owner` awaits news of `item`."""
        self._waiting.setdefault(owner, {})[item] = self._clock() + self._patience

    def seen(self, owner: str, item: str) -> None:
        """The news came."""
        waiting = self._waiting.get(owner)
        if waiting is not None and waiting.pop(item, None) is not None and not waiting:
            del self._waiting[owner]

    def forget(self, owner: str) -> None:
        """The owner is gone."""
        self._waiting.pop(owner, None)

    def pending(self, owner: str) -> bool:
        """Whether anything is still awaited."""
        waiting = self._waiting.get(owner)
        if not waiting:
            return False
        now = self._clock()
        for item in [item for item, until in waiting.items() if until <= now]:
            del waiting[item]
        if not waiting:
            del self._waiting[owner]
        return bool(waiting)
