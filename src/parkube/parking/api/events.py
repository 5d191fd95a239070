"""Server-sent events: news from services.live as a stream that a page keeps open. Not a queue, and no history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.responses import StreamingResponse

from parkube.parking.services.live import Live, News, Subscription

KEEP_ALIVE_S: Final = 15.0
MEDIA_TYPE: Final = "text/event-stream"
DESCRIBED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events until one side leaves.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
"""A stream's answer as the OpenAPI document describes it."""
Told = Callable[[News], Awaitable[tuple[str, Any] | None]]


def event(name: str, data: Any) -> bytes:
    """One event of the stream."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def stream(live: Live, subscription: Subscription, first: list[bytes], tell: Told) -> StreamingResponse:
    """A response of events: the first ones, then each news as `tell` has it, until the client or the server leaves."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(live, subscription, first, tell), 200, headers, MEDIA_TYPE)


async def _events(live: Live, subscription: Subscription, first: list[bytes], tell: Told) -> AsyncIterator[bytes]:
    try:
        yield b"retry: 2000\n\n"
        for one in first:
            yield one
        while True:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    news = await subscription.next()
            except TimeoutError:
                yield b": still here\n\n"
                continue
            if news is None:
                return
            told = await tell(news)
            if told is not None:
                yield event(*told)
    finally:
        live.unsubscribe(subscription)
