"""How a machine becomes a node: `GET /cacerts`, then `POST /v1-parkube/join` with a token, a name, its password, a CSR.

The name belongs to whoever first joined with it: a random password, made by the agent, is kept here as a salted hash
in the Secret `kube-system/<node>.node-password.parkube`. Joining again is also how a certificate is renewed: a node
whose certificate still holds needs no token for it, one that was off for months uses its token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from parkube.controlplane.pki import Pki
from parkube.controlplane.pki.authority import certificate_names
from parkube.controlplane.pki.errors import CsrError
from parkube.controlplane.tunnel.answers import Answer, Ask, json_answer
from parkube.controlplane.tunnel.tunnels import node_of
from parkube.kubeapi.client import NODES, SECRETS, Client
from parkube.kubeapi.errors import (
    AlreadyExists,
    BadRequest,
    Forbidden,
    NotFound,
    Obj,
    ServiceUnavailable,
    Unauthorized,
)
from parkube.kubeapi.jointoken import TokenError, ca_hash, parse, same_secret

NAMESPACE = "kube-system"
APPEARS_S = 300.0  # in which a node that joined has registered itself
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class Joining:
    """The two endpoints. `settings` is told to every agent (cluster_cidr, service_cidr, cluster_domain, …)."""

    def __init__(self, pki: Pki, client: Client, settings: Mapping[str, Any]) -> None:
        self._pki = pki
        self._passwords = NodePasswords(client)
        self._settings = dict(settings)

    def cacerts(self) -> Answer:
        """The CA that the token's hash is of."""
        return Answer(200, self._pki.server_ca, b"application/x-pem-file")

    async def join(self, ask: Ask) -> Answer:
        """Admit a node: its certificate and the cluster's settings. Raises an `ApiError` with one sentence."""
        body = _body(ask.body)
        node = body["node"]
        if len(node) > 253 or not _NAME.fullmatch(node):
            raise BadRequest(f'"{node}" is not a node name: lower-case letters, digits, "-" and "." only')
        if node_of(ask.user) != node:
            self._check_token(ask.headers.get("authorization", ""))
        await self._passwords.claim(node, body["password"])
        try:
            certificate = self._pki.sign_node(body["csr"].encode(), node)
        except CsrError as exc:
            raise BadRequest(str(exc)) from exc
        expires = certificate_names(certificate)[1].timestamp()
        return json_answer(200, {"certificate": certificate.decode(), "expires": expires, "settings": self._settings})

    def _check_token(self, authorization: str) -> None:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorized("a token is needed to join: it is in server/node-token on the server")
        try:
            token = parse(text)
        except TokenError as exc:
            raise Unauthorized(str(exc)) from exc
        if token.ca_hash and token.ca_hash != ca_hash(self._pki.server_ca):
            raise Unauthorized("the token belongs to another cluster")
        if not any(same_secret(token.secret, known) for known in self._pki.join_secrets):
            raise Unauthorized("the token is not this cluster's: take the one in server/node-token on the server")


class NodePasswords:
    """Which password goes with which node name."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock

    async def claim(self, node: str, password: str) -> None:
        """Take the name, or show that it is ours. Raises `Forbidden` when it is another's."""
        name = secret_name(node)
        try:
            stored = await self._client.get(SECRETS, name, NAMESPACE)
        except NotFound:
            try:
                await self._client.create(SECRETS, _secret(name, password), NAMESPACE)
            except NotFound as exc:
                raise ServiceUnavailable("the server is still starting: try again") from exc
            except AlreadyExists:
                stored = await self._client.get(SECRETS, name, NAMESPACE)
            else:
                return
        if _matches(stored, password):
            return
        if await self._abandoned(node, stored):
            stored["data"] = _secret(name, password)["data"]
            await self._client.update(SECRETS, stored)
        else:
            raise Forbidden(
                f'another machine has joined as node "{node}": give this one another --node-name, or, if it replaces '
                f"that machine, run `kubectl delete node {node}` first"
            )

    async def _abandoned(self, node: str, stored: Obj) -> bool:
        """Whether the node was deleted since: its name is free again. A young password may be of a node that has
        joined and not yet appeared."""
        made = datetime.fromisoformat(stored["metadata"]["creationTimestamp"]).timestamp()
        if self._clock() - made < APPEARS_S:
            return False
        try:
            await self._client.get(NODES, node)
        except NotFound:
            return True
        return False


def secret_name(node: str) -> str:
    """Name of the Secret that holds a node's password."""
    return f"{node}.node-password.parkube"


def _secret(name: str, password: str) -> Obj:
    salt = secrets.token_bytes(16)
    value = {"salt": salt, "hash": _hash(salt, password)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "parkube.io/node-password",
        "data": {key: base64.b64encode(part).decode() for key, part in value.items()},
    }


def _hash(salt: bytes, password: str) -> bytes:
    # The password is 128 random bits, not a person's: a plain salted hash cannot be searched.
    return hashlib.sha256(salt + password.encode()).digest()


def _matches(stored: Obj, password: str) -> bool:
    try:
        salt, kept = (base64.b64decode(stored["data"][key]) for key in ("salt", "hash"))
    except (KeyError, TypeError, ValueError):
        return False
    return hmac.compare_digest(_hash(salt, password), kept)


def _body(raw: bytes) -> dict[str, str]:
    try:
        body = orjson.loads(raw)
    except ValueError as exc:
        raise BadRequest(f"the join request is not JSON: {exc}") from exc
    faults = [key for key in ("node", "password", "csr") if not (isinstance(body, dict) and _text(body.get(key)))]
    if faults:
        raise BadRequest(f"the join request lacks {', '.join(faults)}")
    return {key: body[key] for key in ("node", "password", "csr")}


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
