"""Puts the API together: each actor's routes, problems, limits, pages. What it serves comes from main."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import Response

from parkube.parking.api import openapi, pages, problems
from parkube.parking.api.access import as_driver
from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.driver import account, search, starts, stays
from parkube.parking.api.etags import ETags
from parkube.parking.api.garage_link import socket
from parkube.parking.api.idempotency import IdempotencyKeys
from parkube.parking.api.limits import BodyLimit, JsonOnly, TextOnly
from parkube.parking.api.operator import drivers
from parkube.parking.api.operator import money as operator_money
from parkube.parking.api.operator import routes as operator
from parkube.parking.api.owner import garages
from parkube.parking.api.owner import routes as owner
from parkube.parking.api.partner import routes as partner
from parkube.parking.api.provider import webhooks
from parkube.parking.api.rates import Rate, RateLimit
from parkube.parking.api.staff import routes as staff
from parkube.parking.services.platform import Platform

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Guard = Callable[..., Any]
ROUTERS: tuple[tuple[str, APIRouter, tuple[Guard, ...]], ...] = (
    ("driver", search.router, ()),
    ("driver", account.router, (as_driver,)),
    ("driver", stays.router, (as_driver,)),
    ("driver", starts.router, (as_driver,)),
    ("owner", owner.router, ()),
    ("owner", garages.router, ()),
    ("operator", operator.router, ()),
    ("operator", operator_money.router, ()),
    ("operator", drivers.router, ()),
    ("partner", partner.router, ()),
    ("provider", webhooks.router, ()),
    ("staff", staff.router, ()),
)


def create_app(
    platform: Platform | None,
    *,
    operator_token: str | None = None,
    web_dir: Path | None = None,
    every: Rate | None = None,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """The platform's web application. Without a platform, its lifespan puts one into `app.state.platform`."""
    app = FastAPI(title="Parkube", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.platform = platform
    app.state.operator_token = operator_token
    problems.install(app, lambda request: openapi.methods_of(app, request.url.path))
    openapi.install(app)
    for actor, router, guards in ROUTERS:
        depends = [Depends(guard) for guard in guards]
        app.include_router(
            router, prefix=f"/api/v1/{actor}", tags=[actor], responses=openapi.PROBLEMS, dependencies=depends
        )
    app.include_router(socket.router)

    @app.get("/healthz", include_in_schema=False)
    async def healthy(request: Request) -> Response:
        """The process answers, and so does its database."""
        platform = platform_of(request)
        async with platform.database.reading() as transaction:
            await transaction.setting("signing_key")
        return answer({"ok": True, "garages": len(platform.index)})

    pages.install(app, web_dir)
    app.add_middleware(ETags)
    app.add_middleware(IdempotencyKeys)
    app.add_middleware(JsonOnly)
    app.add_middleware(BodyLimit)
    app.add_middleware(RateLimit, every=every)
    app.add_middleware(TextOnly)
    return app
