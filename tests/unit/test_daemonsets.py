"""DaemonSets: which nodes get a pod, updates within their bounds, history, and the price of a thousand."""

from __future__ import annotations

import asyncio
import time

from parkube.controlplane.controllers.views import CONTROLLERREVISIONS
from parkube.kubeapi.client import DAEMONSETS, NODES, PODS
from parkube.kubeapi.errors import Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster, daemonset, images

MASTER = {"key": "node-role.kubernetes.io/master", "value": "effect", "effect": "NoSchedule"}


def homes(pods: list[Obj]) -> list[str]:
    return sorted(p["spec"]["nodeName"] for p in pods if p["spec"].get("nodeName"))


async def settled(c: FakeCluster, name: str = "agent") -> Obj:
    """What `kubectl rollout status ds` waits for."""

    def done() -> bool:
        d = next(x for x in c.client.all(DAEMONSETS) if x["metadata"]["name"] == name)
        s = d.get("status") or {}
        if s.get("observedGeneration") != d["metadata"]["generation"]:
            return False
        wanted = s["desiredNumberScheduled"]
        return wanted > 0 and s.get("updatedNumberScheduled") == wanted == s.get("numberAvailable")

    await c.until(done, what="roll-out of the DaemonSet")
    return await c.client.get(DAEMONSETS, name, "default")


def test_nodes_come_and_go_and_taints_are_minded() -> None:
    async def story() -> None:
        async with FakeCluster("daemonset", "taint-eviction", scheduler=True) as c:
            c.node("a")
            c.node("b", labels={"garage": "yes"})
            c.node("server", taints=[MASTER])
            c.node("cordoned", unschedulable=True)
            await c.client.create(DAEMONSETS, daemonset(), "default")
            d = await settled(c)
            assert homes(c.pods()) == ["a", "b", "cordoned"]
            assert d["status"]["desiredNumberScheduled"] == 3
            c.node("late")
            await c.until(lambda: "late" in homes(c.pods()))
            a = next(n for n in c.client.all(NODES) if n["metadata"]["name"] == "a")
            a["spec"]["taints"] = [MASTER]  # NoSchedule: what runs there may go on
            c.client.put(NODES, a)
            await asyncio.sleep(5)
            d = await c.client.get(DAEMONSETS, "agent", "default")
            assert "a" in homes(c.pods())
            assert d["status"]["numberMisscheduled"] == 1
            d["spec"]["template"]["spec"]["nodeSelector"] = {"garage": "yes"}
            await c.client.update(DAEMONSETS, d)
            await c.until(lambda: homes(c.pods()) == ["b"])

    run(story())


def test_an_update_goes_node_by_node_and_history_can_be_put_back() -> None:
    async def story() -> None:
        async with FakeCluster("daemonset", scheduler=True) as c:
            for n in range(5):
                c.node(f"n{n}")
            await c.client.create(DAEMONSETS, daemonset(), "default")
            d = await settled(c)
            first = c.client.all(CONTROLLERREVISIONS)
            assert [r["revision"] for r in first] == [1]
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
            await c.client.update(DAEMONSETS, d)
            while images(c.pods()) != ["v2"] * 5:
                await asyncio.sleep(0.05)
                assert len([p for p in c.pods() if (p.get("status") or {}).get("phase") == "Running"]) >= 4
            d = await settled(c)
            assert sorted(r["revision"] for r in c.client.all(CONTROLLERREVISIONS)) == [1, 2]
            template = dict(first[0]["data"]["spec"]["template"])
            assert template.pop("$patch") == "replace"
            d["spec"]["template"] = template
            await c.client.update(DAEMONSETS, d)
            await c.until(lambda: images(c.pods()) == ["v1"] * 5)
            assert sorted(r["revision"] for r in c.client.all(CONTROLLERREVISIONS)) == [2, 3]

    run(story())


def test_surge_starts_the_new_pod_before_the_old_one_ends() -> None:
    async def story() -> None:
        async with FakeCluster("daemonset", scheduler=True) as c:
            for n in range(3):
                c.node(f"n{n}")
            strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
            await c.client.create(DAEMONSETS, daemonset(updateStrategy=strategy), "default")
            d = await settled(c)
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
            await c.client.update(DAEMONSETS, d)
            while images(c.pods()) != ["v2"] * 3:
                await asyncio.sleep(0.05)
                assert len({p["spec"].get("nodeName") for p in c.pods() if p.get("status", {}).get("phase")}) == 3
                assert len(c.pods()) <= 4

    run(story())


def test_a_failed_pod_is_replaced_with_growing_patience() -> None:
    async def story() -> None:
        async with FakeCluster("daemonset", scheduler=True) as c:
            c.node("n0")
            await c.client.create(DAEMONSETS, daemonset(), "default")
            await settled(c)
            deaths = 0
            for _ in range(600):
                for pod in c.pods():
                    if (pod.get("status") or {}).get("phase") == "Running":
                        pod["status"]["phase"] = "Failed"
                        c.client.put(PODS, pod)
                        deaths += 1
                await asyncio.sleep(0.1)
            assert 4 <= deaths <= 8  # 1, 2, 4, 8, 16, 32 s
            assert any(e.startswith("FailedDaemonPod: Found failed daemon pod default/agent-") for e in c.events())

    run(story())


def test_a_thousand_nodes_cost_few_seconds() -> None:
    async def story() -> float:
        async with FakeCluster("daemonset", scheduler=True, agents=False) as c:
            for n in range(1000):
                c.node(f"n{n}")
            await asyncio.sleep(5)
            before = time.process_time()
            await c.client.create(DAEMONSETS, daemonset(), "default")
            await c.until(lambda: len({p.node for _, p in c.views.pods.items() if p.node}) == 1000, 60)
            writes = [a for a in c.client.actions if a[1] == "daemonsets" and a[3] == "status"]
            assert len(writes) < 10
            return time.process_time() - before

    assert run(story()) < 8.0  # the fake API's deep copies are most of it
