"""Answers as JSON bytes, without a second look by the framework: what it sends was made here."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request
from starlette.responses import Response

from parkube.parking.domain.errors import Denied
from parkube.parking.services.platform import Platform


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(body), status, headers, "application/json")


def platform_of(request: Request) -> Platform:
    """The platform this app serves."""
    platform: Platform = request.app.state.platform
    return platform


def bearer(request: Request) -> str:
    """The bearer token of a request; the query's `access_token` where a browser's event source cannot send one.

    Raises Denied without any.
    """
    known: str | None = getattr(request.state, "bearer", None)
    if known is not None:
        return known
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    token = request.query_params.get("access_token", "")
    if token and request.method == "GET":
        return token
    raise Denied("this needs a bearer token", code="no_token")
