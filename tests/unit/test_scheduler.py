"""Where pods go, why they stay pending, and what a thousand of them cost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.scheduler.candidates import Candidates
from parkube.controlplane.scheduler.cluster import Cluster
from parkube.controlplane.scheduler.rules import reasons
from parkube.kubeapi.client import NODES, PODS
from parkube.kubeapi.compact import node_info, pod_info
from parkube.kubeapi.errors import Forbidden, Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster

MASTER = {"key": "node-role.kubernetes.io/master", "value": "effect", "effect": "NoSchedule"}


def pod(name: str, *, cpu: str = "", port: int = 0, labels: Obj | None = None, **spec: Any) -> Obj:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    ports = [{"containerPort": port, "hostPort": port}] if port else []
    container = {"name": "c", "image": "i", "resources": resources, "ports": ports}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"containers": [container], **spec},
    }  # fmt: skip


def home(c: FakeCluster, name: str) -> str:
    return next(str(p["spec"].get("nodeName", "")) for p in c.client.all(PODS) if p["metadata"]["name"] == name)


def why(c: FakeCluster, name: str) -> str:
    p = next(p for p in c.client.all(PODS) if p["metadata"]["name"] == name)
    found = [x for x in (p.get("status") or {}).get("conditions") or () if x["type"] == "PodScheduled"]
    assert not found or (found[0]["status"], found[0]["reason"]) == ("False", "Unschedulable")
    return str(found[0]["message"]) if found else ""


def in_terms(**term: object) -> Obj:
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def test_reasons_are_told_in_the_words_of_kubectls_users() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.client.put(PODS, pod("early"))
            await asyncio.sleep(1)
            assert why(c, "early") == "no nodes available to schedule pods"
            c.node("server", taints=[MASTER])
            c.node("small", cpu="500m")
            c.node("off", unschedulable=True)
            await asyncio.sleep(1)
            assert home(c, "early") == "small"
            c.client.put(PODS, pod("big", cpu="2"))
            c.client.put(PODS, pod("picky", nodeSelector={"garage": "yes"}))
            await asyncio.sleep(1)
            taint = "1 node(s) had untolerated taint {node-role.kubernetes.io/master: effect}"
            off = "1 node(s) were unschedulable"
            assert why(c, "big") == f"0/3 nodes are available: 1 Insufficient cpu, {taint}, {off}."
            suits = "1 node(s) didn't match Pod's node affinity/selector"
            assert why(c, "picky") == f"0/3 nodes are available: {suits}, {taint}, {off}."
            assert f"FailedScheduling: {why(c, 'big')}" in c.events()
            small = next(n for n in c.client.all(NODES) if n["metadata"]["name"] == "small")
            small["metadata"]["labels"]["garage"] = "yes"
            small["status"]["allocatable"]["cpu"] = "4"
            c.client.put(NODES, small)
            await asyncio.sleep(1)
            assert (home(c, "big"), home(c, "picky")) == ("small", "small")
            assert "Scheduled: Successfully assigned default/big to small" in c.events()

    run(story())


def test_affinity_tolerations_ports_gates_and_foreign_schedulers() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.node("a", labels={"zone": "1", "cores": "4"})
            c.node("b", labels={"zone": "2", "cores": "8"})
            c.node("m", taints=[MASTER])
            more = {"key": "cores", "operator": "Gt", "values": ["4"]}
            pin = {"key": "metadata.name", "operator": "In", "values": ["a"]}
            preferred = "preferredDuringSchedulingIgnoredDuringExecution"
            prefer = {"weight": 50, "preference": {"matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["2"]}]}}  # fmt: skip
            for obj in (
                pod("cores", affinity=in_terms(matchExpressions=[more])),
                pod("pinned", affinity=in_terms(matchFields=[pin])),
                pod("prefers", affinity={"nodeAffinity": {preferred: [prefer]}}),
                pod("bears", tolerations=[{"operator": "Exists"}], nodeSelector={"kubernetes.io/hostname": "m"}),
                pod("port1", port=80), pod("port2", port=80), pod("port3", port=80),
                pod("gated", schedulingGates=[{"name": "wait"}]), pod("other", schedulerName="mine"),
            ):  # fmt: skip
                c.client.put(PODS, obj)
            await asyncio.sleep(2)
            assert [home(c, n) for n in ("cores", "pinned", "prefers", "bears")] == ["b", "a", "b", "m"]
            assert {home(c, "port1"), home(c, "port2")} == {"a", "b"}
            assert "2 node(s) didn't have free ports for the requested pod ports" in why(c, "port3")
            assert (home(c, "gated"), why(c, "gated"), home(c, "other"), why(c, "other")) == ("", "", "", "")
            await c.client.delete(PODS, home_pod := "port1", "default", options={"gracePeriodSeconds": 0})
            await asyncio.sleep(1)
            assert home(c, "port3") in ("a", "b"), home_pod
            open_gate = pod("gated")
            c.client.put(PODS, open_gate)
            await asyncio.sleep(1)
            assert home(c, "gated")

    run(story())


def test_pods_that_keep_apart_or_together() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            for n in range(3):
                c.node(f"n{n}")
            term = {"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "kubernetes.io/hostname"}
            required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
            for n in range(4):
                c.client.put(PODS, pod(f"db{n}", labels={"app": "db"}, affinity={"podAntiAffinity": required}))
            await asyncio.sleep(2)
            assert {home(c, f"db{n}") for n in range(4)} == {"n0", "n1", "n2", ""}
            text = "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
            assert [w for n in range(4) if (w := why(c, f"db{n}"))] == [text]
            c.client.put(PODS, pod("near", affinity={"podAffinity": required}))
            await asyncio.sleep(1)
            assert home(c, "near")

    run(story())


def test_a_pod_that_makes_no_sense_does_not_stop_the_others() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.node("n")
            strange = {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Odd"}]},
            }
            terms = {"requiredDuringSchedulingIgnoredDuringExecution": [strange]}
            c.client.put(PODS, pod("placed", nodeName="n"))
            c.client.put(PODS, pod("odd", cpu="much", affinity={"podAntiAffinity": terms}))
            await asyncio.sleep(1)
            c.client.put(PODS, pod("plain"))
            await asyncio.sleep(1)
            assert (home(c, "odd"), home(c, "plain")) == ("", "n")

    run(story())


def test_a_binding_that_fails_is_tried_again_and_a_full_node_is_never_overbooked() -> None:
    async def story() -> None:
        async with FakeCluster(scheduler=True, agents=False) as c:
            c.node("n", cpu="1")
            c.client.fail("create", "pods", Forbidden("not now"))
            for n in range(15):
                c.client.put(PODS, pod(f"p{n}", cpu="100m"))
            await asyncio.sleep(5)
            assert sum(bool(home(c, f"p{n}")) for n in range(15)) == 10
            assert any("binding rejected: not now" in e for e in c.events())
            done = next(p for p in c.client.all(PODS) if p["spec"].get("nodeName"))
            done["status"] = {"phase": "Succeeded"}
            c.client.put(PODS, done)
            await asyncio.sleep(2)
            assert sum(bool(home(c, f"p{n}")) for n in range(15)) == 11

    run(story())


def test_a_thousand_pods_are_spread_in_few_seconds() -> None:
    async def story() -> float:
        async with FakeCluster(scheduler=True, agents=False) as c:
            for n in range(1000):
                c.node(f"n{n}")
            await asyncio.sleep(1)
            for n in range(1000):
                c.client.put(PODS, pod(f"p{n}", cpu="500m"))
            before = time.process_time()
            await c.until(lambda: sum(bool(p.node) for _, p in c.views.pods.items()) == 1000)
            spent = time.process_time() - before
            assert max(Counter(p.node for _, p in c.views.pods.items()).values()) == 1
            return spent

    assert run(story()) < 3.0


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=6),
    steps=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 5), st.booleans()), max_size=40),
)
def test_candidates_agree_with_looking_at_every_node(sizes: list[int], steps: list[tuple[int, int, bool]]) -> None:
    """However pods come and nodes change: a node is found exactly when one fits, and that one fits."""
    cluster = Cluster()

    def node(n: int, off: bool) -> None:
        allocatable = {"cpu": str(sizes[n]), "memory": "8Gi", "pods": "110"}
        status = {"allocatable": allocatable}
        cluster.set_node(node_info({"metadata": {"name": f"n{n}"}, "spec": {"unschedulable": off}, "status": status}))

    for n in range(len(sizes)):
        node(n, False)
    known: dict[int, Candidates] = {}
    placed: list[str] = []
    for step, (cpu, which, flag) in enumerate(steps):
        shape = pod_info(pod("x", cpu=str(cpu))).shape
        candidates = known.setdefault(cpu, Candidates(shape, cluster, lambda: 0.0))
        for name, whole in cluster.changed.items():
            for each in known.values():
                each.stale[name] = whole or each.stale.get(name, False)
        cluster.changed.clear()
        best = candidates.best()
        fitting = [s.info.name for s in cluster.states() if not reasons(shape, s)]
        assert (best is not None) == bool(fitting)
        if best is not None:
            assert best.info.name in fitting
            cluster.place(f"p{step}", best.info.name, shape)
            placed.append(f"p{step}")
        else:
            assert sum(candidates.against().values()) >= len(cluster)
        if flag and which < len(sizes):
            node(which, bool(step % 2))
        elif flag and placed:
            cluster.remove(placed.pop(0))
