"""An OpenID Connect issuer in a test's hand: it says that whoever comes is who the test says."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "parkube", "issuer-secret"


class FakeIssuer:
    """Discovery, keys, and a token endpoint that checks code, client and PKCE. `claims` change what it says."""

    def __init__(self) -> None:
        self.url = ""
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
        self.signs_with = self.key
        self.claims: dict[str, Any] = {"sub": "u1", "email": "boss@example.org", "email_verified": True}
        self.codes: dict[str, dict[str, str]] = {}
        self.app = Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/token", self._token, methods=["POST"]),
            ]
        )

    def approve(self, url: str) -> tuple[str, str]:
        """The person says yes at the issuer: the code and the state that come back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code{len(self.codes)}"
        self.codes[code] = asked
        return code, asked["state"]

    async def _discovery(self, _request: Request) -> Response:
        ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return JSONResponse({"issuer": self.url} | {name: self.url + path for name, path in ends.items()})

    async def _keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def _token(self, request: Request) -> Response:
        given = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.codes.pop(given.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        digest = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or request.headers.get("authorization") != f"Basic {basic}":
            return JSONResponse({"error": "invalid_grant"}, 400)
        if asked["code_challenge"] != challenge or asked["redirect_uri"] != given["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]} | self.claims
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.signs_with)
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})


async def come_back(http: httpx.AsyncClient, issuer: FakeIssuer) -> httpx.Response:
    """A browser's whole way: to the issuer, and back with the cookie."""
    begun = await http.get("/api/v1/staff/login")
    code, state = issuer.approve(begun.headers["location"])
    cookie = {"Cookie": begun.headers["set-cookie"].split(";")[0]}
    return await http.get("/api/v1/staff/callback", params={"code": code, "state": state}, headers=cookie)
