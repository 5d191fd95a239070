"""Errors as RFC 9457 problem+json: one clear sentence, a code for programs, every fault of an input at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from parkube.parking.domain.errors import (
    Conflict,
    Denied,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ParkingError,
    TooMany,
    Unavailable,
)
from parkube.parking.domain.payments import PaymentRefused


class StaleCopy(Conflict):
    """What the caller looked at has changed since."""

    code = "changed"


_log = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
_STATUS: Final[dict[type[ParkingError], int]] = {
    StaleCopy: 412,
    Invalid: 422,
    NotFound: 404,
    Conflict: 409,
    Denied: 401,
    Gone: 410,
    Unavailable: 503,
    PaymentRefused: 402,
    Forbidden: 403,
    TooMany: 429,
}


def problem(
    status: int, code: str, detail: str, faults: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
) -> Response:
    """A problem as a response."""
    body: dict[str, Any] = {
        "type": f"urn:parkube:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if faults:
        body["errors"] = [{"field": field, "message": message} for field, message in faults]
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def status_of(error: ParkingError) -> int:
    """The HTTP status of a refusal."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)


def install(app: FastAPI, allowed: Callable[[Request], Sequence[str]]) -> None:
    """Makes every error of the app a problem. `allowed` are the methods that an address has."""

    @app.exception_handler(ParkingError)
    async def _refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ParkingError)
        status = status_of(error)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "5"} if status == 503 else None
        if isinstance(error, TooMany):
            headers = {"Retry-After": str(error.retry_after_s)}
        return problem(status, error.code, error.message, getattr(error, "faults", ()), headers)

    @app.exception_handler(RequestValidationError)
    async def _unreadable(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [(_where(fault["loc"]), str(fault["msg"])) for fault in error.errors()]
        broken = any(fault["type"] == "json_invalid" for fault in error.errors())
        if broken:
            return problem(400, "broken_json", "the body is not JSON", faults)
        named = "; ".join(f"{where}: {message}" for where, message in faults)
        return problem(422, "invalid", named or "the request is not valid", faults)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        headers, detail = _plain(error.headers), str(error.detail)
        if error.status_code == 405:
            methods = ", ".join(allowed(request)) or "GET"
            headers, detail = {"Allow": methods}, f"{request.method} is not possible here, only {methods}"
        return problem(error.status_code, phrase.lower().replace(" ", "_"), detail, (), headers)

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> Response:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(500, "internal", "something went wrong here, it was written down; try again")


def _where(path: Sequence[Any]) -> str:
    parts = [str(part) for part in path if part not in ("body", "query", "path", "header")]
    return ".".join(parts) or "body"


def _plain(headers: Any) -> dict[str, str] | None:
    return dict(headers) if headers else None
