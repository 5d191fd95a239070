"""A node that runs out of memory or disk: what it says, which pods go, what it takes meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from parkube.kubeapi.client import EVENTS, NODES, PODS
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.model import Usage
from parkube.nodeagent.plan.pressure import (
    DISK,
    MEMORY,
    TRANSITION_S,
    Conditions,
    Shortage,
    Signals,
    refused_under,
    shortages,
    victim,
)
from parkube.nodeagent.sync.eviction import read_signals
from tests.fakes.node import Edge, container, pod, ready
from tests.fakes.virtual_time import run

PLENTY = Signals(8 << 30, 90 << 30, 100 << 30, 900, 1000)
SHORT = Shortage(MEMORY, "memory", 100 << 20, 50 << 20)


def sized(name: str, memory: str = "", priority: int = 0, **spec: Any) -> Obj:
    resources = {"resources": {"requests": {"memory": memory}}} if memory else {}
    made = pod(name, container(**resources), priority=priority, **spec)
    made["metadata"]["uid"] = name
    return made


@pytest.mark.parametrize(
    ("signals", "short"),
    [
        (PLENTY, []),
        (PLENTY._replace(memory_available=99 << 20), ["memory"]),
        (PLENTY._replace(disk_available=4 << 30), ["ephemeral-storage"]),
        (PLENTY._replace(inodes_free=49), ["inodes"]),
        (Signals(1, 1, 100), ["memory", "ephemeral-storage"]),
        (Signals(8 << 30, 90, 100), []),  # a file system without inodes lacks none
    ],
)
def test_a_node_is_short_of_what_is_below_its_threshold(signals: Signals, short: list[str]) -> None:
    assert [found.resource for found in shortages(signals)] == short


def test_a_pressure_outlasts_its_cause_so_that_it_does_not_flap() -> None:
    conditions = Conditions()
    assert conditions.update([SHORT], 1000) == {MEMORY}
    assert conditions.update([], 1000 + TRANSITION_S - 1) == {MEMORY}
    assert conditions.update([], 1000 + TRANSITION_S) == frozenset()


def test_the_pod_that_goes_uses_most_beyond_what_it_asked_for_at_the_lowest_priority() -> None:
    tame, greedy, low = sized("tame", "1Gi"), sized("greedy", "10Mi", 5), sized("low", "10Mi", 1)
    system = sized("system", priority=2_000_000_000)
    used = {"tame": 900 << 20, "greedy": 500 << 20, "low": 20 << 20, "system": 4 << 30}
    everybody = [tame, greedy, low, system]
    order = []
    while (found := victim(SHORT, everybody, used)) is not None:
        order.append(found["metadata"]["name"])
        everybody.remove(found)
    assert order == ["low", "greedy", "tame"]


def test_under_pressure_a_node_takes_fewer_pods() -> None:
    assert refused_under(sized("modest"), [MEMORY]) == MEMORY
    assert refused_under(sized("sized", "1Mi"), [MEMORY]) == ""
    assert refused_under(sized("sized", "1Mi"), [MEMORY, DISK]) == DISK
    assert refused_under(sized("system", priority=2_000_000_001), [DISK]) == ""


def test_a_pod_is_evicted_for_want_of_memory_and_the_node_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, sized("small", "64Mi"))
            await edge.client.create(PODS, sized("big"))
            await asyncio.sleep(2)
            for name, amount in (("small", 60 << 20), ("big", 700 << 20)):
                found = (await edge.containers(name))["c"].id
                edge.runtime.usage[found] = Usage(found, memory_working_set=amount)
            edge.signals = edge.signals._replace(memory_available=10 << 20)
            await asyncio.sleep(9)
            edge.signals = edge.signals._replace(memory_available=1 << 30)
            await asyncio.sleep(3)
            status = edge.status("big")
            assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
            assert status["message"] == (
                "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 10240Ki. "
                "Container c was using 716800Ki, request is 0, has larger consumption of memory. "
            )
            assert {c["type"]: c for c in status["conditions"]}["DisruptionTarget"]["reason"] == "TerminationByKubelet"
            assert ready(edge.status("small"))
            assert "Evicted" in [e["reason"] for e in edge.client.all(EVENTS)]

            def pressure() -> str:
                found = {c["type"]: c["status"] for c in edge.client.all(NODES)[0]["status"]["conditions"]}
                return str(found[MEMORY])

            assert pressure() == "True"
            await edge.client.create(PODS, sized("late"))
            await asyncio.sleep(2)
            assert edge.status("late")["reason"] == "Evicted"
            await asyncio.sleep(TRANSITION_S + 20)
            assert pressure() == "False"

    run(story())


def test_for_want_of_disk_unused_images_go_first(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, sized("web"))
            await asyncio.sleep(2)
            await edge.runtime.pull("docker.io/parkube/pause:1")
            await edge.runtime.pull("old:1")
            edge.signals = edge.signals._replace(disk_available=1 << 30)
            await asyncio.sleep(12)
            tags = [tag for image in await edge.runtime.images() for tag in image.tags]
            assert "old:1" not in tags
            assert "docker.io/parkube/pause:1" in tags

    run(story())


def test_the_machine_can_be_read(tmp_path: Path) -> None:
    found = read_signals(tmp_path)
    assert 0 < found.disk_available <= found.disk_capacity
    assert found.memory_available > 0
