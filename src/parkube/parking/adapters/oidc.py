"""An OpenID Connect issuer, found by its discovery document. ID tokens are checked by joserfc.

Source: OpenID Connect Core 1.0 (3.1, code flow), Discovery 1.0, RFC 7636 (PKCE).
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from parkube.parking.domain.errors import Denied, Unavailable
from parkube.parking.services.ports_people import Identity

_ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]
_LEEWAY_S: Final = 60


class OidcIssuer:
    """services.ports_people.Issuer."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, redirect_uri: str) -> None:
        self._issuer, self._id, self._secret = issuer.rstrip("/"), client_id, client_secret
        self._redirect_uri = redirect_uri
        self._found: dict[str, Any] | None = None

    async def begin(self, state: str, nonce: str, verifier: str) -> str:
        found = await self._discovered()
        digest = hashlib.sha256(verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{found['authorization_endpoint']}?{urlencode(asked)}"

    async def finish(self, code: str, nonce: str, verifier: str) -> Identity:
        found = await self._discovered()
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        try:
            async with httpx.AsyncClient(timeout=15) as client:
                answer = await client.post(found["token_endpoint"], data=given, auth=(self._id, self._secret))
                keys = (await client.get(found["jwks_uri"])).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable("the issuer does not answer now", code="issuer_unavailable") from error
        if answer.status_code >= 500:
            raise Unavailable("the issuer does not answer now", code="issuer_unavailable")
        if answer.status_code != 200:
            raise Denied("the issuer does not accept this login: begin again", code="login_refused")
        return self._checked(answer.json().get("id_token", ""), keys, nonce)

    def _checked(self, token: str, keys: Any, nonce: str) -> Identity:
        wanted = jwt.JWTClaimsRegistry(
            now=int(time.time()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            claims = jwt.decode(token, KeySet.import_key_set(keys), _ALGORITHMS).claims
            wanted.validate(claims)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise Denied("the issuer's answer is not right: begin again", code="login_refused") from error
        email = claims.get("email")
        verified = claims.get("email_verified") is True
        return Identity(self._issuer, str(claims["sub"]), email if isinstance(email, str) else None, verified)

    async def _discovered(self) -> dict[str, Any]:
        if self._found is None:
            try:
                async with httpx.AsyncClient(timeout=15) as client:
                    answer = await client.get(f"{self._issuer}/.well-known/openid-configuration")
                    found: dict[str, Any] = answer.raise_for_status().json()
            except (httpx.HTTPError, ValueError) as error:
                raise Unavailable("the issuer does not answer now", code="issuer_unavailable") from error
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise Unavailable("the issuer calls itself something else", code="issuer_unavailable")
            self._found = found
        return self._found
