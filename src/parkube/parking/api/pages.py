"""Serves the built pages: `/` for drivers, `/operator` for the fleet. Where they are not built, a page that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from parkube.parking.api.openapi import methods_of

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_NOT_BUILT: Final = "Parkube's platform is running. Its pages are not built here; the API is under /api/v1.\n"


def install(app: FastAPI, web_dir: Path | None) -> None:
    """Adds the pages after every other route."""
    root = web_dir.resolve() if web_dir is not None and web_dir.is_dir() else None

    @app.get("/{path:path}", include_in_schema=False)
    async def page(request: Request, path: str) -> Response:
        if path.startswith("api/"):
            known = methods_of(app, request.url.path)
            if known:
                raise HTTPException(405, f"{request.method} is none of {', '.join(known)}", {"Allow": ", ".join(known)})
            raise HTTPException(404, f"there is no {request.method} /{path[:200]}")
        if root is None:
            return PlainTextResponse(_NOT_BUILT, 200 if path in ("", "operator") else 404)
        found = _file(root, path)
        if found is None:
            raise HTTPException(404, f"there is no /{path[:200]}")
        hashed = "assets" in found.relative_to(root).parts
        return FileResponse(found, headers={"Cache-Control": _IMMUTABLE if hashed else "no-cache"})


def _file(root: Path, path: str) -> Path | None:
    if "\0" in path:
        return None
    wanted = path.strip("/")
    names = [wanted, f"{wanted}.html", f"{wanted}/index.html"] if wanted else ["index.html"]
    if wanted and "." not in wanted.rsplit("/", 1)[-1]:
        # A page's own paths (/operator/garages) are its script's business.
        first = wanted.split("/", 1)[0]
        names += [f"{first}.html", f"{first}/index.html", "index.html"]
    for name in names:
        found = (root / name).resolve()
        if found.is_relative_to(root) and found.is_file():
            return found
    return None
