"""The client's contract: in-process, over HTTP against the API server, and the fake that other tests stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from parkube.controlplane.access.authz import Attributes
from parkube.controlplane.apiserver.app import App
from parkube.controlplane.apiserver.discovery import Discovery
from parkube.controlplane.apiserver.local import LocalClient
from parkube.controlplane.apiserver.resources import Resources
from parkube.controlplane.apiserver.special import Special
from parkube.controlplane.registry.resource import SYSTEM
from parkube.kubeapi.client import CONFIGMAPS, GVR, PODS, Client, PatchType
from parkube.kubeapi.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound, Obj
from parkube.kubeapi.http import tcp
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.remote import RemoteClient
from tests.fakes.client import FakeClient
from tests.fakes.registry import make_registry


class AllowAll:
    """An authorizer that never says no."""

    def require(self, attributes: Attributes) -> None:
        """Nothing is refused."""


@asynccontextmanager
async def local() -> AsyncIterator[Client]:
    registry = await make_registry()
    yield LocalClient(registry)
    await registry.close()


@asynccontextmanager
async def remote() -> AsyncIterator[Client]:
    registry = await make_registry()
    unused: Any = None
    allow: Any = AllowAll()
    resources, discovery = Resources(registry, Special()), Discovery(registry.catalogue, "127.0.0.1:1")
    app = App(registry.catalogue, resources, unused, allow, discovery)
    server = await asyncio.get_running_loop().create_server(lambda: app.protocol(SYSTEM), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = RemoteClient(tcp("127.0.0.1", port), timeout=5)
    yield client
    await client.close()
    server.close()
    app.close()
    await registry.close()


@asynccontextmanager
async def fake() -> AsyncIterator[Client]:
    client = FakeClient()
    client.graceful.add("pods")
    yield client


KINDS: dict[str, Callable[[], Any]] = {"local": local, "remote": remote, "fake": fake}


@pytest.fixture(params=KINDS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with KINDS[request.param]() as made:
        yield made


def config(name: str = "a", **data: str) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"n": name}}, "data": data}


async def refused(call: Awaitable[Any], kind: type[ApiError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        await call
    assert caught.value.code == kind.code


async def test_create_read_update_delete(client: Client) -> None:
    made = await client.create(CONFIGMAPS, config(k="1"), "ns")
    assert made["metadata"]["namespace"] == "ns"
    assert made["metadata"]["uid"]
    assert await client.get(CONFIGMAPS, "a", "ns") == made
    await refused(client.create(CONFIGMAPS, config(), "ns"), AlreadyExists, 'configmaps "a" already exists')
    second = await client.update(CONFIGMAPS, {**made, "data": {"k": "2"}})
    assert second["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    await refused(client.update(CONFIGMAPS, made), Conflict, "the object has been modified")
    wrong = {"preconditions": {"uid": "someone else"}}
    await refused(client.delete(CONFIGMAPS, "a", "ns", options=wrong), Conflict, "Precondition failed")
    await client.delete(CONFIGMAPS, "a", "ns", options={"preconditions": {"uid": made["metadata"]["uid"]}})
    await refused(client.get(CONFIGMAPS, "a", "ns"), NotFound, 'configmaps "a" not found')
    await refused(client.delete(CONFIGMAPS, "a", "ns"), NotFound, 'configmaps "a" not found')


async def test_lists_select_and_page(client: Client) -> None:
    for name in "abcde":
        await client.create(CONFIGMAPS, config(name), "ns" if name != "e" else "other")
    everything = await client.list(CONFIGMAPS)
    assert [o["metadata"]["name"] for o in everything["items"]] == list("abcde")
    found = await client.list(CONFIGMAPS, "ns", label_selector="n in (a, c,e)")
    assert [o["metadata"]["name"] for o in found["items"]] == ["a", "c"]
    found = await client.list(CONFIGMAPS, field_selector="metadata.name=d")
    assert [o["metadata"]["name"] for o in found["items"]] == ["d"]
    seen: list[str] = []
    token, pages = "", 0
    while token or not pages:
        page = await client.list(CONFIGMAPS, limit=2, continue_=token)
        seen += [o["metadata"]["name"] for o in page["items"]]
        token, pages = page["metadata"].get("continue", ""), pages + 1
    assert (seen, pages) == (list("abcde"), 3)


async def test_merge_patches_and_their_preconditions(client: Client) -> None:
    made = await client.create(CONFIGMAPS, config(k="1", gone="x"), "ns")
    patched = await client.patch(CONFIGMAPS, "a", {"data": {"gone": None, "new": "y"}}, "ns")
    assert patched["data"] == {"k": "1", "new": "y"}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"k": "2"}}
    await refused(client.patch(CONFIGMAPS, "a", stale, "ns"), Conflict, "modified")
    await refused(client.patch(CONFIGMAPS, "b", {}, "ns"), NotFound, "not found")


async def test_finalizers(client: Client) -> None:
    kept = config()
    kept["metadata"]["finalizers"] = ["example.com/keep"]
    await client.create(CONFIGMAPS, kept, "ns")
    await client.delete(CONFIGMAPS, "a", "ns")
    going = await client.get(CONFIGMAPS, "a", "ns")
    assert going["metadata"]["deletionTimestamp"]
    await client.patch(CONFIGMAPS, "a", {"metadata": {"finalizers": None}}, "ns")
    await refused(client.get(CONFIGMAPS, "a", "ns"), NotFound, "not found")


async def test_a_watch_tells_all_from_a_revision(client: Client) -> None:
    first = await client.create(CONFIGMAPS, config("a"), "ns")
    await client.create(CONFIGMAPS, config("b"), "ns")
    await client.create(CONFIGMAPS, config("x"), "other")
    told: list[tuple[str, str]] = []
    since = first["metadata"]["resourceVersion"]
    async with asyncio.timeout(5), aclosing(client.watch(CONFIGMAPS, "ns", resource_version=since)) as events:  # type: ignore[type-var]
        async for kind, obj in events:
            if kind == "BOOKMARK":
                continue
            told.append((kind, obj["metadata"]["name"]))
            if len(told) == 1:
                await client.patch(CONFIGMAPS, "a", {"data": {"k": "2"}}, "ns")
                await client.delete(CONFIGMAPS, "b", "ns")
            if kind == "DELETED":
                assert int(obj["metadata"]["resourceVersion"]) > int(since)
                break
    assert told == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]


async def test_an_informer_follows(client: Client) -> None:
    await client.create(CONFIGMAPS, config("a", v="1"), "ns")
    informer = Informer(client, CONFIGMAPS, lambda o: o.get("data", {}).get("v", "?"))
    task = asyncio.create_task(informer.run())
    changed = asyncio.Event()
    informer.subscribe(lambda *_: changed.set())
    await informer.synced()
    await client.create(CONFIGMAPS, config("b", v="2"), "ns")
    await client.delete(CONFIGMAPS, "a", "ns")
    async with asyncio.timeout(5):
        while dict(informer.items()) != {"ns/b": "2"}:
            changed.clear()
            await changed.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_pods_are_bound_and_terminate(client: Client) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
           "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}  # fmt: skip
    await client.create(PODS, pod, "ns")
    await client.patch(PODS, "p", {"status": {"phase": "Running"}}, "ns", subresource="status")
    assert (await client.get(PODS, "p", "ns"))["status"]["phase"] == "Running"
    going = await client.delete(PODS, "p", "ns")
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30
    await client.delete(PODS, "p", "ns", options={"gracePeriodSeconds": 0})
    await refused(client.get(PODS, "p", "ns"), NotFound, "not found")


@pytest.mark.parametrize("make", [local, remote], ids=["local", "remote"])
async def test_errors_keep_their_causes_and_other_patches_work(make: Callable[[], Any]) -> None:
    async with make() as client:
        await client.create(CONFIGMAPS, config(k="1"), "ns")
        operations = [{"op": "test", "path": "/data/k", "value": "1"}, {"op": "add", "path": "/data/l", "value": "2"}]
        patched = await client.patch(CONFIGMAPS, "a", operations, "ns", kind=PatchType.JSON)
        assert patched["data"] == {"k": "1", "l": "2"}
        unfit = [{"op": "test", "path": "/data/k", "value": "x"}]
        with pytest.raises(Invalid, match="the server rejected our request due to an error in our request"):
            await client.patch(CONFIGMAPS, "a", unfit, "ns", kind=PatchType.JSON)
        with pytest.raises(Invalid) as caught:
            await client.create(CONFIGMAPS, config("Wrong"), "ns")
        assert [cause.field for cause in caught.value.causes] == ["metadata.name"]
        with pytest.raises(NotFound, match="could not find the requested resource"):
            await client.list(GVR("nowhere", "v1", "things"))


async def test_a_server_that_goes_away_is_a_connection_error() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = RemoteClient(tcp("127.0.0.1", port), timeout=5)
    with pytest.raises(ConnectionError):
        await client.list(CONFIGMAPS)
    with pytest.raises(ConnectionError):
        async for _ in client.watch(CONFIGMAPS):
            pass
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError):
        await client.list(CONFIGMAPS)
    await client.close()
