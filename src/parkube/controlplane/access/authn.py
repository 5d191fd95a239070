"""Who is asking: from a client certificate or a bearer token to a user. It grants nothing.

A certificate counts first, as in Kubernetes; with neither, the asker is `system:anonymous`; a token that is wrong is
refused, never taken for nobody. Which CA may sign clients is settled by the TLS context, before us.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from parkube.controlplane.access.facts import Facts
from parkube.controlplane.access.graph import NodeGraph
from parkube.controlplane.access.tokens import ServiceAccountTokens, TokenError
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import Obj, Unauthorized

ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED = "system:authenticated"
_REMEMBERED = 4_000

TokenSource = Callable[[str], User | None]
"""Another kind of bearer token (join tokens): the user without `system:authenticated`, or None if it is not its own."""


class Identity(NamedTuple):
    """A token's user, and the audiences for which it was recognised (TokenReview passes them on)."""

    user: User
    audiences: list[str]


class Authenticator:
    """Recognises users; keeps what it has checked, so that a node's every request costs no cryptography."""

    def __init__(
        self, tokens: ServiceAccountTokens, facts: Facts, graph: NodeGraph, *,
        clock: Callable[[], float], sources: Sequence[TokenSource] = (),
    ) -> None:  # fmt: skip
        self._tokens, self._facts, self._graph, self._clock = tokens, facts, graph, clock
        self.sources = list(sources)
        self._certificates: dict[Any, tuple[User, float]] = {}
        self._claims: dict[bytes, Obj] = {}

    def authenticate(self, authorization: str | None, peer_certificate: dict[str, Any] | None) -> User:
        """The user of a request. `peer_certificate` is what `SSLObject.getpeercert()` gives. Raises `Unauthorized`."""
        if peer_certificate:
            user = self._by_certificate(peer_certificate)
            if user is not None:
                return user
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer" and token.strip():
                try:
                    return self.authenticate_token(token.strip()).user
                except TokenError as error:
                    raise Unauthorized("Unauthorized") from error
            raise Unauthorized("Unauthorized")
        if peer_certificate:
            raise Unauthorized("Unauthorized")
        return ANONYMOUS

    def _by_certificate(self, certificate: dict[str, Any]) -> User | None:
        """CN is the user, each O a group. None if it has no CN or has run out since the handshake."""
        key = (certificate.get("subject"), certificate.get("notAfter"))
        known = self._certificates.get(key)
        if known is None:
            subject = [pair for part in certificate.get("subject", ()) for pair in part]
            names = [value for kind, value in subject if kind == "commonName"]
            if not names or not names[0]:
                return None
            groups = tuple(value for kind, value in subject if kind == "organizationName")
            until = ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate.get("notAfter") else float("inf")
            known = (User(names[0], (*groups, AUTHENTICATED)), until)
            _remember(self._certificates, key, known)
        user, until = known
        return user if self._clock() < until else None

    def authenticate_token(self, token: str, audiences: Sequence[str] = ()) -> Identity:
        """The user of a bearer token, for these audiences (none given: the server's own). Raises `TokenError`."""
        for source in self.sources:
            user = source(token)
            if user is not None:
                return Identity(_authenticated(user), list(audiences) or list(self._tokens.audiences))
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._claims.get(digest)
        if claims is None:
            claims = self._tokens.verify(token)
            _remember(self._claims, digest, claims)
        shared = self._tokens.check(claims, audiences)
        return Identity(self._service_account(claims), shared)

    def _service_account(self, claims: Obj) -> User:
        """The account of checked claims, if it and what the token is bound to still exist, the very same ones."""
        private = claims.get("kubernetes.io") or {}
        namespace, account = str(private.get("namespace")), private.get("serviceaccount") or {}
        name, uid = str(account.get("name")), str(account.get("uid"))
        if self._facts.uid("serviceaccounts", namespace, name) != uid:
            raise TokenError("the token's service account is gone")
        extra: list[tuple[str, tuple[str, ...]]] = []
        if claims.get("jti"):
            extra.append(("authentication.kubernetes.io/credential-id", (f"JTI={claims['jti']}",)))
        pod, secret, node = private.get("pod"), private.get("secret"), private.get("node")
        if pod:
            entry = self._graph.pod(namespace, pod["name"])
            if entry is None or entry.uid != pod["uid"]:
                raise TokenError("the token's pod is gone")
            extra.append(("authentication.kubernetes.io/pod-name", (pod["name"],)))
            extra.append(("authentication.kubernetes.io/pod-uid", (pod["uid"],)))
        if secret and self._facts.uid("secrets", namespace, secret["name"]) != secret["uid"]:
            raise TokenError("the token's secret is gone")
        if node:
            if not pod and self._facts.uid("nodes", "", node["name"]) != node["uid"]:
                raise TokenError("the token's node is gone")
            extra.append(("authentication.kubernetes.io/node-name", (node["name"],)))
            extra.append(("authentication.kubernetes.io/node-uid", (node.get("uid", ""),)))
        return service_account_user(namespace, name, uid, tuple(extra))


def service_account_user(
    namespace: str, name: str, uid: str = "", extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
) -> User:
    """The user that a service account is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid, extra)


def _authenticated(user: User) -> User:
    if AUTHENTICATED in user.groups:
        return user
    return user._replace(groups=(*user.groups, AUTHENTICATED))


def _remember(memory: dict[Any, Any], key: Any, value: Any) -> None:
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[key] = value
