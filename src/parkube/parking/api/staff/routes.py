"""Staff's login: to the issuer and back. What they may afterwards is said by their roles."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from parkube.parking.api.answers import answer, platform_of
from parkube.parking.api.driver.shapes import LoggedIn
from parkube.parking.domain.errors import Denied
from parkube.parking.services import staff

router = APIRouter()
_COOKIE = "parkube_login"


@router.get("/login", status_code=303, response_class=Response)
async def log_in(request: Request) -> Response:
    """Sends the browser to the issuer."""
    url, state = await staff.begin(platform_of(request))
    response = RedirectResponse(url, 303)
    # The answer must come back to the browser that asked: nobody is logged in as somebody else by a link.
    lives = int(staff.LOGIN_LIVES.total_seconds())
    response.set_cookie(_COOKIE, state, max_age=lives, path="/api/v1/staff", secure=True, httponly=True, samesite="lax")
    return response


@router.get("/callback", response_model=LoggedIn)
async def come_back(
    request: Request,
    code: Annotated[str, Query(min_length=1, max_length=4000)],
    state: Annotated[str, Query(min_length=1, max_length=200)],
) -> Response:
    """Takes the issuer's code for a token of ours."""
    if not hmac.compare_digest(request.cookies.get(_COOKIE, "").encode(), state.encode()):
        raise Denied("this login was not begun in this browser: begin again", code="other_browser")
    token, person = await staff.finish(platform_of(request), code, state)
    response = answer({"token": token, "person_id": person.id})
    response.delete_cookie(_COOKIE, path="/api/v1/staff")
    return response
