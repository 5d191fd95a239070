"""What Go's typed clients do unless told otherwise: protobuf in both directions, watches in frames."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from parkube.controlplane.apiserver.protobuf import decode, encode
from parkube.controlplane.main.assemble import Server
from tests.fakes.apiserver import Line, chunk_bodies

PROTOBUF = "application/vnd.kubernetes.protobuf"
CMS = "/api/v1/namespaces/default/configmaps"
ACCEPT = {"accept": f"{PROTOBUF}, */*", "content_type": PROTOBUF}


class Typed(Line):
    """A client that speaks protobuf."""

    async def call(self, method: str, path: str, obj: dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
        body = None if obj is None else encode(obj)
        status, content = await self.ask(method, path, body, **(ACCEPT | headers))
        return status, content if isinstance(content, dict) else decode(content)


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}}


async def test_create_get_list_update_delete(server: Server) -> None:
    typed = Typed(server)
    status, made = await typed.call("POST", CMS, config_map("a"))
    assert (status, made["kind"], made["data"]) == (201, "ConfigMap", {"k": "v"})
    assert f"Content-Type: {PROTOBUF}" in typed.head
    made["data"]["k"] = "w"
    assert (await typed.call("PUT", CMS + "/a", made))[1]["data"] == {"k": "w"}
    listed = (await typed.call("GET", CMS))[1]
    assert (listed["kind"], listed["items"][-1]["data"]) == ("ConfigMapList", {"k": "w"})
    assert listed["metadata"]["resourceVersion"]
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "another"}}
    status, refused = await typed.call("DELETE", CMS + "/a", options)
    assert (status, refused["kind"], refused["reason"]) == (409, "Status", "Conflict")
    status, done = await typed.call("DELETE", CMS + "/a", options | {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (status, done["status"], done["details"]["name"]) == (200, "Success", "a")


async def test_only_metadata(server: Server) -> None:
    typed = Typed(server)
    await typed.call("POST", CMS, config_map("a"))
    accept = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert (await typed.call("GET", CMS + "/a", accept=accept))[1]["kind"] == "PartialObjectMetadata"
    accept = f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = (await typed.call("GET", CMS, accept=accept))[1]
    assert listed["items"][-1]["metadata"]["name"] == "a"
    assert "data" not in listed["items"][-1]


async def test_a_watch_in_frames(server: Server) -> None:
    typed, writer = Typed(server), Line(server)
    typed.send("GET", f"{CMS}?watch=1&resourceVersion={server.registry.revision}", **ACCEPT)
    await writer.ask("POST", CMS, config_map("a"))
    out = await typed.until(b"ADDED")
    assert f"Content-Type: {PROTOBUF};stream=watch".encode() in out
    frame = out[out.index(b"k8s\x00") :]
    assert b"ConfigMap" in frame


async def test_reviews_and_a_pods_eviction_are_read(server: Server) -> None:
    typed = Typed(server)
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    }  # fmt: skip
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    status, answer = await typed.call("POST", path, review)
    assert (status, answer["status"]["allowed"]) == (201, True)
    status, _ = await Line(server).ask("POST", path, review, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert status == 406
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "none"}}
    status, answer = await typed.call("POST", "/api/v1/namespaces/default/pods/none/eviction", eviction)
    assert (status, answer["message"]) == (404, 'pods "none" not found')


async def test_custom_resources_stay_json(server: Server) -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "additionalProperties": {
                    "type": "string", "default": "x"}}}}}}],
        },
    }  # fmt: skip
    typed = Typed(server)
    status, made = await typed.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    assert status == 201, made
    schema = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert schema["additionalProperties"] == {"type": "string", "default": "x"}
    path = "/apis/example.com/v1/namespaces/default/things"
    for _ in range(100):
        status, answer = await typed.call("GET", path)
        if status == 200:
            break
    assert answer["kind"] == "ThingList"
    assert "Content-Type: application/json" in typed.head
    status, answer = await typed.call("GET", path, accept=PROTOBUF)
    assert (status, orjson.dumps(answer)[:1]) == (406, b"{")


def frames(out: bytes) -> list[tuple[str, Any]]:
    """The events of a watch in protobuf: type, and the object in it."""
    body, found = chunk_bodies(out), []
    while len(body) >= 4:
        size = int.from_bytes(body[:4], "big")
        event, body = body[4 : 4 + size], body[4 + size :]
        found.append((event[2 : 2 + event[1]].decode(), decode(event[event.index(b"k8s\x00") :])))
    return found


async def test_a_watch_list_begins_with_what_there_is_and_says_when_that_ends(server: Server) -> None:
    typed, writer = Typed(server), Line(server)
    await writer.ask("POST", CMS, config_map("a"))
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    typed.send("GET", f"{CMS}?{query}", **ACCEPT)
    out = await typed.until(b"initial-events-end")
    events = frames(out)
    assert [(kind, obj["metadata"].get("name")) for kind, obj in events[:-1]][-1] == ("ADDED", "a")
    kind, mark = events[-1]
    assert (kind, mark["kind"]) == ("BOOKMARK", "ConfigMap")
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["metadata"]["resourceVersion"]) >= int(events[-2][1]["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("watch=1&sendInitialEvents=true", "resourceVersionMatch"),
        ("watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1", "resourceVersionMatch"),
        ("sendInitialEvents=true", "sendInitialEvents"),
    ],
)
async def test_watch_lists_that_cannot_be(server: Server, query: str, field: str) -> None:
    status, refused = await Line(server).ask("GET", f"{CMS}?{query}")
    assert (status, refused["details"]["causes"][0]["field"]) == (422, field)
    assert refused["message"].startswith('ListOptions.meta.k8s.io "" is invalid: ')


async def test_an_expired_watch_is_an_error_in_a_frame(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = Typed(server)
    for number in range(3):
        await Line(server).ask("POST", CMS, config_map(f"c{number}"))
    rows = {row.gvr.resource: row for row in server.registry.catalogue}
    monkeypatch.setattr(server.registry.caches.of(rows["configmaps"]), "floor", server.registry.revision)
    typed.send("GET", f"{CMS}?watch=1&resourceVersion=1", **ACCEPT)
    kind, status = frames(await typed.until(b"Expired"))[0]
    assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
