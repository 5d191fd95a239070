"""API servers behind Services: found, asked who they are, told of in discovery, and asked in the client's name."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path
from typing import Any

import orjson
import pytest

from parkube.controlplane.apiserver.aggregating import discovered
from parkube.controlplane.main.assemble import Server
from parkube.controlplane.pki import Pki
from parkube.controlplane.registry.resource import User
from parkube.controlplane.tunnel.extensions import APISERVICES, Extension
from parkube.kubeapi.client import CONFIGMAPS, ROLES, SERVICES
from parkube.kubeapi.errors import NotFound, Obj
from tests.fakes.apiserver import Line
from tests.unit.test_apiserver_proxy import Far, body_of
from tests.unit.test_apiserver_proxy import pki as pki
from tests.unit.test_apiserver_proxy import server as plain

ROOT = "/apis/wardle.example.com/v1alpha1"
ADA = User("ada", ("system:masters", "team"), "uid-7", (("scopes/x", ("read", "write")),))
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
RESOURCES = [
    {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": ["get", "list"]},
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
]
plain = plain


def answer(self: Far, method: str, target: str, head: str, body: bytes) -> bytes:
    """What the other server says."""
    said = orjson.dumps({"method": method, "target": target, "head": head, "body": body.decode()})
    if target == ROOT:
        said = orjson.dumps({"kind": "APIResourceList", "resources": RESOURCES})
    elif "watch=1" in target:
        chunk = b'{"type":"ADDED"}\n'
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk)
    status = b"201 Created" if method == "POST" else b"200 OK"
    head_lines = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nAudit-Id: 5\r\nContent-Length: %d\r\n\r\n"
    return head_lines % (status, len(said)) + said


@pytest.fixture
def server(plain: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(Far, "answer", answer)
    monkeypatch.setattr(plain.extensions, "_context", lambda bundle, unchecked: None)
    return plain


async def register(server: Server, service: str = "web") -> None:
    spec = {
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
        "service": {"namespace": "default", "name": service, "port": 80}, "insecureSkipTLSVerify": True,
    }  # fmt: skip
    await server.client.create(APISERVICES, {"metadata": {"name": "v1alpha1.wardle.example.com"}, "spec": spec})
    await asyncio.sleep(0.01)


async def look(server: Server) -> Obj:
    [one] = server.extensions.by_version.values()
    await server.extensions.look(one)
    found = await server.client.get(APISERVICES, "v1alpha1.wardle.example.com")
    [condition] = found["status"]["conditions"]
    return dict(condition)


async def test_a_server_that_answers_is_told_of_and_asked_in_the_clients_name(server: Server) -> None:
    line = Line(server, ADA)
    assert (await line.ask("GET", f"{ROOT}/namespaces/default/flunders"))[0] == 404
    await register(server)
    code, found = await line.ask("GET", f"{ROOT}/namespaces/default/flunders")
    assert (code, found["message"]) == (503, "service unavailable")  # not asked yet
    condition = await look(server)
    assert (condition["type"], condition["status"], condition["message"]) == ("Available", "True", "all checks passed")

    line.transport.take()
    line.send("POST", f"{ROOT}/namespaces/default/flunders?fieldManager=x", b'{"a":1}',
              X_Remote_User="root", X_Remote_Group="system:masters", Authorization="Bearer secret")  # fmt: skip
    said = await body_of(line)
    assert line.transport.out.startswith(b"HTTP/1.1 201")
    assert b"Audit-Id: 5" in line.transport.out
    assert (said["method"], said["body"]) == ("POST", '{"a":1}')
    assert said["target"] == f"{ROOT}/namespaces/default/flunders?fieldManager=x"
    lines = said["head"].splitlines()
    told = sorted(text for text in lines if text.lower().startswith(("x-remote", "authorization", "host")))
    assert told == [
        "host: web.default.svc", "x-remote-extra-scopes%2Fx: read", "x-remote-extra-scopes%2Fx: write",
        "x-remote-group: system:masters", "x-remote-group: team", "x-remote-uid: uid-7", "x-remote-user: ada",
    ]  # fmt: skip


async def test_discovery_tells_of_both_servers_and_the_others_documents_are_its_own(server: Server) -> None:
    line = Line(server, ADA)
    before = (await line.ask("GET", "/apis"))[1]
    await register(server)
    await look(server)
    _, groups = await line.ask("GET", "/apis")
    assert len(groups["groups"]) == len(before["groups"]) + 1
    assert groups["groups"][-1]["preferredVersion"]["groupVersion"] == "wardle.example.com/v1alpha1"
    assert (await line.ask("GET", "/apis/wardle.example.com"))[1]["kind"] == "APIGroup"
    _, listed = await line.ask("GET", "/apis", Accept=AGGREGATED)
    [group] = [item for item in listed["items"] if item["metadata"]["name"] == "wardle.example.com"]
    [version] = group["versions"]
    assert (version["freshness"], [r["resource"] for r in version["resources"]]) == ("Current", ["flunders"])
    assert version["resources"][0]["scope"] == "Namespaced"
    assert version["resources"][0]["subresources"][0]["subresource"] == "status"
    line.transport.take()
    line.send("GET", ROOT)
    assert (await body_of(line))["resources"] == RESOURCES
    watch = Line(server, ADA)
    watch.send("GET", f"{ROOT}/flunders?watch=1")
    assert b'{"type":"ADDED"}' in await watch.until(b"0\r\n\r\n")


async def test_rights_are_asked_here_first(server: Server) -> None:
    await register(server)
    await look(server)
    nobody = Line(server, User("bob", ("system:authenticated",)))
    code, found = await nobody.ask("GET", f"{ROOT}/namespaces/default/flunders")
    assert code == 403
    assert 'cannot list resource "flunders" in API group "wardle.example.com"' in found["message"]


async def test_why_a_server_cannot_be_had_is_said(server: Server, monkeypatch: Any) -> None:
    await register(server, "gone")
    assert (await look(server))["reason"] == "ServiceNotFound"
    await server.client.create(SERVICES, {"metadata": {"name": "gone"}, "spec": {"ports": [{"port": 80}]}}, "default")
    assert (await look(server))["reason"] == "MissingEndpoints"
    await server.client.delete(APISERVICES, "v1alpha1.wardle.example.com")
    await asyncio.sleep(0.01)
    assert not server.extensions.by_version
    monkeypatch.setattr(Far, "answer", lambda *_: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    await register(server)
    condition = await look(server)
    assert condition["reason"] == "FailedDiscoveryCheck"
    assert condition["message"].endswith("bad status from /apis/wardle.example.com/v1alpha1: 403")
    [one] = server.extensions.by_version.values()
    assert discovered(one)["freshness"] == "Stale"


def test_one_that_the_server_serves_itself_is_no_extension() -> None:
    resources = [{"name": "lost/status", "kind": "Lost"}]
    one = Extension("v1.x", "x", "v1", "ns", "svc", "443", b"", unchecked=False, available=True, resources=resources)
    assert discovered(one) == {"version": "v1", "resources": [], "freshness": "Current"}
    assert one.host == "svc.ns.svc"


async def test_others_learn_whom_to_believe(server: Server, pki: Pki) -> None:
    found = await server.client.get(CONFIGMAPS, "extension-apiserver-authentication", "kube-system")
    assert found["data"]["requestheader-client-ca-file"] == pki.header_ca.decode()
    assert found["data"]["client-ca-file"] == pki.client_ca.pem.decode()
    role = await server.client.get(ROLES, "extension-apiserver-authentication-reader", "kube-system")
    assert role["rules"][0]["resourceNames"] == ["extension-apiserver-authentication"]
    with pytest.raises(NotFound):
        await server.client.get(APISERVICES, "v1.apps")


def test_the_certificate_of_a_server_is_checked_by_its_bundle(pki: Pki, tmp_path: Path) -> None:
    context = pki.extension_ssl_context(pki.server_ca, False)
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert len(context.get_ca_certs()) == 1
    assert pki.extension_ssl_context(b"", True).verify_mode == ssl.CERT_NONE
    with pytest.raises(ValueError, match="unable to load root certificates"):
        pki.extension_ssl_context(base64.b64decode("AAAA"), False)
