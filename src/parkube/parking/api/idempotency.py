"""Idempotency keys: the same POST again with the same key is the same answer, and does nothing.

The key belongs to who shows it (their token; a guest has none, and no keys) and to what it was sent with: another body
or path under the same key is refused. An answer of 5xx is not kept, since it may become another. Follows the IETF draft
on the header.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parkube.parking.api.problems import problem
from parkube.parking.domain.errors import Conflict, ParkingError
from parkube.parking.services.platform import Platform
from parkube.parking.services.ports_people import Kept

MOST_KEY: Final = 128
_GIVEN_UP_AFTER: Final = timedelta(seconds=30)  # its process is dead; were it only slow, locks and order keys hold
NOT_FOR: Final = ("/api/v1/provider/", "/api/v1/driver/login")
_BY_ITSELF: Final = ("/api/v1/driver/bookings",)  # a booking knows its own key, for longer than an answer is kept
_NOT_KEPT: Final = (401, 403, 429)  # about who asks and how often, not about what was asked
_WAIT_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.02
_KEPT_HEADERS: Final = (b"content-type", b"location")


class IdempotencyKeys:
    """Answers a repeated POST from what was kept."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        key = headers.get(b"idempotency-key", b"").decode("latin-1")
        path = scope.get("path", "")
        nobody = b"authorization" not in headers
        if not key or nobody or scope["method"] != "POST" or path.startswith(NOT_FOR) or path in _BY_ITSELF:
            await self._app(scope, receive, send)
            return
        if len(key) > MOST_KEY or not key.isascii() or not key.isprintable():
            await problem(422, "invalid", f"an idempotency key is at most {MOST_KEY} printable characters")(
                scope, receive, send
            )
            return
        body, complete = await _read(receive)
        if not complete:
            return
        platform: Platform = scope["app"].state.platform
        who = hashlib.sha256(headers.get(b"authorization", b"")).hexdigest()
        asked = hashlib.sha256(scope["path"].encode() + b"\0" + scope["query_string"] + b"\0" + body).hexdigest()
        kept = Kept(who, key, asked, platform.clock())
        try:
            before = await _begin(platform, kept)
        except ParkingError as error:
            await problem(503, error.code, error.message)(scope, receive, send)
            return
        if before is not None:
            if before.fingerprint == kept.fingerprint and before.status is None:
                before = await _until_answered(platform, before)
            await self._again(before, kept, scope, receive, send)
            return
        await self._first(platform, kept, body, scope, send)

    async def _again(self, before: Kept, kept: Kept, scope: Scope, receive: Receive, send: Send) -> None:
        if before.fingerprint != kept.fingerprint:
            said = "this idempotency key was used for something else"
            await problem(409, "idempotency_key_reused", said)(scope, receive, send)
        elif before.status is None:
            said = "the same request is being worked on: try again"
            await problem(409, "in_progress", said, (), {"Retry-After": "1"})(scope, receive, send)
        else:
            headers = [(n.encode(), v.encode()) for n, v in (before.headers or {}).items()]
            headers += [(b"idempotency-replayed", b"true"), (b"content-length", str(len(before.body or b"")).encode())]
            await send({"type": "http.response.start", "status": before.status, "headers": headers})
            await send({"type": "http.response.body", "body": before.body or b""})

    async def _first(self, platform: Platform, kept: Kept, body: bytes, scope: Scope, send: Send) -> None:
        sent, status, headers, answer = False, 500, dict[str, str](), b""

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def watched(message: Message) -> None:
            nonlocal status, headers, answer
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {n.decode(): v.decode() for n, v in message["headers"] if n in _KEPT_HEADERS}
            else:
                answer += message.get("body", b"")
                if not message.get("more_body"):
                    # Kept before it is sent: who hears the answer can rely on hearing it again.
                    await _end(platform, replace(kept, status=status, headers=headers, body=answer))
            await send(message)

        try:
            await self._app(scope, replay, watched)
        except BaseException:
            await _end(platform, replace(kept, status=500))
            raise


async def _begin(platform: Platform, kept: Kept) -> Kept | None:
    try:
        async with platform.database.writing() as transaction:
            before = await transaction.kept_answer(kept.scope, kept.key)
            if before is not None and (before.status is not None or kept.at - before.at < _GIVEN_UP_AFTER):
                return before
            if before is not None:
                await transaction.forget_answer(kept.scope, kept.key)
            await transaction.keep_answer(kept)
    except Conflict:
        # Another with this key was first by a moment.
        async with platform.database.reading() as transaction:
            return await transaction.kept_answer(kept.scope, kept.key) or kept
    return None


async def _until_answered(platform: Platform, before: Kept) -> Kept:
    deadline = asyncio.get_running_loop().time() + _WAIT_S
    while before.status is None and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_LOOK_EVERY_S)
        async with platform.database.reading() as transaction:
            before = await transaction.kept_answer(before.scope, before.key) or before
    return before


async def _end(platform: Platform, kept: Kept) -> None:
    async with platform.database.writing() as transaction:
        if kept.status is None or kept.status >= 500 or kept.status in _NOT_KEPT:
            await transaction.forget_answer(kept.scope, kept.key)
        else:
            await transaction.keep_answer(kept)


async def _read(receive: Receive) -> tuple[bytes, bool]:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body, False
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body, True
