"""In-place resize as an agent lives through it: asked for, given, had; refused, failed, and cut short by a kill."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from parkube.kubeapi.client import EVENTS, PODS
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan.model import Amounts, ContainerSpec, SandboxSpec, Usage
from parkube.nodeagent.runtime.port import RuntimeFault
from tests.fakes.node import Edge, container, pod, ready
from tests.fakes.virtual_time import run


class Sized(Edge):
    """An edge whose runtime notes what it is told of resources, and may fail to give them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.given: list[Amounts] = []
        self.made: list[Amounts] = []
        self.fault = ""
        create = self.runtime.create_container

        async def resize(container_id: str, amounts: Amounts) -> None:
            if self.fault:
                raise RuntimeFault(self.fault)
            self.given.append(amounts)

        async def made(sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str:
            self.made.append(spec.amounts)
            return await create(sandbox_id, spec, sandbox)

        self.runtime.resize_container = resize  # type: ignore[method-assign]
        self.runtime.create_container = made  # type: ignore[method-assign]

    async def ask(self, name: str, resources: Obj, generation: int, wait_s: float = 2) -> dict[str, Obj]:
        """Ask for other resources; the conditions soon after."""
        found = next(p for p in self.client.all(PODS) if p["metadata"]["name"] == name)
        found["spec"]["containers"][0]["resources"] = resources
        found["metadata"]["generation"] = generation
        await self.client.update(PODS, found)
        await asyncio.sleep(wait_s)
        return self.conditions(name)

    def conditions(self, name: str) -> dict[str, Obj]:
        return {c["type"]: c for c in self.status(name)["conditions"]}

    def told(self) -> list[str]:
        """The reasons of the events about resizes."""
        return [e["reason"] for e in self.client.all(EVENTS) if e["reason"].startswith("Resize")]


def cpu(millis: int) -> Obj:
    return {"requests": {"cpu": f"{millis}m"}}


async def began(edge: Edge, resources: Obj, **more: object) -> None:
    await edge.client.create(PODS, pod("a", container(resources=resources, **more)))
    await asyncio.sleep(2)
    assert ready(edge.status("a"))


def test_a_resize_is_told_when_it_begins_and_when_it_is_done(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Sized(tmp_path)
        async with edge.running():
            await began(edge, cpu(100))
            conditions = await edge.ask("a", cpu(200), 2)
            assert not {"PodResizePending", "PodResizeInProgress"} & set(conditions)
            assert [a.cpu_shares for a in edge.given] == [204]
            assert edge.told() == ["ResizeStarted", "ResizeCompleted"]
            words = next(e["message"] for e in edge.client.all(EVENTS) if e["reason"] == "ResizeStarted")
            start, _, summary = words.partition(": ")
            assert start == "Pod resize started"
            assert json.loads(summary) == {"containers": [{"name": "c", "resources": cpu(200)}], "generation": 2}

    run(story())


def test_a_container_that_crashes_meanwhile_keeps_what_it_was_given(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Sized(tmp_path)
        async with edge.running():
            await began(edge, cpu(100))
            held = (await edge.ask("a", cpu(900_000), 2))["PodResizePending"]
            assert (held["reason"], held["observedGeneration"]) == ("Infeasible", 2)
            edge.runtime.exit((await edge.containers("a"))["c"].id, 1)
            await asyncio.sleep(30)
            assert [a.cpu_shares for a in edge.made] == [102, 102]
            assert edge.conditions("a")["PodResizePending"]["reason"] == "Infeasible"
            assert edge.status("a")["containerStatuses"][0]["allocatedResources"] == {"cpu": "100m"}
            assert "PodResizePending" not in await edge.ask("a", cpu(100), 3)
            assert edge.told() == ["ResizeInfeasible"]

    run(story())


def test_a_resize_that_the_runtime_refuses_says_why_until_it_comes(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Sized(tmp_path)
        async with edge.running():
            await began(edge, cpu(100))
            edge.fault = "the kernel says no"
            going = (await edge.ask("a", cpu(200), 2, 25))["PodResizeInProgress"]
            assert (going["reason"], going["message"]) == ("Error", "the kernel says no")
            assert going["observedGeneration"] == 2
            has = edge.status("a")["containerStatuses"][0]
            assert (has["allocatedResources"], has["resources"]) == ({"cpu": "200m"}, cpu(100))
            assert edge.told() == ["ResizeStarted", "ResizeError"]
            edge.fault = ""
            await asyncio.sleep(15)
            assert "PodResizeInProgress" not in edge.conditions("a")
            assert edge.status("a")["containerStatuses"][0]["resources"] == cpu(200)

    run(story())


def test_memory_in_use_is_not_taken_away(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Sized(tmp_path)
        async with edge.running():
            await began(edge, {"limits": {"memory": "64Mi"}})
            mine = (await edge.containers("a"))["c"].id
            edge.runtime.usage[mine] = Usage(mine, memory_usage=48 << 20)
            going = (await edge.ask("a", {"limits": {"memory": "32Mi"}}, 2))["PodResizeInProgress"]
            assert going["message"] == (
                'attempting to set container "c" memory limit (33554432) below current usage (50331648)'
            )
            assert not edge.given
            edge.runtime.usage[mine] = Usage(mine, memory_usage=16 << 20)
            await asyncio.sleep(15)
            assert [a.memory_limit for a in edge.given] == [32 << 20]

    run(story())


def test_a_resize_that_a_kill_cut_short_is_done_by_the_next_agent(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Sized(tmp_path)
        async with edge.running():
            await began(edge, cpu(100))
            edge.fault = "killed before it came"
            await edge.ask("a", cpu(200), 2)
        edge.fault = ""
        before = (await edge.containers("a"))["c"].id
        async with edge.running():
            await asyncio.sleep(2)
            assert [a.cpu_shares for a in edge.given] == [204]
            assert "PodResizeInProgress" not in edge.conditions("a")
            assert (await edge.containers("a"))["c"].id == before
            edge.fault = "killed after it came, perhaps"
            await edge.ask("a", cpu(300), 3)
        edge.fault = ""
        await edge.ask("a", cpu(200), 4)  # taken back while nobody looked
        async with edge.running():
            await asyncio.sleep(2)
            assert [a.cpu_shares for a in edge.given] == [204, 204], "whatever it has, it is told what it is given"
            assert "PodResizeInProgress" not in edge.conditions("a")
        async with edge.running():
            await asyncio.sleep(2)
            assert len(edge.given) == 2

    run(story())
