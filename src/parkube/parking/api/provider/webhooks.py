"""Webhooks of payment providers. Who sent one is known by its signature alone; what it says is asked for."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from parkube.parking.api.answers import platform_of
from parkube.parking.services import orders

router = APIRouter()


@router.post("/{provider}/webhook", status_code=204, response_class=Response)
async def webhook(request: Request, provider: Annotated[str, Path(pattern="^[a-z]{1,16}$")]) -> Response:
    """Takes a provider's message. 204 once it is written down; the provider sends it again for anything else."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    await orders.message(platform_of(request), provider, headers, await request.body())
    return Response(status_code=204)
