"""What becomes of pods on a node: a whole agent on a hollow runtime, hours in milliseconds."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from parkube.kubeapi.client import CONFIGMAPS, EVENTS, LEASES, NODES, PODS, SERVICES
from parkube.kubeapi.errors import ServiceUnavailable
from parkube.nodeagent.plan.backoff import Backoff, due
from parkube.nodeagent.plan.model import ContainerPhase
from parkube.nodeagent.runtime.port import ExecResult
from tests.fakes.node import NODE, Edge, container, pod, ready, waiting
from tests.fakes.virtual_time import clock, run


def test_a_pod_starts_and_its_status_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, pod("web"))
            await asyncio.sleep(2)
            status = edge.status("web")
            assert status["phase"] == "Running"
            assert ready(status)
            assert status["hostIP"] == "192.0.2.1"
            assert status["podIP"].startswith("10.42.")
            assert status["qosClass"] == "BestEffort"
            assert status["containerStatuses"][0]["started"]
            reasons = {e["reason"] for e in edge.client.all(EVENTS)}
            assert {"Pulling", "Pulled", "Created", "Started"} <= reasons

    run(story())


def test_the_node_registers_once_and_renews_its_lease_only(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await asyncio.sleep(5)
            node = edge.client.all(NODES)[0]
            assert node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
            assert any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
            edge.client.actions.clear()
            await asyncio.sleep(100)
            writes = [(verb, what) for verb, what, _, _ in edge.client.actions]
            assert set(writes) == {("update", "leases")}
            assert 9 <= len(writes) <= 12
            await asyncio.sleep(300)  # the heartbeat of the status comes every five minutes
            assert [a for a in edge.client.actions if a[1] == "nodes"] == [("patch", "nodes", NODE, "status")]
            edge.client.drop(NODES, NODE)
            edge.client.drop(LEASES, NODE, "kube-node-lease")
            await asyncio.sleep(310)
            assert edge.client.all(NODES)

    run(story())


def test_a_crash_is_restarted_with_growing_back_off(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, pod("crash"))
            starts: list[float] = []
            for _ in range(7):
                while True:
                    found = (await edge.containers("crash")).get("c")
                    if found is not None and found.phase is ContainerPhase.RUNNING:
                        break
                    await asyncio.sleep(0.5)
                starts.append(clock())
                edge.runtime.exit(found.id, 3)
                await asyncio.sleep(0.5)
            gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
            assert gaps[0] < 3  # the first restart is immediate, then 10 s and doubling to five minutes
            assert [round(g, -1) for g in gaps[1:]] == [10, 20, 40, 80, 160]
            status = edge.status("crash")
            assert waiting(status) == "CrashLoopBackOff"
            found_status = status["containerStatuses"][0]
            assert "back-off 5m0s restarting failed container=c" in found_status["state"]["waiting"]["message"]
            assert found_status["lastState"]["terminated"]["exitCode"] == 3
            assert found_status["restartCount"] == 6
            words = [e["message"] for e in edge.client.all(EVENTS) if e["reason"] == "BackOff"]
            uid = edge.client.all(PODS)[0]["metadata"]["uid"]
            assert words[0] == f"Back-off restarting failed container c in pod crash_default({uid})"
            kept = await edge.runtime.containers("default", "crash")
            assert len(kept) == 2  # the last dead one is for `logs --previous`

    run(story())


def test_a_clock_set_back_holds_nothing_up() -> None:
    later, now = 1_800_000_000.0, 1_700_000_000.0
    backoff = Backoff()
    backoff.next(later)
    assert backoff.until(later, now) <= now + 10
    assert due(later, now)
    assert not due(now + 300, now)


def test_init_containers_run_one_by_one_before_the_others(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, pod("slow", initContainers=[container("one"), container("two")]))
            await asyncio.sleep(1)
            assert set(await edge.containers("slow")) == {"one"}
            assert waiting(edge.status("slow")) == "PodInitializing"
            edge.runtime.exit((await edge.containers("slow"))["one"].id, 1)
            await asyncio.sleep(3)
            again = (await edge.containers("slow"))["one"]
            assert (again.attempt, again.phase) == (1, ContainerPhase.RUNNING)
            edge.runtime.exit(again.id, 0)
            await asyncio.sleep(1)
            assert set(await edge.containers("slow")) == {"one", "two"}
            edge.runtime.exit((await edge.containers("slow"))["two"].id, 0)
            await asyncio.sleep(1)
            assert set(await edge.containers("slow")) == {"one", "two", "c"}
            assert ready(edge.status("slow"))

    run(story())


def test_pods_that_are_not_restarted_end_for_good(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            for name, policy, code in (("a", "Never", 0), ("b", "Never", 4), ("d", "OnFailure", 0)):
                await edge.client.create(PODS, pod(name, restartPolicy=policy))
                await asyncio.sleep(1)
                edge.runtime.exit((await edge.containers(name))["c"].id, code)
            await asyncio.sleep(5)
            assert [edge.status(n)["phase"] for n in "abd"] == ["Succeeded", "Failed", "Succeeded"]
            assert not any(s.ready for p in await edge.runtime.pods() for s in p.sandboxes)
            assert len(await edge.runtime.containers("default", "a")) == 1  # its log can still be read
        async with edge.running():  # and a new agent runs nothing of them again
            await asyncio.sleep(30)
            assert [edge.status(n)["phase"] for n in "abd"] == ["Succeeded", "Failed", "Succeeded"]
            assert len(await edge.runtime.containers("default", "a")) == 1

    run(story())


def test_a_pod_does_not_outlive_its_deadline(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, pod("brief", activeDeadlineSeconds=30))
            await asyncio.sleep(20)
        async with edge.running():  # counted from the pod's start, not the agent's
            await asyncio.sleep(5)
            assert ready(edge.status("brief"))
            await asyncio.sleep(10)
            status = edge.status("brief")
            assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
            assert all(c.phase is ContainerPhase.EXITED for c in (await edge.containers("brief")).values())

    run(story())


def test_deletion_stops_confirms_and_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        hook = {"preStop": {"exec": {"command": ["bye"]}}}
        async with edge.running():
            await edge.client.create(PODS, pod("web", container(lifecycle=hook)))
            await asyncio.sleep(1)
            await edge.client.delete(PODS, "web", "default")
            await asyncio.sleep(3)
            assert edge.runtime.calls == ["bye"]
            assert not edge.client.all(PODS)
            assert ("delete", "pods", "default/web", "") in edge.client.actions[-3:]
            assert not await edge.runtime.pods()
            await asyncio.sleep(1)
            assert not list((tmp_path / "agent" / "checkpoint" / "pods").glob("*.json"))

    run(story())


def test_an_image_that_cannot_be_had_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, pod("lost", container(image="missing:1")))
            await asyncio.sleep(2)
            assert waiting(edge.status("lost")) == "ErrImagePull"
            await asyncio.sleep(2)
            said = edge.status("lost")["containerStatuses"][0]["state"]["waiting"]
            assert said["reason"] == "ImagePullBackOff"
            assert said["message"].startswith('Back-off pulling image "missing:1": ErrImagePull: ')
            words = {(e["reason"], e["message"]) for e in edge.client.all(EVENTS)}
            assert {("BackOff", 'Back-off pulling image "missing:1"'), ("Failed", "Error: ImagePullBackOff")} <= words
            edge.client.actions.clear()
            await asyncio.sleep(60)
            pulls = [e for e in edge.client.all(EVENTS) if e["reason"] == "Pulling"]
            assert sum(e["count"] for e in pulls) in (3, 4)
            await edge.client.patch(PODS, "lost", {"spec": {"containers": [container(image="app:2")]}}, "default")
            await asyncio.sleep(100)
            assert ready(edge.status("lost"))

    run(story())


def test_probes_decide_on_readiness_and_restarts(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        edge.runtime.exec_results[("ready",)] = ExecResult(1, b"", b"not yet")
        probed = container(
            readinessProbe={"exec": {"command": ["ready"]}, "periodSeconds": 1},
            livenessProbe={"exec": {"command": ["live"]}, "periodSeconds": 1, "initialDelaySeconds": 3},
            startupProbe={"exec": {"command": ["up"]}, "periodSeconds": 1, "failureThreshold": 5},
        )
        edge.runtime.exec_results[("up",)] = ExecResult(1, b"", b"")
        async with edge.running():
            await edge.client.create(PODS, pod("web", probed))
            await asyncio.sleep(3)
            assert not edge.status("web")["containerStatuses"][0]["started"]
            assert "ready" not in edge.runtime.calls  # not asked before it has started
            edge.runtime.exec_results[("up",)] = ExecResult(0, b"", b"")
            await asyncio.sleep(2)
            status = edge.status("web")
            assert status["containerStatuses"][0]["started"]
            assert not ready(status)
            edge.runtime.exec_results[("ready",)] = ExecResult(0, b"", b"")
            await asyncio.sleep(2)
            assert ready(edge.status("web"))
            edge.runtime.exec_results[("live",)] = ExecResult(1, b"", b"ill")
            await asyncio.sleep(4)
            assert edge.status("web")["containerStatuses"][0]["restartCount"] == 1
            assert any("Liveness probe failed: ill" in e["message"] for e in edge.client.all(EVENTS))
            assert any(e["reason"] == "Killing" for e in edge.client.all(EVENTS))

    run(story())


def test_a_missing_configmap_holds_the_container_until_it_comes(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x"}}}]
        async with edge.running():
            await edge.client.create(PODS, pod("web", container(env=env)))
            await asyncio.sleep(5)
            status = edge.status("web")
            assert waiting(status) == "CreateContainerConfigError"
            assert 'configmap "settings" not found' in status["containerStatuses"][0]["state"]["waiting"]["message"]
            edge.client.put(CONFIGMAPS, {"metadata": {"name": "settings", "namespace": "default"}, "data": {"x": "1"}})
            await asyncio.sleep(2)
            assert ready(edge.status("web"))

    run(story())


def test_a_new_agent_takes_over_what_runs(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        probed = container(readinessProbe={"exec": {"command": ["ready"]}, "periodSeconds": 1000})
        async with edge.running():
            await edge.client.create(PODS, pod("web", probed))
            await asyncio.sleep(2)
            before = (await edge.containers("web"))["c"].id
            assert ready(edge.status("web"))
        edge.client.actions.clear()
        async with edge.running():
            await asyncio.sleep(5)
            assert (await edge.containers("web"))["c"].id == before
            assert ready(edge.status("web"))  # never unready in between
            assert not [a for a in edge.client.actions if a[1] == "pods"]
        edge.client.drop(PODS, "web", "default")
        async with edge.running():  # deleted while nobody looked
            await asyncio.sleep(5)
            assert not await edge.runtime.pods()

    run(story())


def test_with_no_network_a_node_starts_its_pods_from_disk(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        edge.client.put(CONFIGMAPS, {"metadata": {"name": "settings", "namespace": "default"}, "data": {"x": "1"}})
        env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x"}}}]
        latest = container(image="app:latest", env=env, imagePullPolicy="Always")
        async with edge.running():
            await edge.client.create(PODS, pod("web", latest))
            await asyncio.sleep(2)
            assert ready(edge.status("web"))

        edge.connected = False
        alone = Edge(tmp_path)  # a rebooted machine: nothing runs, nobody answers
        alone.connected = False

        async def away(*_: Any, **__: Any) -> Any:
            raise ServiceUnavailable("no route to the server")

        alone.client.list = alone.client.create = alone.client.patch = alone.client.get = away  # type: ignore[method-assign]
        async with alone.running() as agent:
            await asyncio.sleep(30)
            assert (await alone.containers("web"))["c"].phase is ContainerPhase.RUNNING
            assert next(iter(agent.pods)).status["phase"] == "Running"

    run(story())


def test_services_follow_the_nodes_own_ready_pods(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        edge.runtime.exec_results[("ready",)] = ExecResult(1, b"", b"")
        edge.client.put(SERVICES, {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIP": "10.43.0.7", "selector": {"app": "web"}, "type": "NodePort",
                     "ports": [{"port": 80, "targetPort": "http", "nodePort": 30080}]},
        })  # fmt: skip
        probed = container(
            readinessProbe={"exec": {"command": ["ready"]}, "periodSeconds": 1},
            ports=[{"name": "http", "containerPort": 8080, "hostPort": 8088}],
        )
        async with edge.running():
            await edge.client.create(PODS, pod("web", probed))
            await asyncio.sleep(2)
            entry = {e.name: e for e in edge.rules[-1].entries}
            assert entry["default/web:80"].backends == ()
            assert entry["default/kubernetes:https"].backends[0].ip == "192.0.2.9"
            assert edge.rules[-1].host_ports[0].port == 8088
            edge.runtime.exec_results[("ready",)] = ExecResult(0, b"", b"")
            await asyncio.sleep(2)
            ip = edge.status("web")["podIP"]
            entry = {e.name: e for e in edge.rules[-1].entries}
            assert [(b.ip, b.port) for b in entry["default/web:80"].backends] == [(ip, 8080)]
            assert entry["default/web:80"].node_port == 30080

    run(story())


def test_a_status_is_written_until_it_arrives(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            for _ in range(3):
                edge.client.fail("patch", "pods", ServiceUnavailable("not now"))
            await edge.client.create(PODS, pod("web"))
            await asyncio.sleep(20)
            assert ready(edge.status("web"))
            found = next(p for p in edge.client.all(PODS))
            found["status"]["conditions"] = [
                {**c, "status": "False"} if c["type"] == "Ready" else c for c in found["status"]["conditions"]
            ]
            edge.client.put(PODS, found)  # the node was called lost, and the node thinks otherwise
            await asyncio.sleep(2)
            assert ready(edge.status("web"))

    run(story())
