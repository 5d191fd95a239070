"""OpenAPI as kubectl reads it: v2 in protobuf for 1.20, v3 for today's, and custom resources added to both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.openapi import openapi_v2, openapi_v3, openapi_v3_index
from parkube.controlplane.registry.resource import FieldLabel, Strategy
from parkube.controlplane.registry.schemas import generated
from parkube.kubeapi.errors import Obj

CATALOGUE = builtin_catalogue()
GVK = "x-kubernetes-group-version-kind"
Message = dict[int, list[Any]]


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def message(data: bytes) -> Message:
    """Fields by number: bytes for length-delimited ones, integers for varints."""
    found: Message = {}
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 2:
            length, at = varint(data, at)
            found.setdefault(tag >> 3, []).append(data[at : at + length])
            at += length
        elif tag & 7 == 1:
            found.setdefault(tag >> 3, []).append(data[at : at + 8])
            at += 8
        else:
            assert tag & 7 == 0
            value, at = varint(data, at)
            found.setdefault(tag >> 3, []).append(value)
    return found


def named(entries: list[bytes]) -> Iterator[tuple[str, Message]]:
    for entry in entries:
        fields = message(entry)
        yield fields[1][0].decode(), message(fields[2][0]) if 2 in fields else {}


def extensions(entries: list[bytes]) -> Obj:
    """Vendor extensions, whose YAML is what readers look at."""
    return {name: orjson.loads(value[2][0]) for name, value in named(entries)}


class Document:
    """A decoded v2 document."""

    def __init__(self, data: bytes) -> None:
        top = message(data)
        assert top[1] == [b"2.0"]
        self.definitions = {name: body for part in top[9] for name, body in named(message(part)[1])}
        self.paths = {name: body for part in top[8] for name, body in named(message(part)[2])}


@pytest.fixture(scope="module")
def document() -> Document:
    return Document(openapi_v2(CATALOGUE, protobuf=True))


def test_protobuf_and_json_say_the_same(document: Document) -> None:
    plain = orjson.loads(openapi_v2(CATALOGUE))
    assert set(plain["definitions"]) == set(document.definitions)
    assert set(plain["paths"]) == set(document.paths)
    for name, definition in plain["definitions"].items():
        body = document.definitions[name]
        fields = [key for key, _ in named(message(body[25][0]).get(1, []))] if 25 in body else []
        assert sorted(fields) == sorted(definition.get("properties", {})), name
        assert extensions(body.get(31, [])) == {k: v for k, v in definition.items() if k.startswith("x-")}
        assert [one.decode() for one in body.get(19, [])] == definition.get("required", [])


def test_every_kind_can_be_patched_with_a_dry_run(document: Document) -> None:
    """What kubectl 1.20 looks for before it applies or creates anything."""
    found = {}
    for body in document.paths.values():
        for patch in body.get(8, []):
            operation = message(patch)
            gvk = extensions(operation[13])[GVK]
            names = set()
            for item in operation[8]:
                parameter = message(message(item)[1][0])
                if 2 in parameter:
                    query = message(parameter[2][0]).get(3)
                    names |= {message(one)[4][0].decode() for one in query or ()}
            found[gvk["group"], gvk["version"], gvk["kind"]] = names
    for resource in CATALOGUE:
        if not resource.virtual:
            names = found[resource.gvr.group, resource.gvr.version, resource.kind]
            assert {"dryRun", "fieldValidation", "fieldManager"} <= names


def test_patch_keys_are_in_the_protobuf(document: Document) -> None:
    spec = document.definitions["io.k8s.api.core.v1.PodSpec"]
    containers = dict(named(message(spec[25][0])[1]))["containers"]
    marks = extensions(containers[31])
    assert marks["x-kubernetes-patch-merge-key"] == "name"
    assert marks["x-kubernetes-patch-strategy"] == "merge"
    assert marks["x-kubernetes-list-map-keys"] == ["name"]
    port = dict(named(message(document.definitions["io.k8s.api.core.v1.HTTPGetAction"][25][0])[1]))["port"]
    assert port[1] == [b"#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def test_no_reference_dangles() -> None:
    plain = orjson.loads(openapi_v2(CATALOGUE))
    known = {"#/definitions/" + name for name in plain["definitions"]}
    assert set(references(plain)) <= known
    for version in orjson.loads(openapi_v3_index(CATALOGUE))["paths"]:
        content = openapi_v3(CATALOGUE, version)
        assert content is not None
        v3 = orjson.loads(content)
        known = {"#/components/schemas/" + name for name in v3["components"]["schemas"]}
        assert set(references(v3)) <= known, version


def test_v3_has_a_document_for_each_group_version() -> None:
    index = orjson.loads(openapi_v3_index(CATALOGUE))["paths"]
    assert set(index) == {resource.gvr.prefix.lstrip("/") for resource in CATALOGUE}
    assert index["apis/apps/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/apps/v1?hash=")
    assert openapi_v3(CATALOGUE, "apis/nowhere/v1") is None
    assert openapi_v3(CATALOGUE, "../secret") is None


@pytest.mark.parametrize("version", ["apps/v1", "extensions/v1beta1"])
def test_v3_says_what_kubectl_asks_before_it_lets_the_server_validate(version: str) -> None:
    content = openapi_v3(CATALOGUE, f"apis/{version}")
    assert content is not None
    document = orjson.loads(content)
    patch = document["paths"][f"/apis/{version}/namespaces/{{namespace}}/deployments/{{name}}"]["patch"]
    group, _, number = version.partition("/")
    assert patch[GVK] == {"group": group, "version": number, "kind": "Deployment"}
    assert {"fieldValidation", "dryRun"} <= {parameter["name"] for parameter in patch["parameters"]}
    kinds = [body[GVK] for body in document["components"]["schemas"].values() if GVK in body]
    assert [{"group": group, "kind": "Deployment", "version": number}] in kinds
    replicas = next(
        body["properties"]["replicas"] for name, body in document["components"]["schemas"].items()
        if name.endswith(".DeploymentSpec")
    )  # fmt: skip
    assert replicas["type"] == "integer"
    assert "description" in replicas


@pytest.fixture
def with_door() -> Catalogue:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object", "description": "What it is to be.",
                "properties": {
                    "colour": {"type": "string", "nullable": True},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}},
                    "port": {"x-kubernetes-int-or-string": True},
                    "inner": {"type": "object", "x-kubernetes-embedded-resource": True, "required": ["spec"],
                              "properties": {"spec": {"type": "object"}}},
                },
                "required": ["colour", "port"],
                "oneOf": [{"required": ["colour"]}],
            }
        },
    }  # fmt: skip
    catalogue = builtin_catalogue()
    catalogue.add(row("park.example", "v1", "doors", "Door", Strategy(), schema=schema, crd="doors.park.example",
                      subresources=("status", "scale")))  # fmt: skip
    return catalogue


def test_custom_resources_are_added_and_go_again(with_door: Catalogue) -> None:
    before = Document(openapi_v2(CATALOGUE, protobuf=True))
    after = Document(openapi_v2(with_door, protobuf=True))
    assert set(after.definitions) - set(before.definitions) == {"example.park.v1.Door", "example.park.v1.DoorList"}
    door = after.definitions["example.park.v1.Door"]
    assert extensions(door[31])[GVK] == [{"group": "park.example", "kind": "Door", "version": "v1"}]
    plain = orjson.loads(openapi_v2(with_door))["definitions"]["example.park.v1.Door"]["properties"]["spec"]
    assert "oneOf" not in plain
    assert "type" not in plain["properties"]["colour"]  # nullable: v2 has no word for it
    assert "properties" not in plain["properties"]["free"]
    assert plain["required"] == ["port"]  # a null may stand for the other, and v2 has no null
    inner = plain["properties"]["inner"]
    assert (set(inner["properties"]), inner["required"]) == (
        {"apiVersion", "kind", "metadata", "spec"}, ["spec", "kind", "apiVersion"]
    )  # fmt: skip
    content = openapi_v3(with_door, "apis/park.example/v1")
    assert content is not None
    spec = orjson.loads(content)["components"]["schemas"]["example.park.v1.Door"]["properties"]["spec"]
    assert spec["oneOf"] == [{"required": ["colour"]}]
    assert "apis/park.example/v1" in orjson.loads(openapi_v3_index(with_door))["paths"]
    gvr = next(resource.gvr for resource in with_door if resource.crd)
    with_door.remove(gvr)
    assert openapi_v3(with_door, "apis/park.example/v1") is None
    assert openapi_v2(with_door) == openapi_v2(CATALOGUE)


def test_a_definition_that_keeps_unknown_fields_names_none_in_v2() -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": "Anything.",
              "properties": {"spec": {"type": "object"}}}  # fmt: skip
    catalogue = builtin_catalogue()
    field = FieldLabel("spec.colour", lambda obj: "")
    catalogue.add(row("park.example", "v1", "doors", "Door", Strategy(), schema=schema, crd="doors.park.example",
                      fields=(field,)))  # fmt: skip
    selectable = {"x-kubernetes-selectable-fields": [{"fieldPath": "spec.colour"}]}
    kind = {GVK: [{"group": "park.example", "kind": "Door", "version": "v1"}]}
    plain = orjson.loads(openapi_v2(catalogue))["definitions"]["example.park.v1.Door"]
    assert plain == {"type": "object", **kind, **selectable}
    content = openapi_v3(catalogue, "apis/park.example/v1")
    assert content is not None
    full = orjson.loads(content)["components"]["schemas"]["example.park.v1.Door"]
    assert {**kind, **selectable}.items() <= full.items()
    assert "spec" in full["properties"]


def test_the_files_are_of_this_code() -> None:
    assert (generated.folder() / generated.STAMP).read_text() == generated.stamp()
