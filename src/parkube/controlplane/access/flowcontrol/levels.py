"""Seats and queues: how many requests of a priority level are served at once, and whose turn is next. Pure.

    in use   0 ---- own ---------- most         own seats nobody else ever takes; what a level uses beyond them
                    |  from the pool |          comes from one pool, made of what all levels lend

A pool that is shared needs no bookkeeping of who owes whom: whoever needs seats and finds some there takes them, and a
level's own stay free for it. Source: Kubernetes API reference, PriorityLevelConfiguration; the original moves lent
seats every ten seconds and shuffles flows over queues instead.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import NamedTuple

from parkube.kubeapi.errors import Obj

EXEMPT, CATCH_ALL = "exempt", "catch-all"


class Limit(NamedTuple):
    """What a PriorityLevelConfiguration says. `borrow_percent` None: as much as there is."""

    name: str
    uid: str = ""
    exempt: bool = False
    shares: int = 30
    lend_percent: int = 0
    borrow_percent: int | None = None
    queued_most: int = 0  # requests that may wait in all, 0: none
    flow_most: int = 0  # and of one flow


def limit_of(obj: Obj) -> Limit:
    """The part of the object that is needed."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    name, uid = meta["name"], meta.get("uid") or ""
    if spec.get("type") == "Exempt":
        return Limit(name, uid, exempt=True, shares=0)
    limited = spec.get("limited") or {}
    response = limited.get("limitResponse") or {}
    queuing = (response.get("queuing") or {}) if response.get("type") == "Queue" else {}
    length, queues = int(queuing.get("queueLengthLimit") or 0), int(queuing.get("queues") or 0)
    shares = limited.get("nominalConcurrencyShares")
    return Limit(
        name, uid, False, 30 if shares is None else int(shares), int(limited.get("lendablePercent") or 0),
        limited.get("borrowingLimitPercent"), length * queues,
        length * min(queues, int(queuing.get("handSize") or 0)),
    )  # fmt: skip


class Level:
    """One level's seats and who waits for them."""

    __slots__ = ("flows", "in_use", "limit", "most", "nominal", "own", "waiting")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.nominal = self.own = self.in_use = self.waiting = 0
        self.most: float = 0
        self.flows: OrderedDict[str, deque[Ticket]] = OrderedDict()  # those with somebody waiting; the next one first


class Ticket:
    """One request's place: it has its seats, or waits for them."""

    __slots__ = ("flow", "level", "seated", "seats")

    def __init__(self, level: Level, flow: str, seats: int) -> None:
        self.level, self.flow, self.seats, self.seated = level, flow, seats, False


class Full(Exception):
    """No seat, and no room to wait."""


class Levels:
    """All levels of one server. `total`: the seats that they share."""

    def __init__(self, total: int, limits: Iterable[Limit] = ()) -> None:
        self._total = total
        self._levels: dict[str, Level] = {}
        self._hungry: OrderedDict[str, Level] = OrderedDict()  # with somebody waiting; the next one first
        self._pool = self._pool_used = 0
        self.configure(limits)

    def __getitem__(self, name: str) -> Level:
        return self._levels[name]

    def configure(self, limits: Iterable[Limit]) -> None:
        """The limits are these from now on. A level that is no more keeps its seats until it has served all."""
        wanted = {limit.name: limit for limit in limits}
        for name in [n for n, level in self._levels.items() if n not in wanted and not level.in_use + level.waiting]:
            del self._levels[name]
        shares = sum(limit.shares for limit in wanted.values()) or 1
        self._pool = 0
        for limit in wanted.values():
            level = self._levels.setdefault(limit.name, Level(limit))
            level.limit, level.nominal = limit, math.ceil(self._total * limit.shares / shares)
            lent = round(level.nominal * limit.lend_percent / 100)
            level.own = level.nominal - lent
            borrowed = math.inf if limit.borrow_percent is None else round(level.nominal * limit.borrow_percent / 100)
            level.most = level.nominal + borrowed if level.nominal else 0
            self._pool += lent
        self._pool_used = sum(max(0, level.in_use - level.own) for level in self._levels.values())

    def arrive(self, level: Level, flow: str, seats: int = 1) -> Ticket:
        """A request comes. Its ticket is seated, or waits until `leave` names it. Raises `Full`."""
        ticket = Ticket(level, flow, seats if seats == 1 else max(1, min(seats, level.nominal)))
        if not level.waiting and self._fits(ticket):
            self._seat(ticket)
            return ticket
        queue = level.flows.get(flow)
        if level.waiting >= level.limit.queued_most or (queue is not None and len(queue) >= level.limit.flow_most):
            raise Full
        if queue is None:
            queue = level.flows[flow] = deque()
        queue.append(ticket)
        level.waiting += 1
        self._hungry.setdefault(level.limit.name, level)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """It was served, or waits no longer."""
        level = ticket.level
        if ticket.seated:
            before, level.in_use = level.in_use, level.in_use - ticket.seats
            self._pool_used -= max(0, before - level.own) - max(0, level.in_use - level.own)
            return
        queue = level.flows.get(ticket.flow)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            self._took(level, ticket.flow, queue)

    def call(self) -> list[Ticket]:
        """Those who have waited and are seated now. Levels take turns, and in each level its flows."""
        called: list[Ticket] = []
        served = True
        while served and self._hungry:
            served = False
            for name, level in list(self._hungry.items()):
                flow, queue = next(iter(level.flows.items()))
                if not self._fits(queue[0]):
                    continue
                ticket = queue.popleft()
                self._seat(ticket)
                called.append(ticket)
                served = True
                level.flows.move_to_end(flow)
                self._took(level, flow, queue)
                if name in self._hungry:
                    self._hungry.move_to_end(name)
        return called

    def _took(self, level: Level, flow: str, queue: deque[Ticket]) -> None:
        level.waiting -= 1
        if not queue:
            del level.flows[flow]
        if not level.waiting:
            self._hungry.pop(level.limit.name, None)

    def _fits(self, ticket: Ticket) -> bool:
        level = ticket.level
        after = level.in_use + ticket.seats
        if after <= level.own:
            return True
        if after > level.most and (level.in_use or not level.most):
            return False
        more = after - max(level.in_use, level.own)
        return self._pool_used + more <= self._pool or not level.in_use  # one of each level always gets on

    def _seat(self, ticket: Ticket) -> None:
        level, ticket.seated = ticket.level, True
        before, level.in_use = level.in_use, level.in_use + ticket.seats
        if level.in_use > level.own:
            self._pool_used += level.in_use - max(before, level.own)
