"""What a node takes and what it does not: sysctls, resources, ports; resizes now, later or never; restart rules."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from parkube.kubeapi.client import EVENTS, PODS, RUNTIMECLASSES
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.plan import pods
from parkube.nodeagent.plan.admission import refusal, resize_refusal
from parkube.nodeagent.plan.model import ContainerPhase, ContainerSpec
from parkube.nodeagent.plan.resources import pod_requests
from parkube.nodeagent.runtime.cri.convert import container_config
from tests.fakes.node import Edge, container, pod, ready
from tests.fakes.virtual_time import run

NODE = {"cpu": "2", "memory": "1Gi", "pods": "3"}


def asks(name: str = "p", cpu: str = "500m", **spec: Any) -> Obj:
    return pod(name, container(resources={"requests": {"cpu": cpu}}), **spec)


def sysctl(name: str) -> Obj:
    return {"securityContext": {"sysctls": [{"name": name, "value": "1"}]}}


def port(number: int, ip: str = "") -> Obj:
    return container(ports=[{"containerPort": 80, "hostPort": number, **({"hostIP": ip} if ip else {})}])


@pytest.mark.parametrize(
    ("wanted", "others", "reason", "words"),
    [
        (asks(), [], None, ""),
        (asks(**sysctl("kernel.shm_rmid_forced")), [], None, ""),
        (asks(**sysctl("net/ipv4/tcp_syncookies")), [], None, ""),
        (asks(**sysctl("kernel.msgmax")), [], "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        (asks(hostNetwork=True, **sysctl("net.ipv4.tcp_rmem")), [], "SysctlForbidden", "host net enabled"),
        (asks(os={"name": "windows"}), [], "PodOSNotSupported", "doesn't match node OS"),
        (
            asks(securityContext={"supplementalGroupsPolicy": "Strict"}), [], "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
        (
            asks(cpu="1500m"), [asks(), asks()], "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
        ),
        (asks(cpu="1"), [asks(), asks()], None, ""),
        (asks(cpu="1m"), [asks(cpu="1m")] * 3, "OutOfpods", "requested: 1, used: 3, capacity: 3"),
        (pod("p", port(80)), [pod("q", port(80))], "NodePorts", "didn't have free ports"),
        (pod("p", port(80, "192.0.2.1")), [pod("q", port(80, "192.0.2.2"))], None, ""),
        (pod("p", port(81)), [pod("q", port(80))], None, ""),
    ],
)  # fmt: skip
def test_a_node_takes_what_it_can_run(wanted: Obj, others: list[Obj], reason: str | None, words: str) -> None:
    why = refusal(wanted, others, NODE)
    assert (why and why[0]) == reason
    assert words in (why or ("", ""))[1]


def test_a_pod_asks_for_its_greatest_need_its_overhead_and_what_it_says_as_a_whole() -> None:
    def of(cpu: str, **more: Any) -> Obj:
        return container(resources={"requests": {"cpu": cpu}}, **more)

    sidecar = of("100m", restartPolicy="Always")
    spec = {"containers": [of("200m"), of("300m")], "initContainers": [sidecar, of("450m")]}
    assert pod_requests({"spec": spec})["cpu"] * 1000 == 600
    spec["initContainers"].append(of("900m"))
    assert pod_requests({"spec": spec})["cpu"] * 1000 == 1000
    whole = {**spec, "overhead": {"cpu": "50m"}, "resources": {"requests": {"cpu": "2"}}}
    assert pod_requests({"spec": whole})["cpu"] * 1000 == 2050


def test_a_resize_is_given_now_later_or_never() -> None:
    assert resize_refusal(asks(cpu="2"), [], NODE) is None
    assert resize_refusal(asks(cpu="2"), [asks()], NODE) == (
        "Deferred", "Node didn't have enough resource: cpu, requested: 2000, used: 500, capacity: 2000",
    )  # fmt: skip
    assert resize_refusal(asks(cpu="3"), [asks()], NODE) == (
        "Infeasible", "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000",
    )  # fmt: skip


def test_a_pod_that_the_node_cannot_take_is_rejected_and_makes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, asks("wrong", **sysctl("kernel.msgmax")))
            await asyncio.sleep(2)
            status = edge.status("wrong")
            assert (status["phase"], status["reason"]) == ("Failed", "SysctlForbidden")
            assert status["message"] == 'Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted'
            assert not await edge.runtime.pods()
            assert "SysctlForbidden" in [e["reason"] for e in edge.client.all(EVENTS)]

    run(story())


def test_a_pod_whose_forerunner_was_deleted_at_once_is_taken_while_that_one_ends(tmp_path: Path) -> None:
    """The API has forgotten it, and so the scheduler counts on its room."""

    async def story() -> None:
        edge = Edge(tmp_path)
        stop = edge.runtime.stop_container

        async def slowly(container_id: str, timeout_s: float) -> None:
            await asyncio.sleep(20)
            await stop(container_id, timeout_s)

        edge.runtime.stop_container = slowly  # type: ignore[method-assign]
        async with edge.running():
            await edge.client.create(PODS, pod("a", port(80)))
            await asyncio.sleep(2)
            await edge.client.create(PODS, pod("b", port(80)))
            await asyncio.sleep(2)
            assert edge.status("b")["reason"] == "NodePorts"
            await edge.client.delete(PODS, "a", "default", options={"gracePeriodSeconds": 0})
            await edge.client.create(PODS, pod("c", port(80)))
            await asyncio.sleep(2)
            assert (await edge.containers("a"))["c"].phase is ContainerPhase.RUNNING
            assert ready(edge.status("c"))

    run(story())


def test_a_deferred_resize_comes_when_another_pod_has_gone(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running() as agent:
            whole = int(float(agent.state.allocatable["cpu"]) * 1000)
            await edge.client.create(PODS, asks("a", f"{whole // 2}m"))
            await edge.client.create(PODS, asks("b", f"{whole // 2}m"))
            await asyncio.sleep(2)
            assert ready(edge.status("a"))

            async def resize(cpu: str) -> dict[str, Obj]:
                found = next(p for p in edge.client.all(PODS) if p["metadata"]["name"] == "a")
                found["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
                await edge.client.update(PODS, found)
                await asyncio.sleep(2)
                return {c["type"]: c for c in edge.status("a")["conditions"]}

            assert (await resize(f"{whole * 2}m"))["PodResizePending"]["reason"] == "Infeasible"
            assert (await resize(f"{whole}m"))["PodResizePending"]["reason"] == "Deferred"
            has = edge.status("a")["containerStatuses"][0]
            assert has["allocatedResources"] == has["resources"]["requests"] == {"cpu": f"{whole // 2}m"}
            await edge.client.delete(PODS, "b", "default")
            await asyncio.sleep(45)
            assert "PodResizePending" not in [c["type"] for c in edge.status("a")["conditions"]]
            assert edge.status("a")["containerStatuses"][0]["allocatedResources"] == {"cpu": f"{whole}m"}

    run(story())


RULE = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42, 43]}}]


@pytest.mark.parametrize(
    ("policy", "own", "code", "again"),
    [
        ("Never", {}, 1, False),
        ("Never", {"restartPolicy": "OnFailure"}, 1, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": RULE}, 42, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": RULE}, 1, False),
        ("Always", {"restartPolicy": "Never"}, 0, False),
        ("Always", {}, 0, True),
        (
            "Never",
            {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [1]}}]},
            2,
            True,
        ),
    ],
)
def test_a_container_may_have_rules_of_its_own_for_its_restarts(policy: str, own: Obj, code: int, again: bool) -> None:
    made = container(**own)
    assert pods.restarts(pod("p", made, restartPolicy=policy), made, code) == again


def test_a_runtime_class_names_the_runtimes_handler(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        handlers: list[str] = []
        make = edge.runtime.run_sandbox

        async def run_sandbox(spec: Any) -> Any:
            handlers.append(spec.runtime_handler)
            return await make(spec)

        edge.runtime.run_sandbox = run_sandbox  # type: ignore[method-assign]
        async with edge.running():
            await edge.client.create(PODS, pod("early", runtimeClassName="small"))
            await asyncio.sleep(8)
            assert 'RuntimeClass "small" not found' in str([e["message"] for e in edge.client.all(EVENTS)])
            await edge.client.create(RUNTIMECLASSES, {"metadata": {"name": "small"}, "handler": "crun"})
            await asyncio.sleep(8)
            assert ready(edge.status("early"))
            assert handlers == ["crun"]

    run(story())


def test_an_unmasked_proc_hides_nothing() -> None:
    masked = container_config(ContainerSpec("c", 0, "i"), "i")["linux"]["security_context"]
    assert "/proc/kcore" in masked["masked_paths"]
    bare = container_config(ContainerSpec("c", 0, "i", proc_unmasked=True), "i")["linux"]["security_context"]
    assert bare["masked_paths"] == bare["readonly_paths"] == []
