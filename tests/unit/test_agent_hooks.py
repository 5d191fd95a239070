"""Lifecycle hooks: what runs after a container's start and before its stop, and what a failing one does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from parkube.kubeapi.client import EVENTS, PODS
from parkube.kubeapi.errors import Obj
from parkube.nodeagent.runtime.port import ExecResult
from parkube.nodeagent.sync import executor
from tests.fakes.node import Edge, container, pod, ready
from tests.fakes.virtual_time import clock, run


def told(edge: Edge, reason: str) -> list[str]:
    return [event["message"] for event in edge.client.all(EVENTS) if event["reason"] == reason]


def test_a_post_start_hook_that_fails_ends_the_container_and_tells_no_secret(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        edge.runtime.exec_results[("begin",)] = ExecResult(3, b"password 1234", b"")
        hook = {"postStart": {"exec": {"command": ["begin"]}}}
        async with edge.running():
            await edge.client.create(PODS, pod("web", container(lifecycle=hook)))
            await asyncio.sleep(5)
            assert told(edge, "FailedPostStartHook") == ["PostStartHook failed"]
            assert told(edge, "Killing") == ["FailedPostStartHook"]
            edge.runtime.exec_results[("begin",)] = ExecResult(0, b"", b"")
            await asyncio.sleep(30)
            assert ready(edge.status("web"))
            assert edge.status("web")["containerStatuses"][0]["restartCount"] >= 1

    run(story())


def test_a_pre_stop_hook_takes_of_the_grace_and_may_sleep(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        grace: list[float] = []
        stop = edge.runtime.stop_container

        async def stop_container(container_id: str, timeout_s: float) -> None:
            grace.append(timeout_s)
            await stop(container_id, timeout_s)

        edge.runtime.stop_container = stop_container  # type: ignore[method-assign]
        async with edge.running():
            hook = {"preStop": {"sleep": {"seconds": 4}}}
            await edge.client.create(PODS, pod("web", container(lifecycle=hook)))
            await asyncio.sleep(2)
            begun = clock()
            await edge.client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 10})
            while edge.status("web"):
                await asyncio.sleep(0.5)
            assert 4 <= clock() - begun < 7
            assert [round(left) for left in grace] == [6]
            assert not told(edge, "FailedPreStopHook")

    run(story())


def test_a_pod_without_grace_has_a_moment_to_end_and_no_more(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        grace: list[float] = []

        async def stop_container(container_id: str, timeout_s: float) -> None:
            grace.append(timeout_s)
            edge.runtime.exit(container_id, 137)

        edge.runtime.stop_container = stop_container  # type: ignore[method-assign]
        edge.runtime.exec_results[("alive",)] = ExecResult(1, b"", b"")
        probe = {"exec": {"command": ["alive"]}, "failureThreshold": 1, "periodSeconds": 1}
        async with edge.running():
            await edge.client.create(PODS, pod("a", container(livenessProbe=probe), terminationGracePeriodSeconds=0))
            await asyncio.sleep(5)
            assert set(grace) == {2.0}

    run(story())


@pytest.mark.parametrize(
    ("hook", "port", "fails"),
    [
        ({"httpGet": {"path": "/end", "port": "web"}}, 8080, False),
        ({"httpGet": {"path": "/end", "port": "none"}}, 0, True),
        ({"tcpSocket": {"port": 9090}}, 9090, False),
    ],
)
def test_a_hook_may_be_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hook: Obj, port: int, fails: bool
) -> None:
    asked: list[int] = []

    class Writer:
        def close(self) -> None:
            pass

    async def http_get(handler: Obj, target: Any) -> tuple[int, bytes]:
        asked.append(executor.port_number(handler["port"], target.ports))
        return 200, b""

    async def open_connection(host: str, port: int) -> tuple[None, Writer]:
        asked.append(port)
        return None, Writer()

    monkeypatch.setattr(executor, "http_get", http_get)
    monkeypatch.setattr(asyncio, "open_connection", open_connection)

    async def story() -> None:
        edge = Edge(tmp_path)
        ports = [{"name": "web", "containerPort": 8080}]
        async with edge.running():
            await edge.client.create(PODS, pod("web", container(lifecycle={"preStop": hook}, ports=ports)))
            await asyncio.sleep(2)
            await edge.client.delete(PODS, "web", "default")
            await asyncio.sleep(5)
            assert not edge.status("web")
            assert asked == ([port] if port else [])
            assert bool(told(edge, "FailedPreStopHook")) == fails

    run(story())
