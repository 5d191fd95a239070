"""The generic verbs: what the server sets, what it refuses, compare-and-set, deletion, scale, shared storage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from parkube.controlplane.registry.operations import ListOptions, Registry
from parkube.controlplane.registry.resource import Context, Strategy
from parkube.kubeapi.client import CONFIGMAPS, DEPLOYMENTS, GVR, LEASES, NAMESPACES, PODS
from parkube.kubeapi.errors import AlreadyExists, ApiError, BadRequest, Conflict, Forbidden, Invalid, NotFound, Obj
from parkube.kubeapi.objects import copy, rfc3339
from tests.fakes.registry import NOON, Clock, make_registry, row

OLD = GVR("extensions", "v1beta1", "deployments")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def registry(clock: Clock) -> AsyncIterator[Registry]:
    made = await make_registry(clock=clock)
    yield made
    await made.close()


def config(name: str = "a", **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(version: str = "apps/v1", **spec: Any) -> Obj:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": version, "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }  # fmt: skip


async def make(registry: Registry, gvr: GVR, obj: Obj, namespace: str = "ns") -> Obj:
    return await registry.create(row(registry, gvr), namespace, obj, Context())


async def test_the_server_sets_what_is_its_own(registry: Registry) -> None:
    made = await make(registry, CONFIGMAPS, {
        "metadata": {"generateName": "web-", "uid": "mine", "creationTimestamp": "1999-01-01T00:00:00Z",
                     "deletionTimestamp": "1999-01-01T00:00:00Z", "managedFields": []},
    })  # fmt: skip
    meta = made["metadata"]
    assert meta["name"].startswith("web-")
    assert len(meta["name"]) == 9
    assert (meta["uid"], meta["creationTimestamp"], meta["namespace"]) == ("uid-1", rfc3339(NOON), "ns")
    assert not meta.keys() & {"deletionTimestamp", "managedFields"}
    stored = await registry.get(row(registry, CONFIGMAPS), "ns", meta["name"])
    assert stored.object() == made
    with pytest.raises(AlreadyExists, match=f'configmaps "{meta["name"]}" already exists'):
        await make(registry, CONFIGMAPS, config(meta["name"]))


async def test_bad_objects_are_refused_with_every_fault_named_and_nothing_is_written(registry: Registry) -> None:
    before = registry.revision
    bad = config("Not_A_Name")
    bad["metadata"]["labels"] = {"a/b/c": "x", "ok": "not ok!"}
    bad["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]
    with pytest.raises(Invalid) as caught:
        await make(registry, CONFIGMAPS, bad)
    fields = [cause.field for cause in caught.value.causes]
    assert fields == ["metadata.name", "metadata.labels", "metadata.labels", "metadata.ownerReferences[0].uid"]
    wrong: list[tuple[Obj, str]] = [
        ({**config(), "kind": "Secret"}, "Secret"),
        ({"metadata": {"name": "a", "namespace": "other"}}, "namespace"),
        ({"metadata": {"name": "a", "resourceVersion": "5"}}, "resourceVersion should not be set"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"name": "a"}, "data": {"k": 1}}, "cannot unmarshal number"),
    ]
    for obj, words in wrong:
        with pytest.raises(BadRequest, match=words):
            await make(registry, CONFIGMAPS, obj)
    with pytest.raises(Invalid, match="name or generateName is required"):
        await make(registry, CONFIGMAPS, {"metadata": {}})
    assert registry.revision == before


async def test_updates_compare_and_set(registry: Registry) -> None:
    cm = row(registry, CONFIGMAPS)
    first = await make(registry, CONFIGMAPS, config(k="1"))
    second = await registry.update(cm, "ns", "a", {**first, "data": {"k": "2"}}, Context())
    assert int(second["metadata"]["resourceVersion"]) > 0
    stale = config(k="3")
    stale["metadata"]["resourceVersion"] = "1"
    with pytest.raises(Conflict, match="the object has been modified; please apply your changes to the latest"):
        await registry.update(cm, "ns", "a", stale, Context())
    third = await registry.update(cm, "ns", "a", config(k="4"), Context())
    assert third["metadata"]["uid"] == second["metadata"]["uid"]
    assert third["metadata"]["creationTimestamp"] == second["metadata"]["creationTimestamp"]
    same = await registry.update(cm, "ns", "a", config(k="4"), Context())
    assert same["metadata"]["resourceVersion"] == third["metadata"]["resourceVersion"]
    other = config(k="5")
    other["metadata"]["uid"] = "another"
    with pytest.raises(Conflict, match="UID in precondition: another"):
        await registry.update(cm, "ns", "a", other, Context())
    with pytest.raises(BadRequest, match="does not match the name on the URL"):
        await registry.update(cm, "ns", "b", config("a"), Context())
    with pytest.raises(NotFound, match='configmaps "b" not found'):
        await registry.update(cm, "ns", "b", config("b"), Context())
    with pytest.raises(Conflict):
        await registry.mutate(cm, "ns", "a", lambda o: {**o, "metadata": {**o["metadata"], "resourceVersion": "1"}},
                              Context())  # fmt: skip


async def test_dry_run_checks_all_and_writes_nothing(registry: Registry) -> None:
    cm, dry = row(registry, CONFIGMAPS), Context(dry_run=True)
    await registry.create(cm, "ns", config(), dry)
    with pytest.raises(NotFound):
        await registry.get(cm, "ns", "a")
    await make(registry, CONFIGMAPS, config(k="1"))
    revision = registry.revision
    assert (await registry.update(cm, "ns", "a", config(k="2"), dry))["data"] == {"k": "2"}
    await registry.delete(cm, "ns", "a", {"dryRun": ["All"]}, Context())
    with pytest.raises(AlreadyExists):
        await registry.create(cm, "ns", config(), dry)
    assert registry.revision == revision


async def test_many_writers_of_one_object_lose_nothing(registry: Registry) -> None:
    cm = row(registry, CONFIGMAPS)
    await make(registry, CONFIGMAPS, config())

    def add(n: int) -> Any:
        return lambda obj: {**obj, "data": {**obj.get("data", {}), f"k{n}": "x"}}

    await asyncio.gather(*[registry.mutate(cm, "ns", "a", add(n), Context()) for n in range(20)])
    assert len((await registry.get(cm, "ns", "a")).object()["data"]) == 20


async def test_admission_sees_and_changes_what_is_written(clock: Clock) -> None:
    seen: list[tuple[str, str, bool, bool]] = []

    class Watcher:
        async def admit(self, operation: str, resource: Any, subresource: str, namespace: str, name: str,
                        new: Obj | None, old: Obj | None, context: Context) -> None:  # fmt: skip
            seen.append((operation, name, new is not None, old is not None))
            if new is not None:
                new["metadata"].setdefault("annotations", {})["seen"] = operation

        async def check(self, operation: str, resource: Any, subresource: str, namespace: str, name: str,
                        new: Obj | None, old: Obj | None, context: Context) -> None:  # fmt: skip
            if new is not None and new.get("data") == {"k": "refused"}:
                raise Forbidden("no")

    registry = await make_registry(admissions=[Watcher()])
    cm = row(registry, CONFIGMAPS)
    made = await make(registry, CONFIGMAPS, config())
    assert made["metadata"]["annotations"] == {"seen": "CREATE"}
    await registry.update(cm, "ns", "a", config(k="1"), Context())
    await registry.delete(cm, "ns", "a", {}, Context())
    assert seen == [("CREATE", "a", True, False), ("UPDATE", "a", True, True), ("DELETE", "a", False, True)]
    with pytest.raises(Forbidden):
        await make(registry, CONFIGMAPS, config(k="refused"))
    assert not (await registry.list(cm, "ns", ListOptions())).items
    await registry.close()


async def test_finalizers_keep_an_object_until_the_last_is_gone(registry: Registry, clock: Clock) -> None:
    cm = row(registry, CONFIGMAPS)
    kept = config()
    kept["metadata"]["finalizers"] = ["example.com/keep"]
    await make(registry, CONFIGMAPS, kept)
    going = await registry.delete(cm, "ns", "a", {}, Context())
    assert going["metadata"]["deletionTimestamp"] == rfc3339(NOON)
    revision = registry.revision
    await registry.delete(cm, "ns", "a", {}, Context())
    assert registry.revision == revision
    more = config()
    more["metadata"]["finalizers"] = ["example.com/keep", "example.com/more"]
    with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
        await registry.update(cm, "ns", "a", more, Context())
    await registry.update(cm, "ns", "a", config(), Context())
    with pytest.raises(NotFound):
        await registry.get(cm, "ns", "a")


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)]
)
async def test_propagation_policies(registry: Registry, policy: str, finalizers: list[str] | None) -> None:
    cm = row(registry, CONFIGMAPS)
    await make(registry, CONFIGMAPS, config())
    answer = await registry.delete(cm, "ns", "a", {"propagationPolicy": policy}, Context())
    if finalizers is None:
        assert (answer["status"], answer["details"]["name"]) == ("Success", "a")
    else:
        assert answer["metadata"]["finalizers"] == finalizers
        assert answer["metadata"]["deletionTimestamp"]


async def test_preconditions_and_options_that_make_no_sense(registry: Registry) -> None:
    cm = row(registry, CONFIGMAPS)
    made = await make(registry, CONFIGMAPS, config())
    for wanted in ({"uid": "other"}, {"resourceVersion": "999"}):
        with pytest.raises(Conflict, match="Precondition failed"):
            await registry.delete(cm, "ns", "a", {"preconditions": wanted}, Context())
    for options in (
        {"propagationPolicy": "Sideways"}, {"gracePeriodSeconds": "1"},
        {"propagationPolicy": "Orphan", "orphanDependents": True},
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            await registry.delete(cm, "ns", "a", options, Context())
    await registry.delete(cm, "ns", "a", {"preconditions": {"uid": made["metadata"]["uid"]}}, Context())


async def test_grace_is_counted_shortened_and_never_lengthened(
    registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Graceful(Strategy):
        def graceful_delete(self, obj: Obj, options: Obj) -> int | None:
            seconds = options.get("gracePeriodSeconds")
            return 30 if seconds is None else int(seconds)

    cm = row(registry, CONFIGMAPS)
    monkeypatch.setattr(cm, "strategy", Graceful())
    await make(registry, CONFIGMAPS, config())

    async def deleted(**options: int) -> Obj:
        meta: Obj = (await registry.delete(cm, "ns", "a", options, Context()))["metadata"]
        return meta

    meta = await deleted()
    assert (meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"]) == (rfc3339(NOON + 30), 30)
    clock.now += 5
    assert (await deleted(gracePeriodSeconds=60))["deletionGracePeriodSeconds"] == 30
    meta = await deleted(gracePeriodSeconds=10)
    assert (meta["deletionTimestamp"], meta["deletionGracePeriodSeconds"]) == (rfc3339(NOON + 10), 10)
    await deleted(gracePeriodSeconds=0)
    with pytest.raises(NotFound):
        await registry.get(cm, "ns", "a")


async def test_a_collection_is_deleted_by_selector(registry: Registry) -> None:
    cm = row(registry, CONFIGMAPS)
    for name in "abc":
        await make(registry, CONFIGMAPS, config(name))
    await make(registry, CONFIGMAPS, config("a"), "other")
    found = await registry.delete_collection(cm, "ns", ListOptions(limit=2), {}, Context())
    assert [item.name for item in found.items] == ["a", "b"]
    left = await registry.list(cm, "", ListOptions())
    assert [item.key for item in left.items] == ["/core/configmaps/ns/c", "/core/configmaps/other/a"]


async def test_scale_reads_and_writes_the_rows_paths(registry: Registry) -> None:
    apps = row(registry, DEPLOYMENTS)
    await make(registry, DEPLOYMENTS, deployment(replicas=2))
    scale = await registry.get_scale(apps, "ns", "web")
    assert (scale["spec"], scale["status"]["selector"]) == ({"replicas": 2}, "app=web")
    scale["spec"]["replicas"] = 5
    written = await registry.update(apps, "ns", "web", scale, Context(), "scale")
    assert (written["kind"], written["spec"]["replicas"]) == ("Scale", 5)
    with pytest.raises(Conflict):
        await registry.update(apps, "ns", "web", scale, Context(), "scale")
    patched = await registry.mutate(apps, "ns", "web", lambda s: {**s, "spec": {"replicas": 7}}, Context(), "scale")
    assert patched["spec"]["replicas"] == 7
    stored = (await registry.get(apps, "ns", "web")).object()
    assert stored["spec"]["replicas"] == 7
    with pytest.raises(Invalid):
        await registry.mutate(apps, "ns", "web", lambda s: {**s, "spec": {"replicas": -1}}, Context(), "scale")
    with pytest.raises(NotFound):
        await registry.get_scale(row(registry, CONFIGMAPS), "ns", "web")


async def test_one_object_through_two_groups(registry: Registry) -> None:
    old, apps = row(registry, OLD), row(registry, DEPLOYMENTS)
    body = deployment("extensions/v1beta1", rollbackTo={"revision": 3})
    del body["spec"]["selector"]
    made = await make(registry, OLD, body)
    assert made["apiVersion"] == "extensions/v1beta1"
    new = (await registry.get(apps, "ns", "web")).object()
    again = (await registry.get(old, "ns", "web")).object()
    assert (new["apiVersion"], again["apiVersion"]) == ("apps/v1", "extensions/v1beta1")
    for part in ("uid", "resourceVersion"):
        assert new["metadata"][part] == again["metadata"][part] == made["metadata"][part]
    assert "rollbackTo" not in new["spec"]
    assert again["spec"]["rollbackTo"] == {"revision": 3}
    listed = await registry.list(old, "ns", ListOptions())
    assert [item.object()["apiVersion"] for item in listed.items] == ["extensions/v1beta1"]
    await registry.mutate(old, "ns", "web", lambda o: {**o, "spec": {**o["spec"], "replicas": 4}}, Context())
    assert (await registry.get(apps, "ns", "web")).object()["spec"]["replicas"] == 4


async def test_status_and_spec_are_written_apart(registry: Registry) -> None:
    apps = row(registry, DEPLOYMENTS)
    await make(registry, DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})

    def both(obj: Obj) -> Obj:
        return {**obj, "spec": {**obj["spec"], "replicas": 3}, "status": {"replicas": 1}}

    written = await registry.mutate(apps, "ns", "web", both, Context(), "status")
    assert (written["spec"]["replicas"], written["metadata"]["generation"]) == (1, 1)
    assert written["status"] == {"replicas": 1}
    written = await registry.mutate(apps, "ns", "web", both, Context())
    assert (written["spec"]["replicas"], written["metadata"]["generation"]) == (3, 2)


async def test_a_nodes_lease_is_volatile_and_other_leases_are_not(registry: Registry) -> None:
    volatile: list[bool] = []
    put = registry.store.put

    async def spy(key: str, value: bytes, *, expected: int | None = None, volatile: bool = False) -> int:
        told.append(volatile)
        return await put(key, value, expected=expected, volatile=volatile)

    told = volatile
    registry.store.put = spy  # type: ignore[method-assign]
    leases = row(registry, LEASES)
    for namespace in ("kube-node-lease", "kube-system"):
        lease = {"metadata": {"name": "n"}, "spec": {"holderIdentity": "n", "leaseDurationSeconds": 40}}
        await registry.create(leases, namespace, lease, Context())

        def renew(obj: Obj) -> Obj:
            return {**obj, "spec": {**obj["spec"], "renewTime": "2026-01-01T00:00:00.000000Z"}}

        await registry.mutate(leases, namespace, "n", renew, Context())
    assert volatile == [False, True, False, False]


async def test_a_namespace_lingers_until_it_is_finalized(registry: Registry) -> None:
    spaces = row(registry, NAMESPACES)
    await registry.create(spaces, "", {"metadata": {"name": "shop"}}, Context())
    going = await registry.delete(spaces, "", "shop", {}, Context())
    assert (going["status"]["phase"], bool(going["metadata"]["deletionTimestamp"])) == ("Terminating", True)

    def finalize(obj: Obj) -> Obj:
        return {**obj, "spec": {**obj["spec"], "finalizers": []}}

    await registry.mutate(spaces, "", "shop", finalize, Context(), "finalize")
    with pytest.raises(NotFound):
        await registry.get(spaces, "", "shop")


async def test_a_pod_terminates_gracefully_once_it_has_a_node(registry: Registry) -> None:
    pods = row(registry, PODS)
    for name, node in (("bound", "n1"), ("free", "")):
        spec: Obj = {"containers": [{"name": "c", "image": "i"}], **({"nodeName": node} if node else {})}
        await registry.create(pods, "ns", {"metadata": {"name": name}, "spec": spec}, Context())
    assert (await registry.delete(pods, "ns", "bound", {}, Context()))["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await registry.delete(pods, "ns", "free", {}, Context()))["status"] == "Success"
    await registry.delete(pods, "ns", "bound", {"gracePeriodSeconds": 0}, Context())
    assert (await registry.list(pods, "", ListOptions())).items == []


async def test_errors_carry_the_apis_form() -> None:
    registry = await make_registry()
    with pytest.raises(ApiError) as caught:
        await registry.get(row(registry, DEPLOYMENTS), "ns", "web")
    assert caught.value.status() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": 'deployments.apps "web" not found', "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"}, "code": 404,
    }  # fmt: skip
    await registry.close()


async def test_a_status_patch_may_bring_an_empty_spec(registry: Registry) -> None:
    """As Go's clients do, which write down whole types."""
    daemonsets = row(registry, GVR("apps", "v1", "daemonsets"))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await registry.create(daemonsets, "ns", {"metadata": {"name": "d"}, "spec": spec}, Context())
    before = copy(made["spec"])

    def patch(obj: Obj) -> Obj:
        empty = {"selector": None, "template": {"metadata": {"creationTimestamp": None}, "spec": {"containers": None}}}
        return {**obj, "spec": empty, "status": {"conditions": [{"type": "Patched", "status": "True"}]}}

    patched = await registry.mutate(daemonsets, "ns", "d", patch, Context(), "status")
    assert patched["spec"] == before
    assert patched["status"]["conditions"][0]["type"] == "Patched"
