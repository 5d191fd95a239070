"""The API as bytes on a connection: forms of answers, watches, special subresources, rights. No socket."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from parkube.controlplane.apiserver import watching
from parkube.controlplane.main.assemble import Server
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.client import CONFIGMAPS, NODES, PODS, SERVICEACCOUNTS
from parkube.kubeapi.errors import Conflict, Expired, TooManyRequests
from tests.fakes.apiserver import Line

CMS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def test_one_object_in_every_form(line: Line) -> None:
    status, made = await line.ask("POST", CMS, {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}})
    assert (status, made["kind"], made["apiVersion"]) == (201, "ConfigMap", "v1")
    assert (await line.ask("GET", CMS + "/a"))[1] == made
    _, table = await line.ask("GET", CMS, accept=TABLE)
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    row = next(r for r in table["rows"] if r["cells"][0] == "a")
    assert row["cells"][1] == 1
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert "data" not in row["object"]
    assert (await line.ask("GET", CMS + "?includeObject=All", accept=TABLE))[0] == 400
    _, table = await line.ask("GET", CMS + "?includeObject=Object", accept=TABLE)
    assert next(r for r in table["rows"] if r["cells"][0] == "a")["object"]["data"] == {"k": "v"}
    meta = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    _, partial = await line.ask("GET", CMS + "?labelSelector=x%3Dy", accept=meta)
    assert (partial["kind"], len(partial["items"])) == ("PartialObjectMetadataList", 1)
    _, text = await line.ask("GET", CMS + "/a", accept="application/yaml")
    assert b"kind: ConfigMap" in text
    status, answer = await line.ask("GET", CMS + "/a", accept="image/png")
    assert (status, answer["reason"]) == (406, "NotAcceptable")


async def test_a_dry_run_changes_nothing_and_unknown_fields_are_told(line: Line) -> None:
    status, made = await line.ask("POST", CMS + "?dryRun=All", {"metadata": {"name": "dry"}})
    assert (status, made["metadata"]["name"]) == (201, "dry")
    assert (await line.ask("GET", CMS + "/dry"))[0] == 404
    odd = {"metadata": {"name": "odd"}, "colour": "red"}
    assert (await line.ask("POST", CMS + "?fieldValidation=Strict", odd))[1]["message"].endswith(
        'strict decoding error: unknown field "colour"'
    )
    assert (await line.ask("POST", CMS, odd))[0] == 201
    assert 'Warning: 299 - "unknown field \\"colour\\""' in line.head
    assert (await line.ask("POST", CMS + "?fieldValidation=Perhaps", odd))[0] == 422


async def test_a_watch_lists_first_marks_the_end_and_goes_on(server: Server, line: Line) -> None:
    await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "default")
    path = CMS + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    first = await line.watch(path, 2)
    assert [e["type"] for e in first] == ["ADDED", "BOOKMARK"]
    assert first[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await server.client.patch(CONFIGMAPS, "a", {"data": {"b": "c"}}, "default")
    await server.client.delete(CONFIGMAPS, "a", "default")
    events = await line.events(4)
    assert [e["type"] for e in events[2:]] == ["MODIFIED", "DELETED"]
    revisions = [int(e["object"]["metadata"]["resourceVersion"]) for e in events]
    assert revisions == sorted(revisions)


async def test_a_watch_as_tables_names_the_columns_once(server: Server, line: Line) -> None:
    path = CMS + "?watch=1&resourceVersion=" + str(server.registry.revision)
    line.send("GET", path, accept=TABLE)
    for name in ("a", "b"):
        await server.client.create(CONFIGMAPS, {"metadata": {"name": name}}, "default")
    events = await line.events(2)
    assert events[0]["object"]["kind"] == "Table"
    assert events[0]["object"]["columnDefinitions"]
    assert not events[1]["object"]["columnDefinitions"]
    assert [e["object"]["rows"][0]["cells"][0] for e in events] == ["a", "b"]


async def test_a_watch_ends_by_itself_and_frees_the_connection(server: Server, line: Line) -> None:
    path = CMS + f"?watch=1&timeoutSeconds=1&resourceVersion={server.registry.revision}"
    line.send("GET", path)
    assert (await line.until(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
    assert (await line.ask("GET", "/version"))[0] == 200


async def test_a_watcher_that_reads_too_slowly_is_cut_off(server: Server, line: Line, monkeypatch: Any) -> None:
    monkeypatch.setattr(watching, "SLOW", 1000)
    line.send("GET", CMS + f"?watch=1&resourceVersion={server.registry.revision}")
    await line.until()
    line.transport.stuck = 2000
    await server.client.create(CONFIGMAPS, {"metadata": {"name": "a"}}, "default")
    for _ in range(20):
        await asyncio.sleep(0)
    assert line.transport.aborted


async def test_a_watch_from_before_the_memory_begins_says_expired(server: Server, line: Line, monkeypatch: Any) -> None:
    def forgotten(*anything: Any) -> None:
        raise Expired("too old resource version: 1 (5)")

    monkeypatch.setattr(server.registry, "watch", forgotten)
    event = (await line.watch(CMS + "?watch=1&resourceVersion=1", 1))[0]
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert line.transport.out.endswith(b"0\r\n\r\n")


async def _pod(server: Server, **spec: Any) -> None:
    await server.client.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
    containers = [{"name": "c", "image": "i"}]
    pod = {"metadata": {"name": "p", "labels": {"app": "p"}}, "spec": {"containers": containers, **spec}}
    await server.client.create(PODS, pod, "default")


async def test_binding(server: Server, line: Line) -> None:
    await _pod(server)
    path = "/api/v1/namespaces/default/pods/p/binding"
    assert (await line.ask("POST", path, {"target": {"kind": "Node"}}))[0] == 400
    status, answer = await line.ask("POST", path, {"target": {"kind": "Node", "name": "n1"}})
    assert (status, answer["status"]) == (201, "Success")
    pod = await server.client.get(PODS, "p", "default")
    assert pod["spec"]["nodeName"] == "n1"
    assert ("PodScheduled", "True") in [(c["type"], c["status"]) for c in pod["status"]["conditions"]]
    with pytest.raises(Conflict, match='already assigned to node "n1"'):
        await server.client.create(PODS, {"target": {"name": "n2"}}, "default", name="p", subresource="binding")


async def test_eviction_and_its_budget(server: Server) -> None:
    await _pod(server, nodeName="n1")
    await server.client.patch(PODS, "p", {"status": {"phase": "Running"}}, "default", subresource="status")
    budgets = server.registry.catalogue.by_kind("policy/v1", "PodDisruptionBudget")
    assert budgets is not None
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}}
    await server.client.create(budgets.gvr, budget, "default")
    eviction = {"metadata": {"name": "p"}}

    async def counted(**status: int) -> None:
        whole = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, **status}
        await server.client.patch(budgets.gvr, "b", {"status": whole}, "default", subresource="status")

    async def refused(words: str) -> None:
        with pytest.raises(TooManyRequests) as told:
            await server.client.create(PODS, eviction, "default", name="p", subresource="eviction")
        assert words in str(told.value.details)

    ready = {"type": "Ready", "status": "True"}
    await server.client.patch(PODS, "p", {"status": {"conditions": [ready]}}, "default", subresource="status")
    await refused("still being processed")
    await counted(observedGeneration=1)
    await refused("b needs 1 healthy pods and has 1 currently")
    await counted(observedGeneration=1, disruptionsAllowed=1)
    await server.client.create(PODS, eviction, "default", name="p", subresource="eviction")
    spent = (await server.client.get(budgets.gvr, "b", "default"))["status"]
    assert spent["disruptionsAllowed"] == 0
    assert list(spent["disruptedPods"]) == ["p"]
    gone = await server.client.get(PODS, "p", "default")
    assert "deletionTimestamp" in gone["metadata"]
    said = {c["type"]: c.get("reason") for c in gone["status"]["conditions"]}
    assert said == {"Ready": None, "DisruptionTarget": "EvictionByEvictionAPI"}


async def test_tokens_reviews_and_rights(server: Server, line: Line) -> None:
    await server.client.create(SERVICEACCOUNTS, {"metadata": {"name": "bot"}}, "default")
    path = "/api/v1/namespaces/default/serviceaccounts/bot/token"
    status, answer = await line.ask("POST", path, {"spec": {"audiences": ["https://there.test"]}})
    assert (status, answer["kind"]) == (201, "TokenRequest")
    assert (await line.ask("POST", path, {"spec": {"expirationSeconds": 5}}))[0] == 422
    bot = Line(server, User("system:serviceaccount:default:bot", ("system:serviceaccounts", "system:authenticated")))
    status, answer = await bot.ask("GET", CMS)
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert 'User "system:serviceaccount:default:bot" cannot list resource "configmaps"' in answer["message"]
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": "default"}}}
    status, answer = await bot.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert (status, answer["status"]["allowed"]) == (201, False)
    assert (await bot.ask("GET", "/version"))[0] == 200
    status, answer = await bot.ask("GET", CMS, impersonate_user="system:admin")
    assert (status, answer["reason"]) == (403, "Forbidden")
    status, _ = await line.ask("GET", CMS, impersonate_user="jane", impersonate_group="system:masters")
    assert status == 200


async def test_scale(server: Server, line: Line) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    base = "/apis/apps/v1/namespaces/default/deployments"
    assert (await line.ask("POST", base, deployment))[0] == 201
    _, scale = await line.ask("GET", base + "/d/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 1}, "a=b")
    scale["spec"]["replicas"] = 4
    assert (await line.ask("PUT", base + "/d/scale", scale))[1]["spec"] == {"replicas": 4}
    status, answer = await line.ask(
        "PATCH", base + "/d/scale", {"spec": {"replicas": 2}}, content_type="application/merge-patch+json"
    )
    assert (status, answer["spec"]) == (200, {"replicas": 2})
    old = "/apis/extensions/v1beta1/namespaces/default/deployments/d"
    assert (await line.ask("GET", old))[1]["apiVersion"] == "extensions/v1beta1"


async def test_logs_of_a_pod_whose_node_is_away(server: Server, line: Line) -> None:
    await server.client.create(NODES, {"metadata": {"name": "n1"}})
    await _pod(server, nodeName="n1")
    status, answer = await line.ask("GET", "/api/v1/namespaces/default/pods/p/log")
    assert (status, answer["reason"]) == (503, "ServiceUnavailable")
    assert "n1" in answer["message"]
    status, answer = await line.ask("POST", "/api/v1/namespaces/default/pods/p/exec?command=ls")
    assert status == 400


async def test_what_agents_use_is_mounted(server: Server) -> None:
    nobody = Line(server, User("system:anonymous", ("system:unauthenticated",)))
    status, pem = await nobody.ask("GET", "/cacerts")
    assert (status, pem[:10]) == (200, b"-----BEGIN")
    assert (await nobody.ask("GET", "/v1-parkube/tunnel"))[0] == 400
    assert (await nobody.ask("GET", "/v2/"))[0] == 403
    assert (await nobody.ask("POST", "/v1-parkube/join", {}))[0] >= 400
    assert (await nobody.ask("GET", "/readyz"))[0] == 500
    for name in list(server.health.waiting):
        server.health.done(name)
    assert (await nobody.ask("GET", "/readyz"))[1] == b"ok"


async def test_a_large_answer_is_compressed_for_those_who_take_it(line: Line) -> None:
    for number in range(3):
        body = {"metadata": {"name": f"big-{number}"}, "data": {"k": "v" * 60_000}}
        await line.ask("POST", CMS, body)
    line.transport.take()
    line.send("GET", CMS, accept_encoding="gzip")
    head, _, packed = (await line.until(b"\x1f\x8b")).partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert len(packed) < 10_000
    assert len(orjson.loads(gzip.decompress(packed))["items"]) >= 3
    assert len(orjson.dumps((await line.ask("GET", CMS))[1])) > 180_000


async def test_an_autoscaler_in_both_versions(line: Line) -> None:
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    spec = {
        "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 5, "targetCPUUtilizationPercentage": 50
    }  # fmt: skip
    assert (await line.ask("POST", path.format("v1"), {"metadata": {"name": "a"}, "spec": spec}))[0] == 201
    _, newer = await line.ask("GET", path.format("v2") + "/a")
    assert newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert newer["spec"]["minReplicas"] == 1
    _, older = await line.ask("GET", path.format("v1") + "/a")
    assert older["spec"]["targetCPUUtilizationPercentage"] == 50
    status, refused = await line.ask("POST", path.format("v2"), {"metadata": {"name": "b"}, "spec": {"maxReplicas": 0}})
    assert status == 422
    assert "spec.maxReplicas" in [cause["field"] for cause in refused["details"]["causes"]]


async def test_a_scale_is_a_table_of_its_own(line: Line) -> None:
    path = "/api/v1/namespaces/default/replicationcontrollers"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": {"a": "b"}, "template": template}
    assert (await line.ask("POST", path, {"metadata": {"name": "r"}, "spec": spec}))[0] == 201
    status, table = await line.ask("GET", f"{path}/r/scale", accept=TABLE)
    assert (status, table["kind"]) == (200, "Table")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["r", 0, 0]


async def test_events_are_found_by_the_names_of_either_group(line: Line) -> None:
    event = {
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Tested", "reportingComponent": "tester", "type": "Normal",
    }  # fmt: skip
    assert (await line.ask("POST", "/api/v1/namespaces/default/events", event))[0] == 201
    core, new = "/api/v1/events?fieldSelector=", "/apis/events.k8s.io/v1/events?fieldSelector="
    for path in (
        core + "involvedObject.kind=Pod,reportingComponent=tester", new + "regarding.kind=Pod,reason=Tested",
        new + "reportingController=tester",
    ):  # fmt: skip
        assert [item["metadata"]["name"] for item in (await line.ask("GET", path))[1]["items"]] == ["e"], path
    assert (await line.ask("GET", new + "regarding.kind=Node"))[1]["items"] == []
    status, refused = await line.ask("GET", new + "involvedObject.kind=Pod")
    assert (status, refused["message"]) == (400, "field label not supported: involvedObject.kind")


async def test_a_token_is_verified_outside_by_the_keys_that_the_issuer_publishes(server: Server, line: Line) -> None:
    """As an OpenID Connect relying party does: only what is published is used."""
    await server.client.create(SERVICEACCOUNTS, {"metadata": {"name": "robot"}}, "default")
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    _, made = await line.ask("POST", path, {"spec": {"audiences": ["vault"], "expirationSeconds": 600}})
    anybody = Line(server, User("system:serviceaccount:default:robot", ("system:serviceaccounts",)))
    status, about = await anybody.ask("GET", "/.well-known/openid-configuration")
    assert (status, about["response_types_supported"]) == (200, ["id_token"])
    assert about["jwks_uri"].endswith("/openid/v1/jwks")
    status, keys = await anybody.ask("GET", "/openid/v1/jwks")
    assert status == 200
    token = jwt.decode(made["status"]["token"], KeySet.import_key_set(keys))
    assert token.claims["iss"] == about["issuer"]
    assert (token.claims["aud"], token.claims["sub"]) == (["vault"], "system:serviceaccount:default:robot")
    assert token.header["alg"] in about["id_token_signing_alg_values_supported"]
