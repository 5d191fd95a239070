"""What happens, told to whoever listens: bookings to their drivers, garages and nodes to everyone.

In memory and of this process. A listener that does not keep up loses its subscription, nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

GARAGE, BOOKING, NODE, FLEET = "garage", "booking", "node", "fleet"
_MOST_WAITING: Final = 256


@dataclass(frozen=True, slots=True)
class News:
    """Something changed. `subject` is the id of the booking, garage or node."""

    topic: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)


class Subscription:
    """News for one listener; ends (None) when it was too slow."""

    def __init__(self, topics: frozenset[str], subject: str | None) -> None:
        self.topics, self.subject = topics, subject
        self._queue: asyncio.Queue[News | None] = asyncio.Queue(_MOST_WAITING + 1)

    async def next(self) -> News | None:
        return await self._queue.get()

    def put(self, news: News) -> bool:
        """Whether the listener still keeps up."""
        if self._queue.qsize() >= _MOST_WAITING:
            self._queue.put_nowait(None)
            return False
        self._queue.put_nowait(news)
        return True

    def end(self) -> None:
        if not self._queue.full():
            self._queue.put_nowait(None)


class Live:
    """Publishes news to subscriptions. Bookings only go to the one that named them."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def subscribe(self, *topics: str, booking: str | None = None) -> Subscription:
        subscription = Subscription(frozenset(topics), booking)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def publish(self, topic: str, subject: str, **data: Any) -> None:
        news = News(topic, subject, data)
        for subscription in list(self._subscriptions):
            if topic not in subscription.topics or (topic == BOOKING and subscription.subject != subject):
                continue
            if not subscription.put(news):
                self._subscriptions.discard(subscription)

    def close(self) -> None:
        """Ends every subscription, so that a server that stops does not wait for its listeners."""
        for subscription in list(self._subscriptions):
            subscription.end()
        self._subscriptions.clear()
