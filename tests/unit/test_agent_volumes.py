"""Claims on a node: where their volumes are, whose directories they have, and what a node may say of a volume."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parkube.controlplane.access.authz import Attributes
from parkube.kubeapi.claims import (
    CLAIM_PROTECTION,
    LOCAL_DIRECTORY,
    LOCAL_PATH,
    LOCAL_STORAGE_PATH,
    PROVISIONED_BY,
    SELECTED_NODE,
    VOLUME_PROTECTION,
)
from parkube.kubeapi.client import EVENTS, NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from parkube.kubeapi.errors import Forbidden, Obj, ServiceUnavailable
from parkube.nodeagent.plan.model import ContainerPhase
from parkube.nodeagent.runtime.hollow import HollowRuntime
from parkube.nodeagent.volumes.claims import persistent_volume, place
from parkube.nodeagent.volumes.mounts import Volumes
from parkube.nodeagent.volumes.project import MountFault
from tests.fakes.cluster import Cluster, node_user
from tests.fakes.node import Edge, container, pod, ready
from tests.fakes.virtual_time import run


def bound(edge: Edge, name: str, **source: Any) -> None:
    """A claim, and the volume that it is bound to."""
    uid = f"uid-{name}"
    ref = {"namespace": "default", "name": name, "uid": uid}
    spec = {"volumeName": f"pvc-{name}", "accessModes": ["ReadWriteOnce"]}
    edge.client.put(PERSISTENTVOLUMECLAIMS, {
        "metadata": {"name": name, "namespace": "default", "uid": uid}, "spec": spec, "status": {"phase": "Bound"},
    })  # fmt: skip
    notes = source.pop("annotations", {})
    edge.client.put(PERSISTENTVOLUMES, {
        "metadata": {"name": f"pvc-{name}", "annotations": notes, "finalizers": [VOLUME_PROTECTION]},
        "spec": {"claimRef": ref, "persistentVolumeReclaimPolicy": "Delete", **source}, "status": {"phase": "Bound"},
    })  # fmt: skip


def local_path(edge: Edge, name: str, root: Path) -> Path:
    """The same by the local-path provisioner; its directory."""
    directory = root / "storage" / f"pvc-{name}_default_{name}"
    source = {"hostPath": {"path": str(directory), "type": "DirectoryOrCreate"}}
    bound(edge, name, annotations={PROVISIONED_BY: LOCAL_PATH}, **source)
    return directory


def using(name: str, *claims: str) -> Obj:
    mounts = [{"name": c, "mountPath": f"/{c}"} for c in claims]
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return pod(name, container(volumeMounts=mounts), volumes=volumes)


async def comes(true: Callable[[], bool]) -> bool:
    """Whether it becomes true; files are removed by a thread, for which virtual time does not wait."""
    for _ in range(5000):
        if await asyncio.to_thread(true):
            return True
        await asyncio.sleep(0.01)
    return False


def marked(edge: Edge, name: str) -> bool:
    """Whether the volume says that a node has its directory."""
    found = volume(edge, name)
    return found is not None and LOCAL_DIRECTORY in (found["metadata"].get("finalizers") or ())


def volume(edge: Edge, name: str) -> Obj | None:
    return next((v for v in edge.client.all(PERSISTENTVOLUMES) if v["metadata"]["name"] == f"pvc-{name}"), None)


def test_a_directory_is_announced_made_followed_and_removed(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await asyncio.sleep(1)
            assert edge.client.all(NODES)[0]["metadata"]["annotations"][LOCAL_STORAGE_PATH] == str(tmp_path / "storage")
            directory = local_path(edge, "data", tmp_path)
            await edge.client.create(PODS, using("web", "data"))
            await asyncio.sleep(5)
            assert ready(edge.status("web"))
            assert directory.stat().st_mode & 0o777 == 0o777
            found = volume(edge, "data")
            assert found is not None
            assert found["metadata"]["finalizers"] == [VOLUME_PROTECTION, LOCAL_DIRECTORY]
            (directory / "ledger").write_text("42")
            await edge.client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 1})
            await asyncio.sleep(20)
            assert (directory / "ledger").read_text() == "42"  # the pod went, the claim did not
        async with edge.running():  # a node that was away hears of it when it is back
            await edge.client.delete(PERSISTENTVOLUMES, "pvc-data")
            await asyncio.sleep(30)
            assert directory.exists()  # somebody still has it
            found = volume(edge, "data")
            assert found is not None
            found["metadata"]["finalizers"] = [LOCAL_DIRECTORY]
            edge.client.put(PERSISTENTVOLUMES, found)
            assert await comes(lambda: not directory.exists())
            assert await comes(lambda: not marked(edge, "data"))

    run(story())


def test_what_is_retained_and_what_no_volume_speaks_of_stays(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        stranger = tmp_path / "storage" / "pvc-unknown_default_x"
        stranger.mkdir(parents=True)
        async with edge.running():
            directory = local_path(edge, "data", tmp_path)
            await edge.client.create(PODS, using("web", "data"))
            await asyncio.sleep(5)
            found = volume(edge, "data")
            assert found is not None
            found["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
            found["metadata"]["finalizers"] = [LOCAL_DIRECTORY]
            edge.client.put(PERSISTENTVOLUMES, found)
            await edge.client.delete(PERSISTENTVOLUMES, "pvc-data")
            assert await comes(lambda: volume(edge, "data") is None)
            assert directory.exists()
            assert stranger.exists()

    run(story())


def test_a_pod_waits_for_its_claim_and_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            await edge.client.create(PODS, using("web", "late"))
            await asyncio.sleep(5)
            assert not ready(edge.status("web"))
            bound(edge, "late", local={"path": str(tmp_path / "disk")})
            await asyncio.sleep(10)
            (tmp_path / "disk").mkdir()
            await asyncio.sleep(10)
            assert ready(edge.status("web"))
            said = {e["message"] for e in edge.client.all(EVENTS) if e["reason"] == "FailedMount"}
            assert 'persistentvolumeclaim "late" not found' in said
            assert any("disk" in message and "does not exist" in message for message in said)
            link = tmp_path / "agent" / "pods" / edge.client.all(PODS)[0]["metadata"]["uid"] / "volumes" / "late"
            assert link.resolve() == (tmp_path / "disk").resolve()
            await edge.client.delete(PODS, "web", "default", options={"gracePeriodSeconds": 1})
            assert await comes(lambda: not link.parent.exists())
            assert (tmp_path / "disk").exists()

    run(story())


def test_with_no_network_a_pod_gets_its_volume_again(tmp_path: Path) -> None:
    async def story() -> None:
        edge = Edge(tmp_path)
        async with edge.running():
            directory = local_path(edge, "data", tmp_path)
            await edge.client.create(PODS, using("web", "data"))
            await asyncio.sleep(5)
            assert ready(edge.status("web"))
        (directory / "ledger").write_text("42")
        alone = Edge(tmp_path)  # a rebooted machine: nothing runs, nobody answers
        alone.connected = False

        async def away(*_: Any, **__: Any) -> Any:
            raise ServiceUnavailable("no route to the server")

        alone.client.list = alone.client.create = alone.client.patch = alone.client.get = away  # type: ignore[method-assign]
        async with alone.running():
            await asyncio.sleep(60)
            assert (await alone.containers("web"))["c"].phase is ContainerPhase.RUNNING
            assert (directory / "ledger").read_text() == "42"

    run(story())


def test_a_volume_that_this_node_cannot_reach_is_refused() -> None:
    def lookup(kind: str, name: str) -> Obj | None:
        return {
            "PersistentVolumeClaim": {
                "metadata": {"uid": "u"}, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"},
            },
            "PersistentVolume": {"metadata": {"name": "v"}, "spec": {"claimRef": {"uid": "other"}}},
        }[kind]  # fmt: skip

    with pytest.raises(MountFault, match="is bound to another claim"):
        persistent_volume("c", lookup)
    with pytest.raises(MountFault, match='volume type "nfs" is not in this version'):
        place({"metadata": {"name": "v"}, "spec": {"nfs": {"server": "x"}, "capacity": {"storage": "1"}}})


def test_a_claim_may_be_mounted_read_only_and_by_sub_path(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "in").mkdir(parents=True)
    link = tmp_path / "pods" / "u" / "volumes" / "v"
    link.parent.mkdir(parents=True)
    link.symlink_to(disk)
    source = {"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}
    body = {"metadata": {"uid": "u", "name": "p"}, "spec": {"volumes": [source]}}
    mounts = [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b", "subPath": "in"}]
    first, second, _ = Volumes(tmp_path / "pods", HollowRuntime()).mounts(
        body, {"name": "c", "volumeMounts": mounts}, {}
    )
    assert (first.host_path, first.read_only) == (str(disk), True)
    assert second.host_path == str(disk / "in")


async def test_what_a_node_may_read_and_say_of_volumes() -> None:
    async with Cluster() as cluster:
        for name in ("n1", "n2"):
            await cluster.node(name)
        modes: Obj = {"accessModes": ["ReadWriteOnce"]}
        claim = await cluster.create(
            PERSISTENTVOLUMECLAIMS, "data", "default", spec={**modes, "resources": {"requests": {"storage": "1Gi"}}}
        )
        assert claim["metadata"]["finalizers"] == [CLAIM_PROTECTION]
        ref = {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}
        spec = {**modes, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}, "claimRef": ref}
        made = await cluster.create(PERSISTENTVOLUMES, "v", spec=spec, metadata={"annotations": {SELECTED_NODE: "n1"}})
        assert made["metadata"]["finalizers"] == [VOLUME_PROTECTION]
        await cluster.pod("web", "n2", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
        await cluster.pod("own", "n2", volumes=[{"name": "x", "ephemeral": {"volumeClaimTemplate": {"spec": {
            **modes, "resources": {"requests": {"storage": "1Gi"}},
        }}}}])  # fmt: skip

        def may(node: str, verb: str, resource: str, name: str, namespace: str = "") -> bool:
            asked = Attributes(node_user(node), verb, "", resource, namespace=namespace, name=name)
            return cluster.access.authorizer.authorize(asked).allowed

        assert may("n2", "watch", "persistentvolumeclaims", "data", "default")
        assert may("n2", "get", "persistentvolumeclaims", "own-x", "default")
        assert not may("n1", "get", "persistentvolumeclaims", "data", "default")
        assert may("n2", "watch", "persistentvolumes", "v")
        assert not may("n2", "patch", "persistentvolumes", "v")  # it uses it; it has no directory of it
        assert may("n1", "patch", "persistentvolumes", "v")
        assert not may("n1", "delete", "persistentvolumes", "v")
        assert not may("n1", "get", "persistentvolumes", "other")

        mark = {**made["metadata"], "finalizers": [VOLUME_PROTECTION, LOCAL_DIRECTORY]}
        mark.pop("resourceVersion")
        await cluster.change(PERSISTENTVOLUMES, "v", user=node_user("n1"), metadata=mark)
        with pytest.raises(Forbidden, match="may only set and remove the finalizer"):
            await cluster.change(PERSISTENTVOLUMES, "v", user=node_user("n1"), metadata={**mark, "finalizers": []})
        elsewhere = {**made["spec"], "capacity": {"storage": "2Gi"}}
        with pytest.raises(Forbidden, match="may only set and remove the finalizer"):
            await cluster.change(PERSISTENTVOLUMES, "v", user=node_user("n1"), spec=elsewhere)
