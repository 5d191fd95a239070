"""Versions that differ in form: a webhook converts what is read, written, listed and watched."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.kubeapi.client import CRDS, GVR
from parkube.kubeapi.errors import BadRequest, InternalError, Invalid, Obj
from parkube.kubeapi.selectors import FieldSelector
from tests.fakes.cluster import Cluster
from tests.unit.test_access_dynamic import RULE, VALIDATING, Endpoint, hook

V1, V2 = GVR("parkube.io", "v1", "doors"), GVR("parkube.io", "v2", "doors")
NAME = "doors.parkube.io"
WEBHOOK: Obj = {"clientConfig": {"url": "https://c.example.com/c"}, "conversionReviewVersions": ["v1"]}


def version(name: str, field: Obj, *, storage: bool) -> Obj:
    properties = {"spec": {"type": "object", "properties": field}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    return {"name": name, "served": True, "storage": storage, "schema": schema}


def spec(**conversion: Any) -> Obj:
    """In v1 a door has its size in one word, in v2 in two numbers."""
    return {
        "group": "parkube.io", "scope": "Namespaced", "names": {"plural": "doors", "kind": "Door"},
        "conversion": {"strategy": "Webhook", "webhook": WEBHOOK, **conversion},
        "versions": [
            version("v1", {"size": {"type": "string"}}, storage=True),
            version("v2", {"width": {"type": "integer"}, "height": {"type": "integer", "default": 2}}, storage=False),
        ],
    }  # fmt: skip


class Converter:
    """Plays the webhook; `spoil` may change an answer."""

    def __init__(self, cluster: Cluster) -> None:
        cluster.custom.call = self
        self.asked: list[Obj] = []
        self.result: Obj = {"status": "Success"}
        self.spoil: Any = lambda obj: obj
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, client: Obj, body: bytes, timeout_s: float) -> bytes:
        await self.go.wait()
        review = orjson.loads(body)
        self.asked.append(review["request"])
        objects = [
            self.spoil(turned(obj, review["request"]["desiredAPIVersion"])) for obj in review["request"]["objects"]
        ]
        response = {"uid": review["request"]["uid"], "result": self.result, "convertedObjects": objects}
        return orjson.dumps({**review, "response": response})


def turned(obj: Obj, api_version: str) -> Obj:
    old, new = obj["spec"], {}
    if api_version.endswith("v2") and "size" in old:
        new = dict(zip(("width", "height"), map(int, old["size"].split("x")), strict=False))
    elif api_version.endswith("v1"):
        new = {"size": "x".join(str(old[key]) for key in ("width", "height") if key in old)}
    metadata = {**obj["metadata"], "annotations": {"turned": "yes"}, "generation": 99}
    return {**obj, "apiVersion": api_version, "metadata": metadata, "spec": new}


async def test_what_one_version_writes_the_other_reads() -> None:
    async with Cluster() as cluster:
        seen = Converter(cluster)
        await cluster.create(CRDS, NAME, spec=spec())
        await cluster.create(V1, "gate", "default", spec={"size": "3x4"})
        assert seen.asked == []  # it is stored as it came
        gate = await cluster.get(V2, "gate", "default")
        assert (gate["apiVersion"], gate["spec"]) == ("parkube.io/v2", {"width": 3, "height": 4})
        assert (gate["metadata"]["generation"], gate["metadata"]["annotations"]) == (1, {"turned": "yes"})
        await cluster.change(V2, "gate", "default", spec={"width": 5, "height": 4})
        assert (await cluster.get(V1, "gate", "default"))["spec"] == {"size": "5x4"}
        made = await cluster.create(V2, "wall", "default", spec={"width": 1})
        assert made["spec"] == {"width": 1, "height": 2}
        assert (await cluster.get(V1, "wall", "default"))["spec"] == {"size": "1x2"}
        await cluster.delete(V2, "wall", "default")
        assert await cluster.names(V1) == ["gate"]


async def test_a_list_is_converted_at_once_and_gets_the_defaults_of_its_version() -> None:
    async with Cluster() as cluster:
        seen = Converter(cluster)
        obj = spec()
        await cluster.create(CRDS, NAME, spec=obj)
        await cluster.create(V1, "a", "default", spec={"size": "3"})
        await cluster.create(V1, "b", "default", spec={"size": "1x1"})
        for one in obj["versions"]:
            one["storage"] = one["name"] == "v2"
        await cluster.change(CRDS, NAME, spec=obj)
        await cluster.create(V2, "c", "default", spec={"width": 9})
        for gvr, sizes in ((V2, [(3, 2), (1, 1), (9, 2)]), (V1, ["3", "1x1", "9x2"])):
            seen.asked.clear()
            found = (await cluster.registry.list(cluster.row(gvr), "", ListOptions())).items
            specs = [item.object()["spec"] for item in found]
            assert sizes == [one.get("size") or (one["width"], one["height"]) for one in specs]
            (request,) = seen.asked  # only those that lie under another version
            assert [len(request["objects"]), request["desiredAPIVersion"]] == [
                2 if gvr == V2 else 1,
                f"parkube.io/{gvr.version}",
            ]


async def test_a_watch_keeps_its_order_and_its_bookmarks_do_not_run_ahead() -> None:
    async with Cluster() as cluster:
        seen = Converter(cluster)
        await cluster.create(CRDS, NAME, spec=spec())
        told: list[tuple[str, Obj]] = []
        subscription = cluster.registry.watch(
            cluster.row(V2), "", WatchOptions(), lambda items: told.extend((i.type, i.object()) for i in items)
        )
        seen.go.clear()
        made = await cluster.create(V1, "gate", "default", spec={"size": "3x4"})
        await cluster.change(V1, "gate", "default", spec={"size": "3x5"})
        await cluster.delete(V1, "gate", "default")
        await cluster.settle()
        assert told == []
        assert subscription.bookmark().revision < int(made["metadata"]["resourceVersion"])
        seen.go.set()
        await cluster.settle()
        assert [(kind, obj["spec"]["height"]) for kind, obj in told] == [("ADDED", 4), ("MODIFIED", 5), ("DELETED", 5)]
        assert subscription.bookmark().revision == cluster.registry.revision
        subscription.cancel()


async def test_each_version_is_selected_by_its_own_fields() -> None:
    async with Cluster() as cluster:
        Converter(cluster)
        obj = spec()
        obj["versions"][0]["selectableFields"] = [{"jsonPath": ".spec.size"}]
        obj["versions"][1]["selectableFields"] = [{"jsonPath": ".spec.height"}]
        await cluster.create(CRDS, NAME, spec=obj)
        for name, size in (("a", "3x4"), ("b", "3x5"), ("c", "3")):
            await cluster.create(V1, name, "default", spec={"size": size})
        row = cluster.row(V2)

        async def named(gvr: GVR, selector: str) -> list[str]:
            options = ListOptions(field_selector=FieldSelector.parse(selector))
            return [item.name for item in (await cluster.registry.list(cluster.row(gvr), "", options)).items]

        assert await named(V1, "spec.size=3x4") == ["a"]
        assert await named(V2, "spec.height=2") == ["c"]  # by its default
        assert await named(V2, "spec.height!=5,metadata.name!=c") == ["a"]
        with pytest.raises(BadRequest, match=r"field label not supported: spec\.size"):
            await named(V2, "spec.size=3x4")
        told: list[tuple[str, str]] = []
        options = WatchOptions(field_selector=FieldSelector.parse("spec.height=5"))
        cluster.registry.watch(
            row, "", options, lambda items: told.extend((i.type, i.stored.name) for i in items if i.stored)
        )
        for size in ("4x5", "4x6", "5x5", "5x6"):
            await cluster.change(V1, "a", "default", spec={"size": size})
        await cluster.change(V1, "b", "default", spec={"size": "9x5"})
        await cluster.delete(V1, "b", "default")
        await cluster.settle()
        assert told == [
            ("ADDED", "b"), ("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"), ("DELETED", "a"), ("MODIFIED", "b"),
            ("DELETED", "b"),
        ]  # fmt: skip


async def test_a_webhook_that_fails_is_said_and_stores_nothing() -> None:
    async with Cluster() as cluster:
        seen = Converter(cluster)
        await cluster.create(CRDS, NAME, spec=spec())
        await cluster.create(V1, "gate", "default", spec={"size": "3x4"})
        told: list[Obj] = []
        cluster.registry.watch(
            cluster.row(V2), "", WatchOptions(), lambda items: told.extend(i.object() for i in items)
        )
        seen.result = {"status": "Failed", "message": "no such form"}
        await cluster.settle()
        assert told[-1]["message"] == "conversion webhook for parkube.io/v1, Kind=Door failed: no such form"
        with pytest.raises(InternalError, match="Kind=Door failed: no such form"):
            await cluster.get(V2, "gate", "default")
        with pytest.raises(InternalError, match="io/v2, Kind=Door failed: no such form"):
            await cluster.create(V2, "wall", "default", spec={"width": 1})
        assert await cluster.names(V1) == ["gate"]
        seen.result = {"status": "Success"}
        seen.spoil = lambda obj: {**obj, "metadata": {**obj["metadata"], "uid": "another"}}
        with pytest.raises(InternalError, match="returned invalid converted object at index 0: must have the same UID"):
            await cluster.get(V2, "gate", "default")
        # what is stored can still be taken away, and its definition with it
        await cluster.delete(CRDS, NAME)
        assert NAME not in await cluster.names(CRDS)


async def test_admission_sees_the_version_it_asks_for() -> None:
    async with Cluster() as cluster:
        Converter(cluster)
        await cluster.create(CRDS, NAME, spec=spec())
        asked = Endpoint(cluster, lambda request: {"allowed": True})
        rule = {**RULE, "apiGroups": ["parkube.io"], "apiVersions": ["v2"], "resources": ["doors"]}
        await cluster.create(VALIDATING, "v", webhooks=[hook(rules=[rule])])
        await cluster.create(V1, "gate", "default", spec={"size": "3x4"})
        assert asked.asked[-1]["object"]["spec"] == {"width": 3, "height": 4}
        assert asked.asked[-1]["requestKind"]["version"] == "v1"


@pytest.mark.parametrize(
    ("conversion", "field", "words"),
    [
        ({"strategy": "Some"}, "spec.conversion.strategy", "Unsupported value"),
        ({"strategy": "None"}, "spec.conversion.webhookClientConfig", "Forbidden: should not be set"),
        ({"webhook": None}, "spec.conversion.webhookClientConfig", "Required value"),
        ({"webhook": {**WEBHOOK, "clientConfig": {}}}, "spec.conversion.webhookClientConfig", "exactly one of url"),
        ({"webhook": {**WEBHOOK, "conversionReviewVersions": ["v9"]}},
         "spec.conversion.conversionReviewVersions", "must include at least one of v1, v1beta1"),
    ],
)  # fmt: skip
async def test_what_a_conversion_may_not_say(conversion: Obj, field: str, words: str) -> None:
    async with Cluster() as cluster:
        with pytest.raises(Invalid) as caught:
            await cluster.create(CRDS, NAME, spec=spec(**conversion))
        (cause,) = [one for one in caught.value.causes if one.field == field]
        assert words in cause.message
