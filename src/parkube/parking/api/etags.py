"""ETags: every JSON answer to a GET carries one, and If-None-Match saves sending it again; If-Match guards a PUT.

The tag is the hash of what would be sent, so it changes exactly when what is seen changes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parkube.parking.api.problems import StaleCopy

_MOST: Final = 4 * 1024 * 1024


class ETags:
    """Adds the tag to whole JSON answers of GET, and answers 304 where the caller has it already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        held: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                if message["status"] == 200 and headers.get(b"content-type") == b"application/json":
                    held = message
                    return
            elif held is not None and message["type"] == "http.response.body":
                start, held = held, None
                if not message.get("more_body") and len(message["body"]) <= _MOST:
                    tag = f'"{_hash(message["body"])}"'.encode()
                    start["headers"] = [*start["headers"], (b"etag", tag)]
                    if tag in _asked(scope):
                        kept = [h for h in start["headers"] if h[0] not in (b"content-length", b"content-type")]
                        await send({"type": "http.response.start", "status": 304, "headers": kept})
                        await send({"type": "http.response.body", "body": b""})
                        return
                await send(start)
            await send(message)

        await self._app(scope, receive, tagged)


def check_match(request: Request, current: Any) -> None:
    """Raises StaleCopy where If-Match names another state than the current one (None: there is none yet)."""
    wanted = request.headers.get("if-match")
    if wanted is None:
        return
    if current is not None and (wanted.strip() == "*" or f'"{_hash(orjson.dumps(current))}"' in _tags(wanted)):
        return
    raise StaleCopy("it has changed since you looked at it: look again")


def _asked(scope: Scope) -> list[bytes]:
    value = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
    return [one.strip().removeprefix(b"W/") for one in value.split(b",")]


def _tags(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")]


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]
