"""Lets requests in by their priority level, as `access.flowcontrol` decides: the edge between it and the event loop.

One thread serves all: a request that never waits for anything would be over before the next is looked at, and no
number of seats would hold anybody back. So seats are given back one turn of the loop later: in each turn a level begins
no more than it has seats for, and before the next the sockets are read, where a node's heartbeat may have come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parkube.controlplane.access.flowcontrol.control import FlowControl
from parkube.controlplane.access.flowcontrol.levels import Full, Ticket
from parkube.controlplane.access.flowcontrol.schemas import Asked, flow_of
from parkube.controlplane.apiserver.http import Request
from parkube.controlplane.apiserver.router import Target
from parkube.controlplane.registry.resource import Resource, User
from parkube.kubeapi.errors import TooManyRequests

LONGEST_S = 15.0  # that a request waits for its turn
_A_SEAT, _SEATS_MOST = (
    100,
    10,
)  # objects of a list that are as much work as any other request; what a list costs at most
_LASTING = frozenset(("attach", "exec", "log", "portforward", "proxy"))


class Turns:
    """`count`: how many objects of a row there are."""

    def __init__(self, control: FlowControl, count: Callable[[Resource], int]) -> None:
        self._control, self._levels, self._count = control, control.levels, count
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._done: list[Ticket] = []

    async def take(self, request: Request, user: User, at: Target | None, verb: str) -> Ticket | None:
        """A seat, to be given back by `give`; None for who needs none. Raises TooManyRequests."""
        if at is None:
            asked, namespace = Asked(verb, path=request.path), ""
        elif at.subresource:
            if at.subresource in _LASTING:
                return None
            namespace = at.namespace
            asked = Asked(verb, at.gvr.group, f"{at.gvr.resource}/{at.subresource}", namespace)
        else:
            namespace = at.namespace
            asked = Asked(verb, at.gvr.group, at.gvr.resource, namespace)
        schema, level = self._control.lane(user, asked)
        limit = level.limit
        request.told = (schema.uid, limit.uid)
        if limit.exempt:
            return None
        seats = 1 if verb != "list" or at is None or at.row is None else self._cost(request, at.row)
        try:
            ticket = self._levels.arrive(level, flow_of(schema, user, namespace), seats)
        except Full:
            raise _later() from None
        if not ticket.seated:
            await self._turn(ticket, request)
        return ticket

    def give(self, ticket: Ticket) -> None:
        """It was served."""
        if not self._done:
            asyncio.get_running_loop().call_soon(self._clear)
        self._done.append(ticket)

    async def _turn(self, ticket: Ticket, request: Request) -> None:
        future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(LONGEST_S):
                await future
            if request.connection.transport is None:
                raise ConnectionResetError("the client is gone")
        except BaseException as error:
            self.give(ticket)
            if isinstance(error, TimeoutError):
                raise _later() from None
            raise
        finally:
            del self._waiting[ticket]

    def _clear(self) -> None:
        done, self._done = self._done, []
        for ticket in done:
            self._levels.leave(ticket)
        for ticket in self._levels.call():
            future = self._waiting.get(ticket)
            if future is not None and not future.done():
                future.set_result(None)

    def _cost(self, request: Request, row: Resource) -> int:
        """A long list is as much work as several requests."""
        limit = request.query.get("limit", "")
        count = self._count(row)
        if limit.isdecimal() and int(limit):
            count = min(count, int(limit))
        return min(_SEATS_MOST, 1 + count // _A_SEAT)


def _later() -> TooManyRequests:
    words = "too many requests, please try again later"
    return TooManyRequests(words, details={"retryAfterSeconds": 1})
