"""What a node shows of itself at kubelet's paths: its pods, what they use, the machine's logs; and in its status."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from parkube.kubeapi.client import NODES, PODS
from parkube.kubeapi.errors import NotFound
from parkube.nodeagent.plan.model import Usage
from parkube.nodeagent.sync.pages import show
from tests.fakes.node import Edge, pod
from tests.fakes.virtual_time import clock, run


def test_a_node_tells_of_its_pods_and_what_they_use(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running() as agent:
            pages = agent.pages()
            await edge.client.create(PODS, pod("web"))
            await asyncio.sleep(2)
            items = orjson.loads((await pages.page("/pods")).body)["items"]
            assert [(p["metadata"]["name"], p["status"]["phase"]) for p in items] == [("web", "Running")]
            found = (await edge.containers("web"))["c"].id

            async def look(cpu_ns: int) -> dict[str, int]:
                usage = Usage(found, clock(), cpu_ns, 10 << 20, 12 << 20, 8 << 20, 4096, 3)
                edge.runtime.usage[found] = usage
                said = orjson.loads((await pages.page("/stats/summary")).body)
                assert said["node"]["nodeName"] == "edge-1"
                assert said["node"]["memory"]["availableBytes"] == 8 << 30
                (shown,) = said["pods"]
                assert shown["podRef"]["name"] == "web"
                assert shown["memory"]["workingSetBytes"] == 10 << 20
                assert shown["ephemeral-storage"]["usedBytes"] == 4096
                cpu: dict[str, int] = shown["containers"][0]["cpu"]
                assert shown["cpu"].get("usageNanoCores") == cpu.get("usageNanoCores")
                return cpu

            assert "usageNanoCores" not in await look(1_000_000_000)  # a rate needs two looks
            await asyncio.sleep(10)
            assert (await look(6_000_000_000))["usageNanoCores"] == 500_000_000
            text = (await pages.page("/metrics/resource")).body.decode()
            assert '\ncontainer_memory_working_set_bytes{container="c",namespace="default",pod="web"} 10485760 ' in text
            assert text.count("# TYPE container_cpu_usage_seconds_total counter\n") == 1
            assert orjson.loads((await pages.page("/configz")).body)["kubeletconfig"]["maxPods"] == 110
            with pytest.raises(NotFound):
                await pages.page("/run/anything")

    run(story())


def test_the_machines_logs_can_be_read_and_nothing_beside_them(tmp_path: Path) -> None:
    logs = tmp_path / "log"
    (logs / "apt").mkdir(parents=True)
    (logs / "a b.log").write_text("said")
    (tmp_path / "secret").write_text("key")
    (logs / "way-out").symlink_to(tmp_path / "secret")
    assert b'<a href="a%20b.log">a b.log</a>\n<a href="apt/">apt/</a>' in show(logs, "").body
    assert show(logs, "a b.log").body == b"said"
    for wrong in ("../secret", "way-out", "none"):
        with pytest.raises(NotFound):
            show(logs, wrong)


def test_a_nodes_status_names_its_images_and_handlers(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, pod("web"))
            await asyncio.sleep(25)
            status = edge.client.all(NODES)[0]["status"]
            assert status["images"] == [{"names": ["app:1"], "sizeBytes": 1}]
            assert [handler["name"] for handler in status["runtimeHandlers"]] == ["", "runc"]

    run(story())
