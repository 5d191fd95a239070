"""Lists and watches of the registry: selectors, paging at one revision, the past, watch resumption, fan-out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.registry import cache as cache_module
from parkube.controlplane.registry.cache import ResourceCache
from parkube.controlplane.registry.operations import ListOptions, Registry, WatchItem, WatchOptions
from parkube.controlplane.registry.resource import Context, Resource, Strategy
from parkube.controlplane.registry.stored import resplice, splice, unsplice
from parkube.controlplane.storage.memory import MemoryStore
from parkube.controlplane.storage.port import Change
from parkube.controlplane.storage.sqlite import SqliteStore
from parkube.kubeapi.client import CONFIGMAPS, DEPLOYMENTS, GVR, PODS
from parkube.kubeapi.errors import BadRequest, Expired, NotFound, Obj, Timeout
from parkube.kubeapi.selectors import FieldSelector, LabelSelector
from tests.fakes.registry import make_registry, row


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = await make_registry()
    yield made
    await made.close()


async def config(registry: Registry, name: str, namespace: str = "ns", **labels: str) -> Obj:
    obj = {"metadata": {"name": name, "labels": labels}}
    return await registry.create(row(registry, CONFIGMAPS), namespace, obj, Context())


async def pod(registry: Registry, name: str, node: str = "") -> None:
    spec: Obj = {"containers": [{"name": "c", "image": "i"}], **({"nodeName": node} if node else {})}
    await registry.create(row(registry, PODS), "ns", {"metadata": {"name": name}, "spec": spec}, Context())


async def names(registry: Registry, gvr: GVR = CONFIGMAPS, namespace: str = "", **options: Any) -> list[str]:
    for key, parse in (("label_selector", LabelSelector.parse), ("field_selector", FieldSelector.parse)):
        if key in options:
            options[key] = parse(options[key])
    found = await registry.list(row(registry, gvr), namespace, ListOptions(**options))
    return [f"{item.namespace}/{item.name}" for item in found.items]


class Heard(list[str]):
    """A sink that notes `TYPE name` of every item."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[WatchItem] = []
        self.calls = 0

    def __call__(self, items: Sequence[WatchItem]) -> None:
        self.calls += 1
        for item in items:
            self.items.append(item)
            self.append(f"{item.type} {item.object()['metadata'].get('name', '')}".strip())


def watch(registry: Registry, gvr: GVR = CONFIGMAPS, namespace: str = "", **options: Any) -> Heard:
    heard = Heard()
    for key, parse in (("label_selector", LabelSelector.parse), ("field_selector", FieldSelector.parse)):
        if key in options:
            options[key] = parse(options[key])
    registry.watch(row(registry, gvr), namespace, WatchOptions(**options), heard)
    return heard


async def tick() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_lists_by_namespace_label_and_field(registry: Registry) -> None:
    await config(registry, "b", "ns", app="web")
    await config(registry, "a", "ns", app="db")
    await config(registry, "a", "ns-2", app="web")
    assert await names(registry) == ["ns-2/a", "ns/a", "ns/b"]
    assert await names(registry, namespace="ns") == ["ns/a", "ns/b"]
    assert await names(registry, label_selector="app in (web)") == ["ns-2/a", "ns/b"]
    assert await names(registry, namespace="ns", label_selector="app!=web") == ["ns/a"]
    assert await names(registry, namespace="ns", field_selector="metadata.name=b") == ["ns/b"]
    assert await names(registry, field_selector="metadata.name=a,metadata.namespace!=ns") == ["ns-2/a"]
    with pytest.raises(BadRequest, match=r"field label not supported: spec\.foo"):
        await names(registry, field_selector="spec.foo=1")


async def test_a_nodes_pods_are_found_without_looking_at_others(registry: Registry) -> None:
    for number in range(6):
        await pod(registry, f"p{number}", f"n{number % 2}" if number < 4 else "")
    assert await names(registry, PODS, field_selector="spec.nodeName=n1") == ["ns/p1", "ns/p3"]
    assert await names(registry, PODS, field_selector="spec.nodeName=") == ["ns/p4", "ns/p5"]
    assert await names(registry, PODS, field_selector="spec.nodeName!=") == ["ns/p0", "ns/p1", "ns/p2", "ns/p3"]


@pytest.mark.parametrize("forgetful", [False, True], ids=["from the cache", "from the store"])
@pytest.mark.parametrize("sqlite", [False, True], ids=["memory", "sqlite"])
async def test_pages_show_one_moment(
    tmp_path: Path, forgetful: bool, sqlite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forgetful:
        monkeypatch.setattr(cache_module, "RING_BYTES", 0)
    store = SqliteStore(tmp_path / "state.db") if sqlite else MemoryStore()
    await store.start()
    registry = await make_registry(store)
    cm = row(registry, CONFIGMAPS)
    for name in "abcdef":
        await config(registry, name)
    first = await registry.list(cm, "", ListOptions(limit=2))
    assert ([i.name for i in first.items], first.remaining) == (["a", "b"], 4)
    await registry.delete(cm, "ns", "c", {}, Context())
    await config(registry, "bb")
    await registry.mutate(cm, "ns", "d", lambda o: {**o, "data": {"new": "x"}}, Context())
    seen, token = [], first.continue_
    while token:
        page = await registry.list(cm, "", ListOptions(limit=3, continue_=token))
        assert page.revision == first.revision
        seen += page.items
        token = page.continue_
    assert [item.name for item in seen] == ["c", "d", "e", "f"]
    assert "data" not in seen[1].object()
    assert int(seen[1].object()["metadata"]["resourceVersion"]) == seen[1].revision
    exact = ListOptions(resource_version=str(first.revision), resource_version_match="Exact")
    assert [item.name for item in (await registry.list(cm, "ns", exact)).items] == list("abcdef")
    await store.compact(store.revision)
    await config(registry, "g")
    with pytest.raises(Expired, match="continue parameter is too old") as gone:
        await registry.list(cm, "", ListOptions(limit=3, continue_=first.continue_))
    token = gone.value.status()["metadata"]["continue"]  # the rest as it is now, then at one revision again
    second = await registry.list(cm, "", ListOptions(limit=2, continue_=token))
    assert ([item.name for item in second.items], second.revision) == (["bb", "d"], registry.revision)
    await config(registry, "h")
    third = await registry.list(cm, "", ListOptions(limit=9, continue_=second.continue_))
    assert ([item.name for item in third.items], third.revision) == (["e", "f", "g"], second.revision)
    await registry.close()
    await store.close()


async def test_revisions_and_tokens_that_make_no_sense(registry: Registry) -> None:
    await config(registry, "a")
    future = str(registry.revision + 5)
    for options, error in (
        ({"continue_": "?"}, BadRequest), ({"continue_": "eyJ9"}, BadRequest), ({"resource_version": "x"}, BadRequest),
        ({"resource_version_match": "Exact"}, BadRequest),
        ({"resource_version": "1", "resource_version_match": "Sometimes"}, BadRequest),
        ({"resource_version": "0", "resource_version_match": "Exact"}, BadRequest),
        ({"resource_version": future}, Timeout),
    ):  # fmt: skip
        with pytest.raises(error):
            await names(registry, **options)
    assert await names(registry, resource_version="0") == ["ns/a"]
    assert await names(registry, resource_version="1", resource_version_match="NotOlderThan") == ["ns/a"]
    with pytest.raises(Timeout):
        watch(registry, resource_version=future)


async def test_a_watch_without_revision_opens_with_what_is_there(registry: Registry) -> None:
    await config(registry, "a")
    plain, initial = watch(registry), watch(registry, bookmarks=True, send_initial_events=True)
    none = watch(registry, send_initial_events=False)
    await config(registry, "b")
    await tick()
    assert plain == ["ADDED a", "ADDED b"]
    assert none == ["ADDED b"]
    assert initial == ["ADDED a", "BOOKMARK", "ADDED b"]
    mark = initial.items[1].object()["metadata"]
    assert mark["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert initial.calls == 1
    unmarked = watch(registry, send_initial_events=True)
    await tick()
    assert unmarked == ["ADDED a", "ADDED b"]


async def test_a_watch_goes_on_from_its_revision_until_that_is_forgotten(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await config(registry, "a", app="web")
    await config(registry, "b", app="web")
    await registry.mutate(row(registry, CONFIGMAPS), "ns", "a", lambda o: {**o, "data": {"k": "v"}}, Context())
    await registry.delete(row(registry, CONFIGMAPS), "ns", "b", {}, Context())
    since = first["metadata"]["resourceVersion"]
    heard = watch(registry, resource_version=since)
    await tick()
    assert heard == ["ADDED b", "MODIFIED a", "DELETED b"]
    assert heard.items[2].object()["metadata"]["resourceVersion"] == str(registry.revision)
    monkeypatch.setattr(cache_module, "RING_BYTES", 0)
    await config(registry, "c")
    with pytest.raises(Expired, match="too old resource version"):
        watch(registry, resource_version=since)


async def test_what_begins_or_ceases_to_match_is_added_or_deleted(registry: Registry) -> None:
    cm = row(registry, CONFIGMAPS)
    await config(registry, "a", app="web")
    heard = watch(registry, label_selector="app=web", resource_version=str(registry.revision))

    def labelled(app: str) -> Any:
        return lambda obj: {**obj, "metadata": {**obj["metadata"], "labels": {"app": app}}}

    for app in ("db", "mail", "web", "web2"):
        await registry.mutate(cm, "ns", "a", labelled(app), Context())
    await tick()
    assert heard == ["DELETED a", "ADDED a", "DELETED a"]
    last = heard.items[0].object()
    assert last["metadata"]["labels"] == {"app": "web"}
    assert int(last["metadata"]["resourceVersion"]) > 1


async def test_a_pods_event_reaches_its_node_alone(registry: Registry) -> None:
    nodes = [watch(registry, PODS, field_selector=f"spec.nodeName=n{n}") for n in range(3)]
    scheduler = watch(registry, PODS, field_selector="spec.nodeName=")
    everyone, other = watch(registry, PODS), watch(registry, PODS, namespace="other")
    one = watch(registry, PODS, namespace="ns", field_selector="metadata.name=p")
    await pod(registry, "p")

    def bind(obj: Obj) -> Obj:
        return {**obj, "spec": {**obj["spec"], "nodeName": "n1"}}

    await registry.mutate(row(registry, PODS), "ns", "p", bind, Context(), "binding")
    await tick()
    assert [list(heard) for heard in nodes] == [[], ["ADDED p"], []]
    assert list(scheduler) == ["ADDED p", "DELETED p"]
    assert list(everyone) == list(one) == ["ADDED p", "MODIFIED p"]
    assert list(other) == []
    assert everyone.items[1].line() is one.items[1].line()


async def test_a_cancelled_watch_hears_nothing_and_a_failing_one_is_cut_off(registry: Registry) -> None:
    heard, cm = Heard(), row(registry, CONFIGMAPS)

    def bad(_: Sequence[WatchItem]) -> None:
        raise ValueError("broken")

    broken = registry.watch(cm, "", WatchOptions(resource_version="0", send_initial_events=False), bad)
    first = registry.watch(cm, "", WatchOptions(), heard)
    await config(registry, "a")
    first.cancel()
    await tick()
    await config(registry, "b")
    await tick()
    assert heard == []
    assert broken.cancelled  # type: ignore[attr-defined]


async def test_bookmarks_come_in_turn_and_say_where_a_watch_stands(registry: Registry) -> None:
    watches = [watch(registry, bookmarks=True) for _ in range(4)]
    silent = watch(registry)
    await config(registry, "a", "elsewhere")
    registry.caches.send_bookmarks(3)
    await tick()
    assert [len(heard) for heard in watches] == [2, 2, 2, 1]
    registry.caches.send_bookmarks(1)
    await tick()
    assert all(list(heard) == ["ADDED a", "BOOKMARK"] for heard in watches)
    assert list(silent) == ["ADDED a"]
    assert watches[0].items[1].object() == {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"resourceVersion": str(registry.revision), "creationTimestamp": None},
    }  # fmt: skip


async def test_watches_speak_the_version_they_asked_for(registry: Registry) -> None:
    old = watch(registry, GVR("extensions", "v1beta1", "deployments"))
    new = watch(registry, DEPLOYMENTS)
    body = {
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    }
    await registry.create(row(registry, DEPLOYMENTS), "ns", body, Context())
    await tick()
    assert [orjson.loads(heard.items[0].line())["object"]["apiVersion"] for heard in (old, new)] == [
        "extensions/v1beta1", "apps/v1",
    ]  # fmt: skip


async def test_rows_come_and_go_and_their_objects_wait(registry: Registry) -> None:
    gvr = GVR("parkube.io", "v1", "garages")
    garage = Resource(gvr, "Garage", "garage", True, Strategy(), schema={"type": "object"})
    registry.catalogue.add(garage)
    await registry.create(garage, "ns", {"metadata": {"name": "g"}}, Context())
    heard = watch(registry, gvr)
    await tick()
    registry.catalogue.remove(gvr)
    assert heard.items[-1].type == "ERROR"
    assert heard.items[-1].object()["code"] == 410
    with pytest.raises(NotFound):
        await registry.get(garage, "ns", "g")
    registry.catalogue.add(garage)
    assert (await registry.get(garage, "ns", "g")).object()["metadata"]["name"] == "g"


async def test_a_restart_finds_everything(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    registry = await make_registry(store)
    for number in range(7):
        await pod(registry, f"p{number}", f"n{number % 2}")
    before = {item.key: item.value for item in (await registry.list(row(registry, PODS), "", ListOptions())).items}
    await registry.close()
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    registry = await make_registry(store)
    after = {item.key: item.value for item in (await registry.list(row(registry, PODS), "", ListOptions())).items}
    assert after == before
    assert await names(registry, PODS, field_selector="spec.nodeName=n1") == ["ns/p1", "ns/p3", "ns/p5"]
    await registry.close()
    await store.close()


async def test_watches_go_on_after_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    registry = await make_registry(store)
    await config(registry, "a", app="web")
    since = str(registry.revision)
    await registry.delete(row(registry, CONFIGMAPS), "ns", "a", {}, Context())
    await config(registry, "b", app="web")
    await pod(registry, "p", "n")
    late = str(registry.revision)
    await registry.close()
    await store.close()
    store = SqliteStore(tmp_path / "state.db")
    await store.start()
    registry = await make_registry(store)
    heard = watch(registry, resource_version=since, label_selector="app=web")
    quiet = watch(registry, PODS, resource_version=late, field_selector="spec.nodeName=n")
    await config(registry, "c", app="web")
    await tick()
    assert heard == ["DELETED a", "ADDED b", "ADDED c"]
    assert quiet == []
    page = await registry.list(
        row(registry, CONFIGMAPS), "", ListOptions(resource_version=since, resource_version_match="Exact")
    )
    assert [(item.name, item.revision) for item in page.items] == [("a", int(since))]
    await store.compact(store.revision)
    await registry.close()
    registry = await make_registry(store)
    with pytest.raises(Expired):
        watch(registry, resource_version=since)
    await registry.close()
    await store.close()


# -- invariants


def test_the_revision_is_spliced_into_metadata_and_out_again() -> None:
    value = b'{"apiVersion":"v1","kind":"X","metadata":{"name":"a"},"data":{"metadata":{"resourceVersion":"1"}}}'
    spliced = splice(value, 12)
    assert orjson.loads(spliced)["metadata"] == {"resourceVersion": "12", "name": "a"}
    assert unsplice(spliced) == value
    assert resplice(spliced, 13) == splice(value, 13)


class Always(Strategy):
    """No rules."""


changes = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", "", None])), max_size=30)


@settings(max_examples=150, deadline=None)
@given(script=changes, node=st.sampled_from(["x", "y", ""]))
def test_a_watch_from_any_moment_leads_to_the_present(script: list[tuple[str, str | None]], node: str) -> None:
    """Whatever is listed at a revision, plus what a watch tells from there, is what is listed now."""
    asyncio.run(_leads_to_present(script, node))


async def _leads_to_present(script: list[tuple[str, str | None]], node: str) -> None:
    from parkube.controlplane.registry.fanout import Watcher, view
    from parkube.controlplane.registry.kinds import builtin_catalogue

    pods = builtin_catalogue().get(PODS)
    assert pods is not None
    cache, selector = ResourceCache(pods, 0), FieldSelector.parse(f"spec.nodeName={node}")
    match = cache.matcher("", LabelSelector(), selector)
    moments = []
    for revision, (name, where) in enumerate(script, 1):
        moments.append({item.name for item in cache.select("", selector) if match is None or match(item)})
        obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"nodeName": where}}
        value = orjson.dumps(obj) if where is not None else None
        cache.apply(Change(revision, f"/core/pods/ns/{name}", value))
    now = {item.name for item in cache.select("", selector) if match is None or match(item)}
    assert now == {item.name for item in cache.items.values() if item.fields[0] == node}
    assert [item.key for item in cache.select("", FieldSelector())] == sorted(cache.items)
    watcher = Watcher(cache.fanout, pods, (), match, lambda _: None, False, lambda: 0)
    for revision, then in enumerate(moments):
        state = set(then)
        for event in cache.since(revision) or ():
            item = view(event, watcher, {})
            if item is not None and item.stored is not None:
                if item.type == "ADDED":
                    assert item.stored.name not in state
                state = state - {item.stored.name} if item.type == "DELETED" else state | {item.stored.name}
        assert state == now
        past = cache.as_of(revision)
        assert past is not None
        rewound = {i.key: i for i in cache.items.values() if i.key not in past}
        rewound.update({key: i for key, i in past.items() if i is not None})
        assert {i.name for i in rewound.values() if i.fields[0] == node} == then
