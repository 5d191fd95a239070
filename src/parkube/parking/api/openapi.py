"""The OpenAPI 3.1 document: what FastAPI makes of the routes, with refusals as the problem+json that they are."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from parkube.parking.api.idempotency import MOST_KEY, NOT_FOR
from parkube.parking.api.problems import MEDIA_TYPE
from parkube.parking.api.shapes import Problem

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": Problem, "description": "Refused, with the reason"},
    "5XX": {"model": Problem, "description": "Not possible now"},
}
"""What every route may answer besides."""


def install(app: FastAPI) -> None:
    """Makes the app's document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes, openapi_version="3.1.0")
            for path in made["paths"].values():
                for operation in path.values():
                    _refusals(operation)
            for path, operations in made["paths"].items():
                if "{booking_id}" in path:
                    # A booking opens to its secret, or to its driver's token: a bearer either way.
                    for operation in operations.values():
                        operation.setdefault("security", [{"bearer": []}])
            for path, operations in made["paths"].items():
                if "post" in operations and not path.startswith(NOT_FOR):
                    _keyed(operations["post"])
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _keyed(operation: dict[str, Any]) -> None:
    """A POST by somebody who is known can be sent again under its key."""
    known = operation.setdefault("parameters", [])
    if "security" in operation and not any(one["name"].lower() == "idempotency-key" for one in known):
        schema = {"type": "string", "maxLength": MOST_KEY}
        known.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema})


def _refusals(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if status[0] in "45" and "application/json" in content:
            content[MEDIA_TYPE] = content.pop("application/json")


def methods_of(app: FastAPI, path: str) -> list[str]:
    """The methods that the document has for an address, sorted; none where it has no such path."""
    table: list[tuple[re.Pattern[str], list[str]]] | None = getattr(app.state, "methods", None)
    if table is None:
        described = app.openapi()["paths"].items()
        table = app.state.methods = [
            (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(known)) + r"\Z"), sorted(m.upper() for m in operations))
            for known, operations in described
        ]
    return sorted({method for pattern, methods in table if pattern.match(path) for method in methods})
