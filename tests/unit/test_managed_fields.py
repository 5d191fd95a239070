"""Server-side apply and managedFields: who owns what, conflicts, what goes when it is named no more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.registry.managed import ApplyConflict
from parkube.controlplane.registry.managed.fieldset import difference, intersection, paths, union
from parkube.controlplane.registry.managed.nodes import ANYTHING
from parkube.controlplane.registry.managed.walk import compare, fields_of, merge
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import CONFIGMAPS, DEPLOYMENTS, SERVICES
from parkube.kubeapi.errors import BadRequest, Conflict, NotFound
from tests.fakes.registry import make_registry, row

Obj = dict[str, Any]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = await make_registry()
    yield made
    await made.close()


def by(manager: str) -> Context:
    return Context(field_manager=manager)


def deployment(replicas: int | None = 3, image: str = "nginx", **labels: str) -> Obj:
    spec: Obj = {
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
        },
    }  # fmt: skip
    if replicas is not None:
        spec["replicas"] = replicas
    metadata: Obj = {"name": "d", **({"labels": labels} if labels else {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


class Applier:
    """One manager that applies to one object."""

    def __init__(self, registry: Registry, resource: Resource, manager: str) -> None:
        self.registry, self.resource, self.manager = registry, resource, manager

    async def __call__(self, config: Obj, *, force: bool = False, subresource: str = "") -> Obj:
        name = config["metadata"]["name"]
        obj, self.new = await self.registry.apply(
            self.resource, "default", name, config, by(self.manager), subresource, force=force
        )
        return obj


def owned(obj: Obj, manager: str, operation: str = "Apply") -> list[str]:
    for entry in obj["metadata"].get("managedFields") or ():
        if (entry["manager"], entry["operation"]) == (manager, operation):
            return list(paths(entry["fieldsV1"]))
    return []


async def test_a_first_apply_creates_and_owns_what_it_names(registry: Registry) -> None:
    apply = Applier(registry, row(registry, DEPLOYMENTS), "ci")
    made = await apply(deployment(team="a"))
    assert apply.new
    assert owned(made, "ci") == [
        ".metadata.labels.team", ".spec.replicas", ".spec.selector",
        '.spec.template.metadata.labels.app', '.spec.template.spec.containers[name="web"]',
        '.spec.template.spec.containers[name="web"].image', '.spec.template.spec.containers[name="web"].name',
        '.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"]',
        '.spec.template.spec.containers[name="web"].ports[containerPort=80,protocol="TCP"].containerPort',
    ]  # fmt: skip
    entry = made["metadata"]["managedFields"][0]
    assert (entry["apiVersion"], entry["fieldsType"], entry["time"]) == ("apps/v1", "FieldsV1", "2023-11-14T22:13:20Z")


async def test_the_same_again_writes_nothing(registry: Registry) -> None:
    apply = Applier(registry, row(registry, DEPLOYMENTS), "ci")
    first = await apply(deployment())
    again = await apply(deployment())
    assert not apply.new
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_conflict_names_field_and_manager_and_force_takes_over(registry: Registry) -> None:
    deployments = row(registry, DEPLOYMENTS)
    ci, scaler = Applier(registry, deployments, "ci"), Applier(registry, deployments, "scaler")
    await ci(deployment(3))
    only_replicas = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 5}}
    with pytest.raises(ApplyConflict) as caught:
        await scaler(only_replicas)
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "ci": .spec.replicas'
    cause = caught.value.status()["details"]["causes"][0]
    assert cause == {"reason": "FieldManagerConflict", "message": 'conflict with "ci"', "field": ".spec.replicas"}
    taken = await scaler(only_replicas, force=True)
    assert taken["spec"]["replicas"] == 5
    assert owned(taken, "scaler") == [".spec.replicas"]
    assert ".spec.replicas" not in owned(taken, "ci")
    left = await ci(deployment(None))  # it lets go of what it lost: nothing changes
    assert left["spec"]["replicas"] == 5


async def test_the_same_value_is_shared_and_goes_with_the_last_who_names_it(registry: Registry) -> None:
    deployments = row(registry, DEPLOYMENTS)
    one, two = Applier(registry, deployments, "one"), Applier(registry, deployments, "two")
    await one(deployment(team="a"))
    shared = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"team": "a"}}}
    await two(shared)
    kept = await one(deployment())
    assert kept["metadata"]["labels"] == {"team": "a"}
    gone = await two({**shared, "metadata": {"name": "d"}})
    assert "labels" not in gone["metadata"] or not gone["metadata"]["labels"]


async def test_items_of_keyed_lists_are_merged_and_go_one_by_one(registry: Registry) -> None:
    services = row(registry, SERVICES)
    web, admin = Applier(registry, services, "web"), Applier(registry, services, "admin")

    def service(*ports: int) -> Obj:
        listed = [{"name": f"p{port}", "port": port} for port in ports]
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": listed}}

    await web(service(80, 443))
    both = await admin(service(8080))
    assert [port["port"] for port in both["spec"]["ports"]] == [80, 443, 8080]
    fewer = await web(service(443))
    assert [port["port"] for port in fewer["spec"]["ports"]] == [443, 8080]


async def test_an_update_takes_ownership_and_apply_then_conflicts_with_it(registry: Registry) -> None:
    deployments = row(registry, DEPLOYMENTS)
    ci = Applier(registry, deployments, "ci")
    await ci(deployment(3))

    def scale(obj: Obj) -> Obj:
        obj["spec"]["replicas"] = 7
        return obj

    changed = await registry.mutate(deployments, "default", "d", scale, by("kubectl-edit"))
    assert owned(changed, "kubectl-edit", "Update") == [".spec.replicas"]
    assert ".spec.replicas" not in owned(changed, "ci")
    with pytest.raises(Conflict, match=r'conflict with "kubectl-edit" using apps/v1: \.spec\.replicas'):
        await ci(deployment(3))


async def test_status_is_managed_by_its_subresource(registry: Registry) -> None:
    deployments = row(registry, DEPLOYMENTS)
    await Applier(registry, deployments, "ci")(deployment())
    status = {**deployment(), "status": {"replicas": 1}}
    changed = await Applier(registry, deployments, "controller")(status, subresource="status")
    entry = next(e for e in changed["metadata"]["managedFields"] if e["manager"] == "controller")
    assert entry["subresource"] == "status"
    assert list(paths(entry["fieldsV1"])) == [".status.replicas"]
    with pytest.raises(NotFound):
        await Applier(registry, deployments, "controller")(
            {**status, "metadata": {"name": "none"}}, subresource="status"
        )


async def test_what_was_there_untracked_belongs_to_before_first_apply(registry: Registry) -> None:
    maps = row(registry, CONFIGMAPS)
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    await registry.create(maps, "default", {**plain, "metadata": {"name": "c"}}, Context())
    with pytest.raises(ApplyConflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        await Applier(registry, maps, "ci")({**plain, "data": {"a": "other"}})
    assert (await Applier(registry, maps, "ci")({**plain, "data": {"a": "1"}}))["data"] == {"a": "1", "b": "2"}


async def test_kubectl_goes_over_from_the_clients_side_without_conflict(registry: Registry) -> None:
    maps = row(registry, CONFIGMAPS)
    noted = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1"}}\n'
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": noted}
    first = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "annotations": annotations},
        "data": {"a": "1"},
    }  # fmt: skip
    await registry.create(maps, "default", first, by("kubectl-client-side-apply"))
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2"}}
    with pytest.raises(ApplyConflict):
        await Applier(registry, maps, "flux")(config)
    over = await Applier(registry, maps, "kubectl")(config)
    assert over["data"] == {"a": "2"}
    assert '"a":"2"' in over["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]


async def test_managed_fields_are_cleared_by_an_empty_list_and_kept_by_silence(registry: Registry) -> None:
    maps = row(registry, CONFIGMAPS)
    plain: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    made = await registry.create(maps, "default", {**plain, "metadata": {"name": "c"}}, by("one"))
    assert owned(made, "one", "Update") == [".data", ".data.a"]
    silent = await registry.update(maps, "default", "c", {**plain, "metadata": {"name": "c"}}, by("two"))
    assert silent["metadata"]["managedFields"] == made["metadata"]["managedFields"]
    cleared = {**plain, "metadata": {"name": "c", "managedFields": []}}
    assert "managedFields" not in (await registry.update(maps, "default", "c", cleared, by("two")))["metadata"]


async def test_what_does_not_fit_is_named(registry: Registry) -> None:
    apply = Applier(registry, row(registry, DEPLOYMENTS), "ci")
    wrong = deployment()
    wrong["spec"]["unknown"] = 1
    with pytest.raises(BadRequest, match=r"\.spec\.unknown: field not declared in schema"):
        await apply(wrong)
    twice = deployment()
    twice["spec"]["template"]["spec"]["containers"] *= 2
    with pytest.raises(BadRequest, match="duplicate entries for key"):
        await apply(twice)


async def test_ten_updaters_are_told_apart_the_rest_is_ancient(registry: Registry) -> None:
    maps = row(registry, CONFIGMAPS)
    obj: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"m0": "x"}}
    await registry.create(maps, "default", obj, by("m0"))
    for number in range(1, 14):

        def add(found: Obj, key: str = f"m{number}") -> Obj:
            found["data"][key] = "x"
            return found

        obj = await registry.mutate(maps, "default", "c", add, by(f"m{number}"))
    names = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(names) == 10
    assert "ancient-changes" in names
    everything = [path for entry in obj["metadata"]["managedFields"] for path in paths(entry["fieldsV1"])]
    assert sorted(everything) == sorted([".data", *[f".data.m{number}" for number in range(14)]])


LEAVES = st.none() | st.integers(0, 3) | st.text("ab", max_size=2)
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=12)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_after_a_merge_the_object_holds_what_the_configuration_sets(live: Obj, config: Obj) -> None:
    new = merge(live, config, ANYTHING)
    removed, modified, _ = compare(config, new, ANYTHING)
    assert not intersection(fields_of(config, ANYTHING), union(modified, removed))
    assert merge(new, config, ANYTHING) == new


@given(OBJECTS, OBJECTS)
def test_sets_obey_their_laws(one: Obj, other: Obj) -> None:
    a, b = fields_of(one, ANYTHING), fields_of(other, ANYTHING)
    left, right = set(paths(a)), set(paths(b))
    assert set(paths(union(a, b))) == left | right
    assert set(paths(difference(a, b))) == left - right
    assert set(paths(intersection(a, b))) == left & right
