"""/version, health, OpenAPI and OpenID: answers that are no resources. Each is a mount of the app."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable

import orjson

from parkube.controlplane.access.tokens import ServiceAccountTokens
from parkube.controlplane.apiserver.app import App
from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.apiserver.negotiation import accepted
from parkube.controlplane.registry import openapi
from parkube.controlplane.registry.catalogue import Catalogue
from parkube.kubeapi.errors import NotFound

MINOR = "36"
GIT_VERSION = f"v1.{MINOR}.0+parkube1"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_PROTOBUF_ANSWERED = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # "@" is no part of a media type
_TEXT = b"text/plain; charset=utf-8"
Check = Callable[[], str]
"""A health check: an empty string when all is well, else what is wrong."""


def version() -> dict[str, str]:
    """What `kubectl version` prints of the server."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": "1", "minor": MINOR, "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(), "platform": f"linux/{machine}",
    }  # fmt: skip


def mount_version(app: App) -> None:
    """GET /version."""
    body = orjson.dumps(version())

    async def answer(request: Request) -> Response:
        return Response(200, body)

    app.mount("/version", answer)


def mount_health(app: App, ready: dict[str, Check], live: dict[str, Check] | None = None) -> None:
    """GET /healthz, /livez, /readyz; with ?verbose each check by name, `[+]ping ok`."""

    def of(checks: dict[str, Check]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            found = {"ping": "", **{name: check() for name, check in checks.items()}}
            failed = [name for name, text in found.items() if text]
            if not failed and "verbose" not in request.query:
                return Response(200, b"ok", _TEXT)
            lines = [f"[-]{n} failed: {text}" if text else f"[+]{n} ok" for n, text in found.items()]
            what = request.path.strip("/")
            lines.append(f"{what} check {'failed' if failed else 'passed'}")
            return Response(500 if failed else 200, "\n".join(lines).encode() + b"\n", _TEXT)

        return answer

    for path, checks in (("/readyz", ready), ("/healthz", live or {}), ("/livez", live or {})):
        answer = of(checks)

        async def handle(request: Request, answer: Callable[[Request], Response] = answer) -> Response:
            return answer(request)

        app.mount(path, handle)
        app.mount(path + "/", handle)


class OpenApi:
    """OpenAPI v3 and v2, from the bytes that the registry makes; fingerprints are kept, documents are not."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def mount(self, app: App) -> None:
        """GET /openapi/v2, /openapi/v3 and the documents below it."""
        app.mount("/openapi/v2", self.v2)
        app.mount("/openapi/v3", self.index)
        app.mount("/openapi/v3/", self.v3)

    async def index(self, request: Request) -> Response:
        """Which documents there are."""
        return _tagged(request, openapi.openapi_v3_index(self._catalogue), b"application/json")

    async def v3(self, request: Request) -> Response:
        """One group version's document."""
        body = openapi.openapi_v3(self._catalogue, request.path.removeprefix("/openapi/v3/"))
        if body is None:
            raise NotFound("the server could not find the requested resource")
        response = _tagged(request, body, b"application/json")
        if request.query.get("hash"):
            response.headers.append((b"Cache-Control", b"public, immutable"))
        return response

    async def v2(self, request: Request) -> Response:
        """The one big document, as JSON or protobuf."""
        for media in accepted(request.headers.get("accept", "")):
            if media.type in (V2_PROTOBUF, V2_PROTOBUF_ANSWERED):
                body = openapi.openapi_v2(self._catalogue, protobuf=True)
                return _tagged(request, body, V2_PROTOBUF_ANSWERED.encode())
            if media.type in ("application/json", "*/*", "application/*"):
                break
        return _tagged(request, openapi.openapi_v2(self._catalogue, protobuf=False), b"application/json")


def _tagged(request: Request, body: bytes, kind: bytes) -> Response:
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [(b"ETag", tag.encode()), (b"Vary", b"Accept")]
    if request.headers.get("if-none-match") == tag:
        return Response(304, b"", kind, headers)
    return Response(200, body, kind, headers)


def mount_openid(app: App, tokens: ServiceAccountTokens, address: str) -> None:
    """The service account issuer's keys, for those outside who verify tokens."""

    async def configuration(request: Request) -> Response:
        return Response(200, orjson.dumps(tokens.openid_configuration(f"https://{address}/openid/v1/jwks")))

    async def keys(request: Request) -> Response:
        return Response(200, orjson.dumps(tokens.jwks()), b"application/jwk-set+json")

    app.mount("/.well-known/openid-configuration", configuration)
    app.mount("/openid/v1/jwks", keys)
