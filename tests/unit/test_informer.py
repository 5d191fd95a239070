"""The informer against a fake API: sync, changes, broken watches, relisting after Expired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from parkube.kubeapi.client import CONFIGMAPS
from parkube.kubeapi.errors import Obj, ServiceUnavailable
from parkube.kubeapi.informer import Informer
from tests.fakes.client import FakeClient


def config(name: str, value: str) -> Obj:
    return {"metadata": {"name": name, "namespace": "ns"}, "data": {"v": value}}


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[tuple[FakeClient, Informer[str], list[tuple[str, str, str | None, str | None]]]]:
    client = FakeClient((CONFIGMAPS, config("a", "1")))
    informer = Informer(client, CONFIGMAPS, lambda o: str(o["data"]["v"]), sleep=no_sleep, jitter=lambda: 0.5)
    heard: list[tuple[str, str, str | None, str | None]] = []
    informer.subscribe(lambda *event: heard.append(event))
    task = asyncio.create_task(informer.run())
    await informer.synced()
    yield client, informer, heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_follows_and_tells_only_what_is_kept(world) -> None:  # type: ignore[no-untyped-def]
    client, informer, heard = world
    client.put(CONFIGMAPS, config("b", "1"))
    client.put(CONFIGMAPS, config("a", "2"))
    client.put(CONFIGMAPS, {**config("a", "2"), "other": "not kept"})
    client.drop(CONFIGMAPS, "b", "ns")
    await settle()
    assert heard == [
        ("ADDED", "ns/a", None, "1"), ("ADDED", "ns/b", None, "1"),
        ("MODIFIED", "ns/a", "1", "2"), ("DELETED", "ns/b", "1", None),
    ]  # fmt: skip
    assert dict(informer.items()) == {"ns/a": "2"}
    late: list[str] = []
    informer.subscribe(lambda kind, key, old, new: late.append(key))
    assert late == ["ns/a"]


async def test_a_broken_watch_goes_on_where_it_was_and_an_expired_one_lists_again(world) -> None:  # type: ignore[no-untyped-def]
    client, informer, heard = world
    await settle()
    client.break_watches()
    client.fail("watch", "configmaps", ServiceUnavailable("starting"))
    client.put(CONFIGMAPS, config("b", "1"))
    await settle()
    assert ("ADDED", "ns/b", None, "1") in heard
    client.break_watches()
    client.drop(CONFIGMAPS, "a", "ns")
    client.put(CONFIGMAPS, config("b", "2"))
    client.compact()
    client.fail("list", "configmaps", ServiceUnavailable("starting"))
    await settle()
    assert heard[-2:] == [("DELETED", "ns/a", "1", None), ("MODIFIED", "ns/b", "1", "2")]
    assert dict(informer.items()) == {"ns/b": "2"}


async def test_a_failing_handler_stops_nobody(world, caplog) -> None:  # type: ignore[no-untyped-def]
    client, informer, heard = world

    def bad(_: str, key: str, *__: object) -> None:
        if key == "ns/c":
            raise ValueError("broken")

    informer.subscribe(bad)
    informer.subscribe(lambda *event: heard.append(event))
    client.put(CONFIGMAPS, config("c", "1"))
    await settle()
    assert heard.count(("ADDED", "ns/c", None, "1")) == 2
