"""Puts the API together: each actor's routes, problems, limits, pages. What it serves comes from main."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response

from parkube.parking.api import pages, problems
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.driver import search, stays
from parkube.parking.api.garage_link import socket
from parkube.parking.api.limits import BodyLimit
from parkube.parking.api.operator import routes as operator
from parkube.parking.api.provider import webhooks
from parkube.parking.api.shapes import Problem
from parkube.parking.services.platform import Platform

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
_PROBLEMS = {"4XX": {"model": Problem}, "5XX": {"model": Problem}}


def create_app(
    platform: Platform | None,
    *,
    operator_token: str | None = None,
    web_dir: Path | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The platform's web application. Without a platform, its lifespan puts one into `app.state.platform`."""
    app = FastAPI(title="Parkube", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.platform = platform
    app.state.operator_token = operator_token
    problems.install(app)
    app.include_router(search.router, prefix="/api/v1/driver", tags=["driver"], responses=_PROBLEMS)  # type: ignore[arg-type]
    app.include_router(stays.router, prefix="/api/v1/driver", tags=["driver"], responses=_PROBLEMS)  # type: ignore[arg-type]
    app.include_router(operator.router, prefix="/api/v1/operator", tags=["operator"], responses=_PROBLEMS)  # type: ignore[arg-type]
    app.include_router(webhooks.router, prefix="/api/v1/provider", tags=["provider"], responses=_PROBLEMS)  # type: ignore[arg-type]
    app.include_router(socket.router)

    @app.get("/healthz", include_in_schema=False)
    async def healthy(request: Request) -> Response:
        """The process answers, and so does its database."""
        platform = platform_of(request)
        async with platform.database.reading() as transaction:
            await transaction.setting("signing_key")
        return answer({"ok": True, "garages": len(platform.index)})

    pages.install(app, web_dir)
    app.add_middleware(BodyLimit)
    return app
