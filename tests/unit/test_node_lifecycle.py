"""Nodes that fall silent and come back: conditions, taints, eviction, its pace, and what an idle cluster costs."""

from __future__ import annotations

import asyncio
import time

from parkube.controlplane.controllers.nodes.ipam import Ranges
from parkube.controlplane.controllers.options import Options
from parkube.kubeapi.client import LEASES, NODES, PODS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339
from tests.fakes.virtual_time import clock, run
from tests.fakes.workloads import FakeCluster, pod_template

ALL = ("node-lifecycle", "taint-eviction", "pod-gc")
UNREACHABLE = "node.kubernetes.io/unreachable"
FIVE_MINUTES = [
    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in (UNREACHABLE, "node.kubernetes.io/not-ready")
]


def node(c: FakeCluster, name: str) -> Obj:
    return next(n for n in c.client.all(NODES) if n["metadata"]["name"] == name)


def ready(c: FakeCluster, name: str) -> str:
    return next(str(x["status"]) for x in node(c, name)["status"]["conditions"] if x["type"] == "Ready")


def taints(c: FakeCluster, name: str) -> set[tuple[str, str]]:
    return {(t["key"], t["effect"]) for t in node(c, name)["spec"].get("taints") or ()}


def pod(c: FakeCluster, name: str, on: str, tolerations: list[Obj]) -> None:
    spec = {**pod_template("v1")["spec"], "nodeName": on, "tolerations": tolerations}
    c.client.put(PODS, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})


def names(c: FakeCluster) -> set[str]:
    return {p["metadata"]["name"] for p in c.pods()}


def test_a_silent_node_is_tainted_emptied_and_welcome_back() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            for name in ("n1", "n2", "n3"):
                c.node(name)
            pod(c, "patient", "n1", FIVE_MINUTES)
            pod(c, "daemon", "n1", [{"operator": "Exists"}])
            pod(c, "hasty", "n1", [])
            await asyncio.sleep(60)
            assert taints(c, "n1") == set()
            c.silent.add("n1")
            await asyncio.sleep(35)
            assert ready(c, "n1") == "True"
            await asyncio.sleep(21)
            assert ready(c, "n1") == "Unknown"
            assert taints(c, "n1") == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
            told = next(p for p in c.client.all(PODS) if p["metadata"]["name"] == "patient")
            assert told["status"]["conditions"][0]["status"] == "False"
            assert names(c) == {"patient", "daemon"}
            assert "TaintManagerEviction: Marking for deletion Pod default/hasty" in c.events()
            assert "NodeNotReady: Node n1 status is now: NodeNotReady" in c.events()
            await asyncio.sleep(200)
            assert "patient" in names(c)
            await asyncio.sleep(110)
            assert names(c) == {"daemon"}
            assert (ready(c, "n2"), taints(c, "n2")) == ("True", set())

            c.silent.discard("n1")
            back = node(c, "n1")
            back["status"]["conditions"][0]["status"] = "True"  # the agent says so again
            c.client.put(NODES, back)
            await asyncio.sleep(1)
            assert taints(c, "n1") == set()

    run(story())


def test_an_agent_that_says_not_ready_is_tainted_and_own_taints_stay() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            mine = {"key": "garage", "value": "north", "effect": "NoSchedule"}
            c.node("n1", taints=[mine])
            c.node("n2")
            await asyncio.sleep(10)
            sick = node(c, "n1")
            sick["status"]["conditions"] = [
                {"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"},
            ]  # fmt: skip
            sick["spec"]["unschedulable"] = True
            c.client.put(NODES, sick)
            await asyncio.sleep(1)
            key = "node.kubernetes.io/"
            assert taints(c, "n1") == {
                ("garage", "NoSchedule"), (key + "not-ready", "NoSchedule"), (key + "not-ready", "NoExecute"),
                (key + "disk-pressure", "NoSchedule"), (key + "unschedulable", "NoSchedule"),
            }  # fmt: skip
            sick = node(c, "n1")
            sick["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
            sick["spec"]["unschedulable"] = False
            c.client.put(NODES, sick)
            await asyncio.sleep(1)
            assert taints(c, "n1") == {("garage", "NoSchedule")}

    run(story())


def test_when_every_node_falls_silent_nothing_is_evicted() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            for n in range(4):
                c.node(f"n{n}")
                pod(c, f"p{n}", f"n{n}", FIVE_MINUTES)
            await asyncio.sleep(20)
            c.silent.update(f"n{n}" for n in range(4))
            await asyncio.sleep(1000)
            assert names(c) == {"p0", "p1", "p2", "p3"}
            assert {ready(c, f"n{n}") for n in range(4)} == {"Unknown"}
            assert (UNREACHABLE, "NoSchedule") in taints(c, "n0")

    run(story())


def test_many_silent_nodes_are_emptied_one_in_ten_seconds() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            for n in range(20):
                c.node(f"n{n}")
            await asyncio.sleep(20)
            c.silent.update(f"n{n}" for n in range(6))
            await asyncio.sleep(50)
            evicting = [sum((UNREACHABLE, "NoExecute") in taints(c, f"n{n}") for n in range(6))]
            await asyncio.sleep(20)
            evicting.append(sum((UNREACHABLE, "NoExecute") in taints(c, f"n{n}") for n in range(6)))
            await asyncio.sleep(60)
            evicting.append(sum((UNREACHABLE, "NoExecute") in taints(c, f"n{n}") for n in range(6)))
            assert evicting[0] <= 2 < evicting[1] + 1 <= 4
            assert evicting[2] == 6

    run(story())


def test_pods_of_a_deleted_node_and_its_lease_go() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            c.node("n1")
            c.node("n2")
            pod(c, "lost", "n1", [{"operator": "Exists"}])
            pod(c, "kept", "n2", [])
            await asyncio.sleep(30)
            c.silent.add("n1")
            c.client.drop(NODES, "n1")
            await asyncio.sleep(1)
            assert [x["metadata"]["name"] for x in c.client.all(LEASES)] == ["n2"]
            await asyncio.sleep(90)
            assert names(c) == {"kept"}

    run(story())


def test_600_renewals_a_second_cost_next_to_nothing() -> None:
    async def story() -> float:
        async with FakeCluster(*ALL, agents=False) as c:
            lifecycle = next(h for h in c.views.leases._handlers)
            for n in range(6000):
                c.node(f"n{n}")
                lifecycle("ADDED", f"kube-node-lease/n{n}", None, rfc3339(clock()))
            await asyncio.sleep(5)
            actions = len(c.client.actions)
            before = time.process_time()
            for _ in range(6):  # a minute
                for n in range(6000):
                    lifecycle("MODIFIED", f"kube-node-lease/n{n}", "then", "now")
                await asyncio.sleep(10)
            assert len(c.client.actions) == actions
            return time.process_time() - before

    assert run(story()) < 0.6  # 1 % of a core


def test_node_ranges_are_never_given_twice() -> None:
    ranges = Ranges("10.42.0.0/22", 24)
    ranges.take("old", "10.42.1.0/24")
    given = [ranges.give(f"n{n}") for n in range(4)]
    assert given == ["10.42.0.0/24", "10.42.2.0/24", "10.42.3.0/24", None]
    ranges.release("old", "10.42.1.0/24")
    assert ranges.give("new") == "10.42.1.0/24"
    ranges.release("n1", "10.42.1.0/24")  # not its own
    assert ranges.give("newer") is None


def test_nodes_get_their_ranges() -> None:
    async def story() -> None:
        async with FakeCluster("node-ipam", options=Options(cluster_cidr="10.42.0.0/23")) as c:
            for name in ("a", "b", "c"):
                c.node(name)
            await asyncio.sleep(1)
            given = {n["spec"].get("podCIDR") for n in c.client.all(NODES)}
            assert given == {"10.42.0.0/24", "10.42.1.0/24", None}
            assert sum(e.startswith("CIDRNotAvailable") for e in c.events()) == 1

    run(story())


def test_a_pod_that_is_ended_by_a_taint_or_with_its_node_says_so() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, agents=False) as c:
            c.node("n1", taints=[{"key": "k", "value": "v", "effect": "NoExecute"}])
            pod(c, "hasty", "n1", [])
            pod(c, "bears", "n1", [{"key": "k", "operator": "Exists", "tolerationSeconds": 30}])
            await asyncio.sleep(5)
            assert why(c, "hasty") == ("True", "DeletionByTaintManager")
            assert why(c, "bears") == ("", "")
            free = node(c, "n1")
            free["spec"]["taints"] = []
            c.client.put(NODES, free)
            await asyncio.sleep(60)
            assert names(c) == {"bears"}  # the taint went before its time was over

            stays = next(p for p in c.client.all(PODS) if p["metadata"]["name"] == "bears")
            stays["metadata"]["finalizers"] = ["test/kept"]
            c.client.put(PODS, stays)
            c.client.drop(NODES, "n1")
            await asyncio.sleep(100)
            lost = next(p for p in c.client.all(PODS) if p["metadata"]["name"] == "bears")
            assert (lost["status"]["phase"], why(c, "bears")) == ("Failed", ("True", "DeletionByPodGC"))

    run(story())


def why(c: FakeCluster, name: str) -> tuple[str, str]:
    """The condition DisruptionTarget of a pod: status and reason."""
    there = next(p for p in c.client.all(PODS) if p["metadata"]["name"] == name)
    for condition in (there.get("status") or {}).get("conditions") or ():
        if condition["type"] == "DisruptionTarget":
            return condition["status"], condition["reason"]
    return "", ""
