"""What no request may exceed, checked before anything is read into memory."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parkube.parking.api.problems import problem

MOST_BODY: Final = 256 * 1024
_ANY_BODY: Final = ("/api/v1/provider/",)


class BodyLimit:
    """Refuses a body over the limit with 413, by its declared length or when it turns out so."""

    def __init__(self, app: ASGIApp, most: int = MOST_BODY) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > self._most:
            await self._refuse(scope, receive, send)
            return
        received, started, refused = 0, False, False

        async def limited() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if not refused:
                started = True
                await send(message)

        try:
            await self._app(scope, limited, watched)
        except Exception:
            if not refused:
                raise
        if refused and not started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"the body is over {self._most // 1024} KiB"
        await problem(413, "body_too_large", detail, (), {"Connection": "close"})(scope, receive, send)


class JsonOnly:
    """Refuses a body that says it is something else than JSON with 415. Providers send what they like."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/") and not scope["path"].startswith(_ANY_BODY):
            headers = dict(scope["headers"])
            kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
            empty = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
            if not empty and kind and kind != "application/json" and not kind.endswith("+json"):
                said = f"the body is {kind[:80]!r}, application/json is understood"
                accepted = {"Accept": "application/json"}
                await problem(415, "unsupported_media_type", said, (), accepted)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class TextOnly:
    """Refuses an address with U+0000 in it with 400: no database keeps it, and nobody means it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("\0" in scope["path"] or b"%00" in scope["query_string"]):
            await problem(400, "not_text", "the address holds a character that is not text")(scope, receive, send)
            return
        await self._app(scope, receive, send)
