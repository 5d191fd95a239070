"""Certificates, service account tokens and reviews: who is believed to be who."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from parkube.controlplane.access.authn import ANONYMOUS
from parkube.controlplane.access.tokens import ServiceAccountTokens, TokenError, _b64, _unb64
from parkube.controlplane.registry.resource import SYSTEM, Context, User
from parkube.kubeapi.client import GVR, PODS, SERVICEACCOUNTS
from parkube.kubeapi.errors import ApiError, BadRequest, Conflict, Forbidden, Invalid, NotFound, Unauthorized
from tests.fakes.cluster import NOON, Cluster, node_user, person, private_key


def _pem(key: Any) -> bytes:
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)
    return pem


def _tokens(key: bytes, **settings: Any) -> ServiceAccountTokens:
    return ServiceAccountTokens(key, clock=lambda: NOON, new_id=lambda: "jti", **settings)


@pytest.mark.parametrize("kind", ["ES256", "RS256"])
def test_a_token_is_good_until_anything_about_it_changes(kind: str) -> None:
    key = private_key() if kind == "ES256" else _pem(rsa.generate_private_key(65537, 2048))
    tokens = _tokens(key)
    token, expires = tokens.issue("default", "robot", "uid", seconds=600)
    claims = tokens.verify(token)
    assert expires == NOON + 600
    assert claims["sub"] == "system:serviceaccount:default:robot"
    assert tokens.check(claims) == [tokens.issuer]
    assert tokens.jwks()["keys"][0]["alg"] == kind
    head, body, signature = token.split(".")
    forged = _b64(orjson.dumps({**claims, "sub": "system:serviceaccount:kube-system:admin"}))
    unsigned = _b64(orjson.dumps({"alg": "none", "kid": orjson.loads(_unb64(head))["kid"]}))
    broken = ["", ".", "..", "a.b.c", token[:-1], token[: len(token) // 2], f"{head}.{forged}.{signature}",
              f"{unsigned}.{body}.", f"{head}.{body}.", f"{head}.{body}.{_b64(b'0' * 64)}", token + "x" * 20_000,
              f"{_b64(b'[]')}.{body}.{signature}", f"{head}.\udcff.{signature}"]  # fmt: skip
    for bad in broken:
        with pytest.raises(TokenError):
            tokens.verify(bad)
    with pytest.raises(TokenError, match="another cluster"):
        _tokens(_pem(ec.generate_private_key(ec.SECP256R1()))).verify(token)
    with pytest.raises(TokenError, match="another issuer"):
        _tokens(key, issuer="https://elsewhere").verify(token)
    newer = _tokens(_pem(ec.generate_private_key(ec.SECP256R1())), older_keys=[key])
    assert newer.verify(token) == claims
    with pytest.raises(TokenError, match="audience"):
        tokens.check(claims, ["vault"])
    with pytest.raises(TokenError, match="expired"):
        tokens.check({**claims, "exp": NOON})
    with pytest.raises(TokenError, match="not valid yet"):
        tokens.check({**claims, "nbf": NOON + 100})


async def test_a_certificate_names_user_and_groups_until_it_runs_out() -> None:
    async with Cluster() as cluster:
        subject = ((("organizationName", "dev"),), (("organizationName", "ops"),), (("commonName", "jan"),))
        certificate = {"subject": subject, "notAfter": "Jan 15 09:00:00 2027 GMT"}  # an hour after NOON
        authenticate = cluster.access.authenticator.authenticate
        assert authenticate(None, certificate) == User("jan", ("dev", "ops", "system:authenticated"))
        assert authenticate("Bearer nonsense", certificate).name == "jan"
        cluster.now += 3601
        with pytest.raises(Unauthorized):
            authenticate(None, certificate)
        with pytest.raises(Unauthorized):
            authenticate(None, {"subject": ((("organizationName", "system:masters"),),)})
        assert authenticate(None, None) == ANONYMOUS
        for wrong in ("Bearer x", "Bearer ", "Basic YTpi", "nonsense"):
            with pytest.raises(Unauthorized):
                authenticate(wrong, None)
        cluster.access.authenticator.sources.append(
            lambda token: User("system:bootstrap", ("joiners",)) if token == "K10::server:x" else None
        )
        assert authenticate("Bearer K10::server:x", None).groups == ("joiners", "system:authenticated")


async def _request(cluster: Cluster, user: User = SYSTEM, account: str = "default", **spec: Any) -> str:
    answer = await cluster.access.token_requests.create("default", account, {"spec": spec}, Context(user))
    token: str = answer["status"]["token"]
    return token


async def test_a_token_dies_with_what_it_is_bound_to() -> None:
    async with Cluster() as cluster:
        await cluster.node("n1")
        await cluster.pod("web", "n1")
        ref = {"kind": "Pod", "apiVersion": "v1", "name": "web"}
        loose = await _request(cluster)
        bound = await _request(cluster, node_user("n1"), boundObjectRef=ref, expirationSeconds=3607)
        authenticate = cluster.access.authenticator.authenticate
        user = authenticate(f"Bearer {bound}", None)
        assert user.name == "system:serviceaccount:default:default"
        assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated")
        assert dict(user.extra)["authentication.kubernetes.io/pod-name"] == ("web",)
        assert dict(user.extra)["authentication.kubernetes.io/node-name"] == ("n1",)
        await cluster.delete(PODS, "web", "default")
        with pytest.raises(Unauthorized):
            authenticate(f"Bearer {bound}", None)
        await cluster.pod("web", "n1")  # the same name is not the same pod
        with pytest.raises(Unauthorized):
            authenticate(f"Bearer {bound}", None)
        assert authenticate(f"Bearer {loose}", None).name == user.name
        await cluster.delete(SERVICEACCOUNTS, "default", "default")
        await cluster.create(SERVICEACCOUNTS, "default", "default")
        with pytest.raises(Unauthorized):
            authenticate(f"Bearer {loose}", None)
        fresh = await _request(cluster, expirationSeconds=600)
        cluster.now += 599
        assert authenticate(f"Bearer {fresh}", None).name == user.name
        cluster.now += 1
        with pytest.raises(Unauthorized):
            authenticate(f"Bearer {fresh}", None)


async def test_token_requests_that_are_refused() -> None:
    async with Cluster() as cluster:
        for node in ("n1", "n2"):
            await cluster.node(node)
        await cluster.pod("web", "n1")
        await cluster.create(SERVICEACCOUNTS, "robot", "default")
        ref = {"kind": "Pod", "apiVersion": "v1", "name": "web"}
        refused: list[tuple[type[ApiError], str, User, dict[str, Any]]] = [
            (Invalid, "less than 10 minutes", SYSTEM, {"expirationSeconds": 10}),
            (NotFound, 'pods "gone" not found', SYSTEM, {"boundObjectRef": {**ref, "name": "gone"}}),
            (Conflict, "does not match the UID in record", SYSTEM, {"boundObjectRef": {**ref, "uid": "other"}}),
            (BadRequest, "cannot bind token", SYSTEM, {"boundObjectRef": {**ref, "kind": "Deployment"}}),
            (BadRequest, "different serviceaccount", SYSTEM, {"boundObjectRef": ref, "account": "robot"}),
            (NotFound, 'serviceaccounts "nobody" not found', SYSTEM, {"account": "nobody"}),
            (Forbidden, "not bound to a pod", node_user("n1"), {}),
            (Forbidden, "different node", node_user("n2"), {"boundObjectRef": ref}),
        ]
        for kind, words, user, spec in refused:
            with pytest.raises(kind, match=words):
                await _request(cluster, user, **spec)


async def test_reviews() -> None:
    async with Cluster() as cluster:
        await cluster.pod("web")
        token = await _request(cluster)

        async def ask(resource: str, spec: dict[str, Any], user: User = SYSTEM, group: str = "authorization") -> Any:
            row = cluster.row(GVR(f"{group}.k8s.io", "v1", resource))
            obj = {"kind": row.kind, "metadata": {"namespace": "default"}, "spec": spec}
            return (await cluster.access.reviews[row.gvr](row, obj, Context(user)))["status"]

        status = await ask("tokenreviews", {"token": token}, group="authentication")
        assert status["authenticated"]
        assert status["user"]["username"] == "system:serviceaccount:default:default"
        other = await ask("tokenreviews", {"token": token, "audiences": ["vault"]}, group="authentication")
        assert "authenticated" not in other
        assert "another audience" in other["error"]
        with pytest.raises(Invalid, match=r"spec.token: Required value"):
            await ask("tokenreviews", {}, group="authentication")
        me = await ask("selfsubjectreviews", {}, person("jan", "dev"), "authentication")
        assert me["userInfo"] == {"username": "jan", "groups": ["dev", "system:authenticated"]}

        pods = {"verb": "list", "resource": "pods", "namespace": "default"}
        everything = await ask("selfsubjectaccessreviews", {"resourceAttributes": pods}, SYSTEM)
        assert everything["allowed"]
        assert await ask("selfsubjectaccessreviews", {"resourceAttributes": pods}, person("jan")) == {"allowed": False}
        path = {"nonResourceAttributes": {"verb": "get", "path": "/version"}, "user": "jan"}
        allowed = await ask("subjectaccessreviews", {**path, "groups": ["system:authenticated"]})
        assert allowed["allowed"]
        assert allowed["reason"].startswith('RBAC: allowed by ClusterRoleBinding "system:')
        assert not (await ask("subjectaccessreviews", path))["allowed"]
        own = {"fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n1"]}]}}
        node = {"user": "system:node:n1", "groups": ["system:nodes"]}
        assert (await ask("subjectaccessreviews", {**node, "resourceAttributes": {**pods, **own}}))["allowed"]
        assert not (await ask("subjectaccessreviews", {**node, "resourceAttributes": pods}))["allowed"]
        with pytest.raises(Invalid, match="exactly one of"):
            await ask("subjectaccessreviews", {"user": "jan"})
        with pytest.raises(Invalid, match="at least one of user or group"):
            await ask("subjectaccessreviews", {"resourceAttributes": pods})
        with pytest.raises(Invalid, match=r"metadata.namespace"):
            await ask("localsubjectaccessreviews", {"user": "jan", "resourceAttributes": {**pods, "namespace": "x"}})
        rules = await ask("selfsubjectrulesreviews", {"namespace": "default"}, person("jan"))
        assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]} in rules["resourceRules"]  # noqa: E501  # fmt: skip
        assert any("/version" in rule["nonResourceURLs"] for rule in rules["nonResourceRules"])
