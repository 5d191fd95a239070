"""Static pods: a file on the node's disk runs whatever the API says, and can be seen there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from parkube.kubeapi.client import PODS
from parkube.kubeapi.errors import Obj, ServiceUnavailable
from parkube.nodeagent.plan.model import ContainerPhase
from parkube.nodeagent.sync.static import ManifestFault, static_pod
from tests.fakes.node import Edge, ready
from tests.fakes.virtual_time import run

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: gatekeeper, labels: {app: gate}}
spec: {containers: [{name: c, image: "app:1"}]}
"""


def write(folder: Path, text: str) -> None:
    (folder / "agent/pod-manifests").mkdir(parents=True, exist_ok=True)
    (folder / "agent/pod-manifests/gate.yaml").write_text(text)


def mirrors(edge: Edge) -> list[Obj]:
    return [p for p in edge.client.all(PODS) if p["metadata"]["name"] == "gatekeeper-edge-1"]


async def images(edge: Edge) -> list[str]:
    found = await edge.runtime.containers("default", "gatekeeper-edge-1")
    return [c.image for c in found if c.phase is ContainerPhase.RUNNING]


def test_a_file_becomes_a_pod_and_its_mirror_tells_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        write(tmp_path, MANIFEST)
        async with edge.running() as agent:
            await asyncio.sleep(12)
            (mirror,) = mirrors(edge)
            meta = mirror["metadata"]
            assert meta["annotations"]["kubernetes.io/config.source"] == "file"
            assert meta["annotations"]["kubernetes.io/config.mirror"] in agent.pods.workers
            assert meta["uid"] not in agent.pods.workers
            assert [owner["kind"] for owner in meta["ownerReferences"]] == ["Node"]
            assert ready(mirror["status"])
            first = await edge.runtime.containers("default", "gatekeeper-edge-1")

            await edge.client.delete(PODS, "gatekeeper-edge-1", "default")  # by somebody: it comes again, nothing ends
            await asyncio.sleep(12)
            assert mirrors(edge)[0]["metadata"]["uid"] != meta["uid"]
            assert ready(mirrors(edge)[0]["status"])
            assert [c.id for c in await edge.runtime.containers("default", "gatekeeper-edge-1")] == [first[0].id]

            write(tmp_path, MANIFEST.replace("app:1", "app:2"))
            await asyncio.sleep(45)
            assert await images(edge) == ["sha256:app:2"]
            assert mirrors(edge)[0]["spec"]["containers"][0]["image"] == "app:2"

            (tmp_path / "agent/pod-manifests/gate.yaml").unlink()
            await asyncio.sleep(45)
            assert not mirrors(edge)
            assert not await edge.runtime.pods()

    run(story())


def test_a_file_runs_while_the_server_is_away(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await asyncio.sleep(10)  # the Services were read once
        write(tmp_path, MANIFEST)

        async def away(*_: Any, **__: Any) -> Any:
            raise ServiceUnavailable("no route to the server")

        client = edge.client
        client.list = client.create = client.patch = client.get = away  # type: ignore[method-assign]
        async with edge.running():
            await asyncio.sleep(10)
            assert await images(edge) == ["sha256:app:1"]

    run(story())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "no YAML"),
        ("kind: Service", "no v1 Pod"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}}", "are needed"),
        ("{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c}]}}", "needs a name and"),
        (MANIFEST.replace("{containers", "{serviceAccountName: x, containers"), "may not refer"),
        (MANIFEST.replace('"app:1"', '"app:1", envFrom: [{secretRef: {name: s}}]'), "may not refer"),
    ],
)
def test_a_file_that_is_no_static_pod_says_why(text: str, why: str) -> None:
    with pytest.raises(ManifestFault, match=why):
        static_pod(text, "a.yaml", "edge-1", 0.0)
