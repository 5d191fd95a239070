"""Priorities, preemption, the rules between pods, and the queue of pods that wait."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.controllers.views import BUDGETS
from parkube.controlplane.scheduler.hints import helps
from parkube.controlplane.scheduler.queue import EVERYTHING, Happened, PodQueue
from parkube.kubeapi.client import NAMESPACES, PODS
from parkube.kubeapi.compact import pod_info
from parkube.kubeapi.errors import Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster
from tests.unit.test_scheduler import home, pod, why


def of(c: FakeCluster, name: str) -> Obj:
    return next(p for p in c.client.all(PODS) if p["metadata"]["name"] == name)


def leaving(c: FakeCluster) -> set[str]:
    return {p["metadata"]["name"] for p in c.client.all(PODS) if p["metadata"].get("deletionTimestamp")}


async def away(c: FakeCluster, name: str) -> None:
    await c.client.delete(PODS, name, "default", options={"gracePeriodSeconds": 0})


def test_the_lowest_priority_goes_says_why_and_its_room_is_kept_for_the_one_that_asked() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.node("n", cpu="2")
            c.client.put(PODS, pod("low", cpu="1", priority=1))
            c.client.put(PODS, pod("middle", cpu="1", priority=5))
            await asyncio.sleep(1)
            c.client.put(PODS, pod("patient", cpu="1", priority=9, preemptionPolicy="Never"))
            await asyncio.sleep(1)
            assert leaving(c) == set()
            c.client.put(PODS, pod("high", cpu="1", priority=10))
            await asyncio.sleep(1)
            assert leaving(c) == {"low"}
            assert of(c, "high")["status"]["nominatedNodeName"] == "n"
            condition = next(x for x in of(c, "low")["status"]["conditions"] if x["type"] == "DisruptionTarget")
            assert (condition["status"], condition["reason"]) == ("True", "PreemptionByScheduler")
            await away(c, "low")
            await asyncio.sleep(15)
            assert (home(c, "high"), home(c, "patient"), leaving(c)) == ("n", "", set())
            assert any(e.startswith("Preempted: ") for e in c.events())

    run(story())


def test_a_budget_decides_between_nodes_and_gives_way_where_nothing_else_helps() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.node("a", cpu="1")
            c.node("b", cpu="1")
            kept = {"metadata": {"name": "kept", "namespace": "default"}, "status": {"disruptionsAllowed": 0},
                    "spec": {"selector": {"matchLabels": {"app": "kept"}}}}  # fmt: skip
            c.client.put(BUDGETS, kept)
            c.client.put(PODS, pod("kept", cpu="1", labels={"app": "kept"}, priority=1))
            c.client.put(PODS, pod("free", cpu="1", priority=2))
            await asyncio.sleep(1)
            c.client.put(PODS, pod("first", cpu="1", priority=10))
            await asyncio.sleep(1)
            assert leaving(c) == {"free"}
            c.client.put(PODS, pod("second", cpu="1", priority=10))
            await asyncio.sleep(1)
            assert leaving(c) == {"free", "kept"}

    run(story())


def test_terms_reach_as_far_as_their_namespaces_and_ask_for_the_same_or_other_labels() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            for name, labels in (("default", {}), ("far", {"team": "x"})):
                c.client.put(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
            c.node("a", labels={"zone": "1"})
            c.node("b", labels={"zone": "2"})
            there = pod("there", labels={"app": "db", "version": "1"}, nodeName="a")
            there["metadata"]["namespace"] = "far"
            c.client.put(PODS, there)
            await asyncio.sleep(1)
            term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}
            teams = {**term, "namespaceSelector": {"matchLabels": {"team": "x"}}}

            def needs(kind: str, term: Obj) -> Obj:
                return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}

            c.client.put(PODS, pod("near", affinity=needs("podAffinity", teams)))
            c.client.put(PODS, pod("apart", affinity=needs("podAntiAffinity", {**term, "namespaces": ["far"]})))
            c.client.put(PODS, pod("own", affinity=needs("podAffinity", term)))
            v2 = {"version": "2"}
            same = {**teams, "matchLabelKeys": ["version"]}
            other = {**teams, "mismatchLabelKeys": ["version"]}
            c.client.put(PODS, pod("same", labels=v2, affinity=needs("podAffinity", same)))
            c.client.put(PODS, pod("other", labels=v2, affinity=needs("podAffinity", other)))
            await asyncio.sleep(1)
            assert [home(c, n) for n in ("near", "apart", "own", "same", "other")] == ["a", "b", "", "", "a"]
            assert "didn't match pod affinity rules" in why(c, "own")

    run(story())


def test_pods_spread_over_zones_as_evenly_as_they_ask() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            for n, zone in enumerate("xxy"):
                c.node(f"n{n}", labels={"zone": zone})
            c.node("bare")
            c.node("closed", labels={"zone": "z"}, taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
            even = {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {"matchLabels": {"app": "w"}}, "nodeTaintsPolicy": "Honor"}  # fmt: skip
            for n in range(6):
                c.client.put(PODS, pod(f"w{n}", labels={"app": "w"}, topologySpreadConstraints=[even]))
            await asyncio.sleep(1)
            homes = [home(c, f"w{n}") for n in range(6)]
            assert homes.count("n2") == 3
            assert "" not in homes
            strict = {**even, "labelSelector": {"matchLabels": {"app": "s"}}, "nodeTaintsPolicy": "Ignore"}
            few = {**even, "labelSelector": {"matchLabels": {"app": "f"}}, "minDomains": 3}
            for n in range(3):
                c.client.put(PODS, pod(f"s{n}", labels={"app": "s"}, topologySpreadConstraints=[strict]))
                c.client.put(PODS, pod(f"f{n}", labels={"app": "f"}, topologySpreadConstraints=[few]))
            await asyncio.sleep(1)
            assert sum(bool(home(c, f"s{n}")) for n in range(3)) == 2  # the zone that takes none stays at none
            assert sum(bool(home(c, f"f{n}")) for n in range(3)) == 2  # of three zones asked for one is missing
            late = next(n for n in range(3) if not home(c, f"f{n}"))
            assert "didn't match pod topology spread constraints" in why(c, f"f{late}")
            c.node("new", labels={"zone": "w"})
            await asyncio.sleep(12)
            assert home(c, f"f{late}")

    run(story())


def test_host_ports_meet_only_on_one_address_and_protocol_and_overhead_counts() -> None:
    def port(name: str, address: str, protocol: str = "TCP") -> Obj:
        obj = pod(name, port=80)
        obj["spec"]["containers"][0]["ports"][0].update(hostIP=address, protocol=protocol)
        return obj

    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.node("n", cpu="1")
            for obj in (port("p1", "127.0.0.1"), port("p2", "127.0.0.2"), port("p3", "127.0.0.1", "UDP")):
                c.client.put(PODS, obj)
            await asyncio.sleep(1)
            c.client.put(PODS, port("p4", "0.0.0.0"))
            c.client.put(PODS, pod("heavy", cpu="800m", overhead={"cpu": "300m"}))
            await asyncio.sleep(1)
            assert [home(c, f"p{n}") for n in range(1, 5)] == ["n", "n", "n", ""]
            assert "Insufficient cpu" in why(c, "heavy")

    run(story())


def test_a_container_counts_as_what_it_still_has_until_the_node_has_made_it_smaller() -> None:
    small = pod("p", cpu="1")
    small["status"] = {"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}
    assert pod_info(small).shape.requests == {"cpu": 2000}
    assert pod_info(pod("p", cpu="1")).shape.requests == {"cpu": 1000}


def test_a_pod_that_waits_is_woken_by_what_helps_and_not_before_its_back_off() -> None:
    queue = PodQueue()
    queue.park("a", 0, helps(["Insufficient cpu"]), now=0.0)
    queue.park("b", 7, helps(["node(s) didn't match Pod's node affinity/selector"]), now=0.0)
    assert queue.wake({Happened.NEIGHBOUR}, 5.0) is None
    assert len(queue) == 0
    assert queue.wake({Happened.ROOM}, 0.5) == 1.0  # it helps a, which backs off until then
    assert queue.wake((), 1.0) is None
    assert (len(queue), queue.pop()) == (1, "a")
    queue.park("a", 0, EVERYTHING, now=1.0)
    assert queue.wake({Happened.NODE}, 1.5) == 3.0  # twice as long; b is ready
    queue.flush()
    assert [queue.pop(), queue.pop()] == ["b", "a"]
    assert queue.idle


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 2), st.sampled_from("apfwx"))))
def test_a_key_is_in_one_place_and_comes_out_by_priority(steps: list[tuple[int, int, str]]) -> None:
    queue, now = PodQueue(), 0.0
    active: dict[str, int] = {}
    parked: dict[str, int] = {}
    for number, priority, what in steps:
        key, now = f"p{number}", now + 1.0
        if what == "a":
            queue.add(key, priority)
            active.setdefault(key, priority)
            parked.pop(key, None)
        elif what == "p":
            queue.park(key, priority, EVERYTHING, now)
            parked[key] = priority
            active.pop(key, None)
        elif what == "f":
            queue.forget(key)
            active.pop(key, None)
            parked.pop(key, None)
        elif what == "w":
            queue.flush()
            active.update(parked)
            parked.clear()
        elif active:
            best = max(active.values())
            assert active.pop(queue.pop()) == best
        assert len(queue) == len(active)
        assert queue.idle == (not parked)
    left = [active[queue.pop()] for _ in range(len(queue))]
    assert left == sorted(left, reverse=True)
