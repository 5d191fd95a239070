"""Custom resources at work: rows that come and go with their definition, and what objects may say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.controlplane.registry.resource import SYSTEM, Context
from parkube.controlplane.registry.watching import WatchItem
from parkube.kubeapi.client import CRDS, GVR
from parkube.kubeapi.errors import BadRequest, Invalid, MethodNotAllowed
from parkube.kubeapi.objects import find_condition
from parkube.kubeapi.selectors import FieldSelector
from tests.fakes.cluster import Cluster
from tests.unit.test_crd_schemas import definition

Obj = dict[str, Any]
GARAGES = GVR("parkube.io", "v1", "garages")
NAME = "garages.parkube.io"
SCHEMA: Obj = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object", "required": ["bays"],
            "properties": {
                "bays": {"type": "integer", "minimum": 1},
                "kind": {"type": "string", "enum": ["indoor", "outdoor"], "default": "indoor"},
                "port": {"x-kubernetes-int-or-string": True},
                "extra": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "gates": {"type": "array", "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "pulse": {"type": "integer", "default": 500}}}},
            },
        },
        "status": {"type": "object", "properties": {"phase": {"type": "string"}, "open": {"type": "integer"},
                                                    "since": {"type": "string"}}},
    },
}  # fmt: skip
COLUMNS = [
    {"name": "Bays", "type": "integer", "jsonPath": ".spec.bays"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Since", "type": "date", "jsonPath": ".status.since", "priority": 1},
    {"name": "Gates", "type": "string", "jsonPath": ".spec.gates[*].name"},
    {"name": "First", "type": "string", "jsonPath": ".spec.gates[0]"},
]


def garages(**version: Any) -> Obj:
    """The definition of garages, with status, scale and columns."""
    scale = {"specReplicasPath": ".spec.bays", "statusReplicasPath": ".status.open"}
    more = {
        "schema": {"openAPIV3Schema": SCHEMA}, "additionalPrinterColumns": COLUMNS,
        "subresources": {"status": {}, "scale": scale}, "selectableFields": [{"jsonPath": ".spec.kind"}],
    }  # fmt: skip
    obj = definition(**{**more, **version})
    obj["spec"]["names"]["shortNames"] = ["gar"]
    return obj


async def define(cluster: Cluster, obj: Obj | None = None) -> None:
    obj = obj or garages()
    await cluster.create(CRDS, obj["metadata"]["name"], spec=obj["spec"])


def conditions(obj: Obj) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in obj["status"]["conditions"]}


async def test_a_definition_is_established_and_its_objects_have_columns() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        made = await cluster.get(CRDS, NAME)
        assert conditions(made) == {"NamesAccepted": "True", "Established": "True"}
        assert made["status"]["storedVersions"] == ["v1"]
        row = cluster.row(GARAGES)
        assert (row.short_names, row.subresources, row.crd) == (("gar",), ("status", "scale"), NAME)
        spec = {"bays": 12, "gates": [{"name": "in"}, {"name": "out"}]}
        await cluster.create(GARAGES, "west", "default", spec=spec)
        await cluster.change(GARAGES, "west", "default", subresource="status", status={"phase": "Open", "since": "?"})
        obj = await cluster.get(GARAGES, "west", "default")
        cells = {column.name: column.cell(obj) for column in row.columns}
        assert cells == {
            "Name": "west", "Bays": 12, "Phase": "Open", "Since": "<invalid>", "Gates": "in out",
            "First": '{"name":"in","pulse":500}',
        }  # fmt: skip
        empty = {column.name: column.cell({"metadata": {"name": "x"}}) for column in row.columns}
        assert empty == {"Name": "x", "Bays": None, "Phase": None, "Since": None, "Gates": None, "First": None}
        selected = ListOptions(field_selector=FieldSelector.parse("spec.kind=indoor"))
        assert len((await cluster.registry.list(row, "", selected)).items) == 1


async def test_defaults_pruning_and_strictness() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        spec = {"bays": 1, "colour": "red", "extra": {"any": {"thing": 1}}, "gates": [{"name": "in", "x": 1}, {}],
                "port": "http"}  # fmt: skip
        context = Context(SYSTEM)
        made = await cluster.create(GARAGES, "west", "default", spec=spec, other=1, context=context)
        assert made["spec"] == {
            "bays": 1, "kind": "indoor", "extra": {"any": {"thing": 1}}, "port": "http",
            "gates": [{"name": "in", "pulse": 500}, {"pulse": 500}],
        }  # fmt: skip
        assert "other" not in made
        unknown = ['unknown field "spec.colour"', 'unknown field "spec.gates[0].x"', 'unknown field "other"']
        assert sorted(context.warnings) == sorted(unknown)
        strict = Context(SYSTEM, field_validation="Strict")
        with pytest.raises(BadRequest, match=r'strict decoding error: unknown field "spec\.colour"'):
            await cluster.create(GARAGES, "east", "default", spec={"bays": 1, "colour": "red"}, context=strict)
        silent = Context(SYSTEM, field_validation="Ignore")
        await cluster.create(GARAGES, "east", "default", spec={"bays": 1, "colour": "red"}, context=silent)
        assert silent.warnings == []


async def test_what_was_stored_is_read_with_the_defaults_that_its_schema_has_got_since() -> None:
    async with Cluster() as cluster:
        plain: Obj = {"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "colour": {"type": "string"}, "gates": {"type": "array", "items": {"type": "object", "properties": {
                "pulse": {"type": "integer"}}}}}}}}  # fmt: skip
        obj = garages(schema={"openAPIV3Schema": plain}, selectableFields=[])
        await define(cluster, obj)
        await cluster.create(GARAGES, "west", "default", spec={"gates": [{}]})
        fields = plain["properties"]["spec"]["properties"]
        fields["colour"]["default"] = "grey"
        fields["gates"]["items"]["properties"]["pulse"]["default"] = 500
        await cluster.change(CRDS, NAME, spec=obj["spec"])
        wanted = {"colour": "grey", "gates": [{"pulse": 500}]}
        assert (await cluster.get(GARAGES, "west", "default"))["spec"] == wanted
        row = cluster.row(GARAGES)
        (listed,) = (await cluster.registry.list(row, "", ListOptions())).items
        assert listed.object()["spec"] == wanted
        seen: list[Obj] = []
        cluster.registry.watch(row, "", WatchOptions(), lambda items: seen.extend(item.object() for item in items))
        await cluster.settle()
        assert [one["spec"] for one in seen] == [wanted]


async def test_values_are_judged_and_every_fault_is_named() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        with pytest.raises(Invalid) as caught:
            await cluster.create(
                GARAGES, "west", "default", spec={"bays": 0, "kind": "round", "port": True, "gates": [1]}
            )
        assert {cause.field for cause in caught.value.causes} == {
            "spec.bays",
            "spec.kind",
            "spec.port",
            "spec.gates[0]",
        }
        assert caught.value.message.startswith('Garage.parkube.io "west" is invalid: [')
        with pytest.raises(Invalid, match=r"spec.bays: Required value"):
            await cluster.create(GARAGES, "west", "default", spec={})


async def test_status_and_spec_are_written_apart() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        made = await cluster.create(GARAGES, "west", "default", spec={"bays": 1}, status={"phase": "Open"})
        assert "status" not in made
        assert made["metadata"]["generation"] == 1
        told = await cluster.change(
            GARAGES, "west", "default", subresource="status", spec={"bays": 9}, status={"phase": "A"}
        )
        assert (told["spec"]["bays"], told["status"], told["metadata"]["generation"]) == (1, {"phase": "A"}, 1)
        moved = await cluster.change(GARAGES, "west", "default", spec={"bays": 2}, status={"phase": "B"})
        assert (moved["spec"]["bays"], moved["status"], moved["metadata"]["generation"]) == (2, {"phase": "A"}, 2)
        same = await cluster.change(GARAGES, "west", "default", metadata={**moved["metadata"], "labels": {"a": "b"}})
        assert same["metadata"]["generation"] == 2
        scaled = await cluster.change(GARAGES, "west", "default", subresource="scale", spec={"replicas": 5})
        assert scaled["spec"] == {"replicas": 5}
        assert (await cluster.get(GARAGES, "west", "default"))["spec"]["bays"] == 5


async def test_without_the_subresource_status_is_a_field_as_any_other() -> None:
    async with Cluster() as cluster:
        await define(cluster, garages(subresources={}))
        made = await cluster.create(GARAGES, "west", "default", spec={"bays": 1}, status={"phase": "Open"})
        assert made["status"] == {"phase": "Open"}
        moved = await cluster.change(GARAGES, "west", "default", status={"phase": "Shut"})
        assert (moved["status"], moved["metadata"]["generation"]) == ({"phase": "Shut"}, 2)


async def test_a_schema_may_tighten_over_objects_that_exist() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        await cluster.create(GARAGES, "west", "default", spec={"bays": 1})
        spec = garages()["spec"]
        tight = {**SCHEMA["properties"]["spec"]["properties"], "bays": {"type": "integer", "minimum": 5}}
        properties = {**SCHEMA["properties"], "spec": {"type": "object", "properties": tight}}
        spec["versions"][0]["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
        await cluster.change(CRDS, NAME, spec=spec)
        with pytest.raises(Invalid, match="greater than or equal to 5"):
            await cluster.create(GARAGES, "east", "default", spec={"bays": 1})
        await cluster.change(GARAGES, "west", "default", spec={"bays": 1, "kind": "outdoor"})
        await cluster.change(GARAGES, "west", "default", subresource="status", status={"phase": "Open"})
        with pytest.raises(Invalid):
            await cluster.change(GARAGES, "west", "default", spec={"bays": 2})


async def test_versions_share_objects_and_differ_in_what_they_call_themselves() -> None:
    async with Cluster() as cluster:
        obj = garages()
        (v1,) = obj["spec"]["versions"]
        obj["spec"]["versions"] = [{**v1, "name": "v1beta1", "storage": False}, v1]
        await define(cluster, obj)
        beta = GVR("parkube.io", "v1beta1", "garages")
        made = await cluster.create(beta, "west", "default", spec={"bays": 1})
        assert made["apiVersion"] == "parkube.io/v1beta1"
        through = [await cluster.get(gvr, "west", "default") for gvr in (GARAGES, beta)]
        assert [one["apiVersion"] for one in through] == ["parkube.io/v1", "parkube.io/v1beta1"]
        assert through[0]["metadata"] == through[1]["metadata"]
        # the storage version moves on; what lies there under the old name is answered in the one asked for
        obj["spec"]["versions"] = [{**v1, "name": "v2"}, {**v1, "storage": False}]
        await cluster.change(CRDS, NAME, spec=obj["spec"])
        assert (await cluster.get(CRDS, NAME))["status"]["storedVersions"] == ["v1", "v2"]
        assert cluster.registry.catalogue.get(beta) is None
        for version in ("v1", "v2"):
            one = await cluster.get(GVR("parkube.io", version, "garages"), "west", "default")
            assert one["apiVersion"] == f"parkube.io/{version}"
        with pytest.raises(Invalid, match=r"status.storedVersions\[0\]"):
            await cluster.change(CRDS, NAME, spec={**obj["spec"], "versions": [{**v1, "name": "v2"}]})


async def test_objects_and_route_go_with_their_definition() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        await cluster.create(GARAGES, "west", "default", spec={"bays": 1})
        await cluster.create(
            GARAGES, "east", "kube-public", spec={"bays": 1}, metadata={"finalizers": ["parkube.io/wait"]}
        )
        await cluster.delete(CRDS, NAME)
        going = await cluster.get(CRDS, NAME)
        assert find_condition(going, "Terminating") is not None
        assert going["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
        assert await cluster.names(GARAGES) == ["east"]
        with pytest.raises(MethodNotAllowed, match="definition is terminating"):
            await cluster.create(GARAGES, "north", "default", spec={"bays": 1})
        left = await cluster.get(GARAGES, "east", "kube-public")
        await cluster.change(GARAGES, "east", "kube-public", metadata={**left["metadata"], "finalizers": []})
        assert cluster.registry.catalogue.get(GARAGES) is None
        assert NAME not in await cluster.names(CRDS)
        await define(cluster)  # and nothing of before is there again
        assert await cluster.names(GARAGES) == []


async def test_names_that_are_taken_wait_until_they_are_free() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        other = garages()
        other["metadata"]["name"] = "parks.parkube.io"
        other["spec"]["names"] = {"plural": "parks", "kind": "Park", "singular": "park", "shortNames": ["gar"]}
        await define(cluster, other)
        waiting = await cluster.get(CRDS, "parks.parkube.io")
        assert conditions(waiting) == {"NamesAccepted": "False", "Established": "False"}
        assert waiting["status"]["conditions"][0]["message"] == '"gar" is already in use'
        parks = GVR("parkube.io", "v1", "parks")
        assert cluster.registry.catalogue.get(parks) is None
        await cluster.delete(CRDS, NAME)
        assert cluster.registry.catalogue.get(parks) is not None
        assert conditions(await cluster.get(CRDS, "parks.parkube.io"))["Established"] == "True"


async def test_a_definition_never_takes_a_built_in_resource_away() -> None:
    async with Cluster() as cluster:
        evil = garages()
        evil["spec"]["group"] = "rbac.authorization.k8s.io"
        evil["spec"]["names"] = {"plural": "roles", "kind": "Role"}
        row = cluster.row(GVR("rbac.authorization.k8s.io", "v1", "roles"))
        annotations = {"api-approved.kubernetes.io": "https://example.com"}
        await cluster.create(
            CRDS, "roles.rbac.authorization.k8s.io", spec=evil["spec"], metadata={"annotations": annotations}
        )
        assert cluster.registry.catalogue.get(row.gvr) is row
        await cluster.delete(CRDS, "roles.rbac.authorization.k8s.io")
        assert cluster.registry.catalogue.get(row.gvr) is row


async def test_after_a_restart_objects_are_served_again() -> None:
    async with Cluster() as cluster:
        await define(cluster)
        await cluster.create(GARAGES, "west", "default", spec={"bays": 1})
        again = Cluster()
        again.store = again.registry.store = cluster.store
        again.registry.caches._store = cluster.store
        await again.registry.start()
        assert again.registry.catalogue.get(GARAGES) is None
        await again.custom.start()
        assert (await again.get(GARAGES, "west", "default"))["spec"]["bays"] == 1
        await again.custom.stop()
        await again.registry.close()


async def test_a_status_that_is_a_list_is_judged_when_it_is_written() -> None:
    async with Cluster() as cluster:
        schema = {"type": "object", "properties": {"statusOf": {"type": "integer", "minimum": 2}, "status": {
            "type": "array", "items": {"type": "integer", "minimum": 2}}}}  # fmt: skip
        more: Obj = {"selectableFields": [], "subresources": {"status": {}}}
        await define(cluster, garages(schema={"openAPIV3Schema": schema}, **more))
        await cluster.create(GARAGES, "west", "default")
        with pytest.raises(Invalid, match=r"status\[1\]: Invalid value: 1"):
            await cluster.change(GARAGES, "west", "default", subresource="status", status=[2, 1])
        await cluster.change(GARAGES, "west", "default", subresource="status", status=[2, 3])


async def test_a_watch_ends_when_what_it_watches_becomes_another_and_not_before() -> None:
    async with Cluster() as cluster:
        obj = garages()
        await define(cluster, obj)
        told: list[tuple[str, str]] = []

        def tell(items: Sequence[WatchItem]) -> None:
            told.extend((item.type, item.object().get("reason", "")) for item in items)

        cluster.registry.watch(cluster.row(GARAGES), "", WatchOptions(), tell)
        await cluster.create(GARAGES, "west", "default", spec={"bays": 1})
        await cluster.change(CRDS, NAME, metadata={"name": NAME, "labels": {"a": "b"}})
        await cluster.settle()
        assert told == [("ADDED", "")]
        obj["spec"]["versions"][0]["selectableFields"] = [{"jsonPath": ".spec.bays"}]
        await cluster.change(CRDS, NAME, spec=obj["spec"])
        await cluster.settle()
        assert told[1:] == [("ERROR", "Expired")]
        options = ListOptions(field_selector=FieldSelector.parse("spec.bays=1"))
        assert len((await cluster.registry.list(cluster.row(GARAGES), "", options)).items) == 1
        told.clear()
        cluster.registry.watch(cluster.row(GARAGES), "", WatchOptions(), tell)
        await cluster.delete(CRDS, NAME)
        await cluster.settle()
        assert told == [("ADDED", ""), ("DELETED", ""), ("ERROR", "Expired")]
