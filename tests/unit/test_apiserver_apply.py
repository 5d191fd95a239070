"""Server-side apply over HTTP: YAML, who must be named, conflicts as a Status, custom resources by their schema."""

from __future__ import annotations

from typing import Any

import pytest

from parkube.controlplane.main.assemble import Server
from tests.fakes.apiserver import Line

CMS = "/api/v1/namespaces/default/configmaps"
YAML = {"content_type": "application/apply-patch+yaml"}
THINGS = "/apis/example.com/v1/namespaces/default/things"
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {
                "gates": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string"}, "lane": {"type": "integer"}}}},
                "tags": {"type": "array", "items": {"type": "string"}}}}}}}}],
    },
}  # fmt: skip


async def test_yaml_is_applied_and_a_conflict_is_a_status(server: Server) -> None:
    line = Line(server)
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n"
    status, made = await line.ask("PATCH", f"{CMS}/a?fieldManager=one", body, **YAML)
    assert (status, made["metadata"]["managedFields"][0]["manager"]) == (201, "one")
    assert (await line.ask("PATCH", f"{CMS}/a?fieldManager=one", body, **YAML))[0] == 200
    other = body.replace(b"k: v", b"k: w")
    status, refused = await line.ask("PATCH", f"{CMS}/a?fieldManager=two", other, **YAML)
    assert (status, refused["reason"]) == (409, "Conflict")
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.k'
    assert refused["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    status, taken = await line.ask("PATCH", f"{CMS}/a?fieldManager=two&force=true", other, **YAML)
    assert (status, taken["data"]) == (200, {"k": "w"})


async def test_a_dry_run_applies_nothing(server: Server) -> None:
    line = Line(server)
    status, _ = await line.ask("PATCH", f"{CMS}/a?fieldManager=one&dryRun=All", {"data": {"k": "v"}}, **YAML)
    assert status == 201
    assert (await line.ask("GET", f"{CMS}/a"))[0] == 404


@pytest.mark.parametrize(
    ("query", "kind", "field"),
    [
        ("", "application/apply-patch+yaml", "fieldManager"),
        ("?force=true", "application/merge-patch+json", "force"),
        ("?fieldManager=" + "x" * 129, "application/merge-patch+json", "fieldManager"),
    ],
)
async def test_options_that_cannot_be(server: Server, query: str, kind: str, field: str) -> None:
    status, refused = await Line(server).ask("PATCH", f"{CMS}/a{query}", {}, content_type=kind)
    assert (status, refused["details"]["causes"][0]["field"]) == (422, field)
    assert refused["message"].startswith('PatchOptions.meta.k8s.io "" is invalid: ')


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "Secret"}, "does not match the expected kind"),
        ({"apiVersion": "v2"}, "Incorrect version specified in apply patch"),
        ({"metadata": {"name": "b"}}, "does not match the name on the URL"),
        ({"metadata": {"managedFields": [{}]}}, "metadata.managedFields must be nil"),
        ({"metadata": 1}, "metadata must be an object"),
        ({"data": {"k": "v"}, "unknown": 1}, ".unknown: field not declared in schema"),
        ([], "an applied configuration is an object"),
    ],
)
async def test_configurations_that_cannot_be(server: Server, body: Any, message: str) -> None:
    status, refused = await Line(server).ask("PATCH", f"{CMS}/a?fieldManager=one", body, **YAML)
    assert (status, message in refused["message"]) == (400, True), refused


async def test_updates_are_noted_under_the_clients_name(server: Server) -> None:
    line = Line(server)
    _, made = await line.ask("POST", CMS, {"metadata": {"name": "a"}, "data": {"k": "v"}}, user_agent="kubectl/v1.36")
    assert [(e["manager"], e["operation"]) for e in made["metadata"]["managedFields"]] == [("kubectl", "Update")]


async def test_custom_resources_by_their_lists(server: Server) -> None:
    line = Line(server)
    assert (await line.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD))[0] == 201

    async def apply(manager: str, spec: dict[str, Any], query: str = "") -> tuple[int, Any]:
        body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}
        for _ in range(200):
            answer = await line.ask("PATCH", f"{THINGS}/t?fieldManager={manager}{query}", body, **YAML)
            if answer[0] != 404:
                break
        return answer

    assert (await apply("one", {"gates": [{"name": "in", "lane": 1}], "tags": ["a"]}))[0] == 201
    status, both = await apply("two", {"gates": [{"name": "out", "lane": 2}]})
    assert (status, [gate["name"] for gate in both["spec"]["gates"]]) == (200, ["in", "out"])
    status, refused = await apply("two", {"tags": ["b"]})
    assert (status, refused["details"]["causes"][0]["field"]) == (409, ".spec.tags")
    status, refused = await apply("two", {"gates": [{"name": "in", "lane": 9}]})
    assert (status, refused["details"]["causes"][0]["field"]) == (409, '.spec.gates[name="in"].lane')
    status, fewer = await apply("one", {"tags": ["a"]})
    assert [gate["name"] for gate in fewer["spec"]["gates"]] == ["out"]
    status, refused = await apply("one", {"tags": ["a"], "extra": 1})
    assert (status, ".spec.extra: field not declared in schema" in refused["message"]) == (400, True)


async def test_a_custom_resource_is_replaced_only_as_it_was_read(server: Server) -> None:
    line = Line(server)
    await line.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"tags": ["a"]}}
    for _ in range(200):
        status, made = await line.ask("POST", THINGS, body)
        if status == 201:
            break
    status, refused = await line.ask("PUT", f"{THINGS}/t", body)
    assert (status, refused["message"]) == (
        422,
        'Thing.example.com "t" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
    )
    made["spec"] = {"tags": ["b"]}
    assert (await line.ask("PUT", f"{THINGS}/t", made))[0] == 200
