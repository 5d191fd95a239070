"""Paths to targets, Accept headers to forms, bodies to values, ages to words: the pure parts of the API server."""

from __future__ import annotations

from typing import Any

import pytest

from parkube.controlplane.apiserver import params
from parkube.controlplane.apiserver.discovery import Discovery, _rank
from parkube.controlplane.apiserver.http import Request
from parkube.controlplane.apiserver.negotiation import Form, decode, form
from parkube.controlplane.apiserver.router import target
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.kubeapi.errors import BadRequest, NotAcceptable, UnsupportedMediaType

CATALOGUE = builtin_catalogue()


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", {}, ("list", "pods", "", "", "")),
        ("GET", "/api/v1/pods", {"watch": "1"}, ("watch", "pods", "", "", "")),
        ("GET", "/api/v1/watch/namespaces/a/pods", {}, ("watch", "pods", "a", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", {}, ("get", "pods", "a", "b", "")),
        ("GET", "/api/v1/namespaces/a/pods/b/log", {"follow": "true"}, ("get", "pods", "a", "b", "log")),
        ("POST", "/api/v1/namespaces/a/pods/b/eviction", {}, ("create", "pods", "a", "b", "eviction")),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments", {}, ("deletecollection", "deployments", "a", "", "")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", {}, ("patch", "deployments", "a", "d", "scale")),
        ("GET", "/api/v1/namespaces", {}, ("list", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", {}, ("get", "namespaces", "a", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", {}, ("update", "namespaces", "a", "a", "finalize")),
        ("HEAD", "/api/v1/nodes/n", {}, ("get", "nodes", "", "n", "")),
    ],
)
def test_targets(method: str, path: str, query: dict[str, str], expected: tuple[str, ...]) -> None:
    at = target(method, path, query, CATALOGUE)
    assert at is not None
    assert (at.verb, at.gvr.resource, at.namespace, at.name, at.subresource) == expected
    assert at.row is not None


@pytest.mark.parametrize("path", ["/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/healthz/x"])
def test_paths_that_are_no_resources(path: str) -> None:
    assert target("GET", path, {}, CATALOGUE) is None


def test_what_is_not_served_has_no_row() -> None:
    at = target("GET", "/apis/nope.io/v1/things", {}, CATALOGUE)
    assert at is not None
    assert at.row is None


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Form()),
        ("application/json, */*", Form()),
        ("application/yaml", Form(yaml=True)),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Form("Table", "v1"),
        ),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Form()),
        ("application/vnd.kubernetes.protobuf, */*", Form(protobuf=True)),
        ("application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json", Form()),
        (
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
            Form("PartialObjectMetadata", "v1", protobuf=True),
        ),
        ("application/vnd.kubernetes.protobuf;q=0.1,application/json;q=0.5,application/yaml;q=0.9", Form(yaml=True)),
    ],
)
def test_forms(accept: str, expected: Form) -> None:
    assert form(accept) == expected


def test_a_form_that_cannot_be_given() -> None:
    with pytest.raises(NotAcceptable):
        form("application/vnd.kubernetes.protobuf", typed=False)  # a custom resource
    with pytest.raises(NotAcceptable):
        form("application/json;as=Table;g=meta.k8s.io;v=v1", tables=False)  # a review
    with pytest.raises(NotAcceptable):
        form("application/cbor")


def test_a_custom_resource_is_json_for_those_who_would_rather_have_protobuf() -> None:
    assert form("application/vnd.kubernetes.protobuf, */*", typed=False) == Form()


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b'{"a":1}', "application/json", {"a": 1}),
        (b"", "application/json", None),
        (b"a: 2020-01-01\n", "application/yaml", {"a": "2020-01-01"}),
        (b'[{"op":"remove","path":"/a"}]', "application/json-patch+json", [{"op": "remove", "path": "/a"}]),
    ],
)
def test_bodies(body: bytes, kind: str, expected: Any) -> None:
    assert decode(body, kind) == expected


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a":', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"[" * 2000, "application/json"),
        (b"a: [", "application/yaml"),
        (b"a: &x [b]\nc: *x\n", "application/yaml"),
        (b"\x00", "application/yaml"),
    ],
)
def test_bodies_that_cannot_be_read(body: bytes, kind: str) -> None:
    with pytest.raises(BadRequest):
        decode(body, kind)


def test_a_body_in_a_form_that_is_not_read() -> None:
    with pytest.raises(UnsupportedMediaType):
        decode(b"\xa0", "application/cbor")


def test_versions_by_preference() -> None:
    versions = ["v1alpha1", "v1beta2", "v2", "foo", "v1", "v1beta1", "v11alpha2", "v10"]
    assert sorted(versions, key=_rank) == ["v10", "v2", "v1", "v1beta2", "v1beta1", "v11alpha2", "v1alpha1", "foo"]


LIST = "application/json;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"


class Asked:
    def __init__(self, path: str, **headers: str) -> None:
        self.path, self.headers = path, headers


def test_discovery_in_both_forms_lists_extensions_after_apps() -> None:
    import orjson

    discovery = Discovery(CATALOGUE, "127.0.0.1:6443")
    plain = discovery.handle(Asked("/apis"))  # type: ignore[arg-type]
    assert plain is not None
    names = [g["name"] for g in orjson.loads(plain.body)["groups"]]
    assert names.index("apps") < names.index("extensions")
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    v2 = discovery.handle(Asked("/apis", accept=accept))  # type: ignore[arg-type]
    assert v2 is not None
    assert b"as=APIGroupDiscoveryList" in v2.content_type
    assert [item["metadata"]["name"] for item in orjson.loads(v2.body)["items"]] == names
    tag = dict(v2.headers)[b"ETag"].decode()
    again = discovery.handle(Asked("/apis", **{"accept": accept, "if-none-match": tag}))  # type: ignore[arg-type]
    assert again is not None
    assert again.status == 304
    core = discovery.handle(Asked("/api/v1"))  # type: ignore[arg-type]
    assert core is not None
    listed = {r["name"]: r for r in orjson.loads(core.body)["resources"]}
    assert listed["pods/eviction"]["kind"] == "Eviction"
    assert listed["pods/eviction"]["group"] == "policy"
    assert discovery.handle(Asked("/apis/nope/v1")) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b'{"a": {"b": 1, "c": ["x\\": y", {"d": 1}]}}', "application/json", []),
        (b'{"a":{"b":1,"b":2},"l":[{"c":1},{"c":1,"c":2}]}', "application/json",
         ['duplicate field "a.b"', 'duplicate field "l[1].c"']),
        (b"a: 1\nb:\n  c: 1\n  c: 2\na: 2\n", "application/yaml",
         ['line 4: key "c" already set in map', 'line 5: key "a" already set in map']),
        (b"a: 1\nb: [{c: 1}, {c: 2}]\n", "application/yaml", []),
    ],
)  # fmt: skip
def test_fields_named_twice(body: bytes, kind: str, expected: list[str]) -> None:
    found: list[str] = []
    decode(body, kind, found)
    assert found == expected


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", b"apidiscovery.k8s.io/v2"),
        ("/api", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", b"v2beta1"),
        (
            "/apis",
            "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json",
            b"APIGroupList",
        ),
        (
            "/apis/apps/v1",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList, */*",
            b"APIResourceList",
        ),
        ("/apis", "application/vnd.kubernetes.protobuf", b"k8s\x00"),
        ("/api/v1", "application/vnd.kubernetes.protobuf, */*", b"k8s\x00"),
    ],
)
def test_discovery_in_the_form_asked_for(path: str, accept: str, expected: bytes) -> None:
    answer = Discovery(CATALOGUE, "").handle(Asked(path, accept=accept))  # type: ignore[arg-type]
    assert answer is not None
    assert expected in answer.body


def test_discovery_that_cannot_be_given_so() -> None:
    for path, accept in (
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList"),
        ("/apis/apps", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/api", "text/html"),
    ):
        with pytest.raises(NotAcceptable):
            Discovery(CATALOGUE, "").handle(Asked(path, accept=accept))  # type: ignore[arg-type]


def test_the_options_of_a_stream_are_in_their_fields_types() -> None:
    def options(kind: str, query: str) -> Any:
        connection: Any = None  # nothing is answered
        request = Request("POST", b"/", {}, connection)
        request.raw_query = query
        return params.connect_options(request, "v1", kind)

    assert options("PodAttachOptions", "stdin=true&stdout=1&stderr=false&tty&container=app&other=x") == {
        "kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "stdout": True, "stderr": False, "tty": True,
        "container": "app",
    }  # fmt: skip
    assert options("PodExecOptions", "command=ls&command=-l")["command"] == ["ls", "-l"]
    assert options("PodPortForwardOptions", "ports=80&ports=443")["ports"] == [80, 443]
    with pytest.raises(BadRequest, match="invalid syntax"):
        options("PodPortForwardOptions", "ports=http")
