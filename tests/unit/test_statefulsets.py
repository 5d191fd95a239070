"""StatefulSets: the order of making, updating and taking away; what waits for what; claims that stay or go."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.controllers.statefulsets.plan import healthy, ordinal_of, plan, wanted
from parkube.controlplane.controllers.views import CONTROLLERREVISIONS
from parkube.kubeapi.client import PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from parkube.kubeapi.compact import PodInfo, pod_info
from parkube.kubeapi.errors import Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster, images, pod_template


def stateful_set(image: str = "v1", replicas: int = 3, **spec: Any) -> Obj:
    """A StatefulSet as the API would have defaulted it."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "web"}},
            "template": pod_template(image), "podManagementPolicy": "OrderedReady", "updateStrategy": rolling, **spec,
        },
    }  # fmt: skip


def names(c: FakeCluster) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in c.pods())


async def settled(c: FakeCluster) -> Obj:
    """What `kubectl rollout status` waits for."""

    def done() -> bool:
        s = next(iter(c.client.all(STATEFULSETS)))
        status, want = s.get("status") or {}, s["spec"]["replicas"]
        return status.get("observedGeneration") == s["metadata"]["generation"] and all(
            status.get(key, 0) == want for key in ("replicas", "readyReplicas", "updatedReplicas")
        )

    await c.until(done, what="the StatefulSet")
    return await c.client.get(STATEFULSETS, "db", "default")


def test_pods_are_made_in_order_with_names_and_claims_of_their_own() -> None:
    async def story() -> None:
        async with FakeCluster("statefulset") as c:
            claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
            await c.client.create(STATEFULSETS, stateful_set(volumeClaimTemplates=[claim]), "default")
            await c.until(lambda: names(c) == ["db-0"])
            await settled(c)
            assert names(c) == ["db-0", "db-1", "db-2"]
            pod = await c.client.get(PODS, "db-1", "default")
            assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-1", "db")
            assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
            assert pod["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}]
            claims = sorted(x["metadata"]["name"] for x in c.client.all(PERSISTENTVOLUMECLAIMS))
            assert claims == ["data-db-0", "data-db-1", "data-db-2"]

    run(story())


def test_an_unready_pod_holds_the_others_back_unless_parallel() -> None:
    async def story(policy: str) -> list[str]:
        async with FakeCluster("statefulset") as c:
            c.broken.add("v1")
            await c.client.create(STATEFULSETS, stateful_set(podManagementPolicy=policy), "default")
            await asyncio.sleep(20)
            return names(c)

    assert run(story("OrderedReady")) == ["db-0"]
    assert run(story("Parallel")) == ["db-0", "db-1", "db-2"]


def test_an_update_goes_from_the_last_to_the_partition_and_can_be_rolled_back() -> None:
    async def story() -> None:
        async with FakeCluster("statefulset") as c:
            await c.client.create(STATEFULSETS, stateful_set(), "default")
            s = await settled(c)
            first = s["status"]["currentRevision"]
            s["spec"]["template"] = pod_template("v2")
            s["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 2
            await c.client.update(STATEFULSETS, s)
            await c.until(lambda: images(c.pods()) == ["v1", "v1", "v2"])
            await asyncio.sleep(10)
            s = await c.client.get(STATEFULSETS, "db", "default")
            assert (s["status"]["currentRevision"], s["status"]["updatedReplicas"]) == (first, 1)
            await c.client.delete(PODS, "db-0", "default")
            await c.until(lambda: len(c.pods()) == 3 and images(c.pods()) == ["v1", "v1", "v2"])
            s = await c.client.get(STATEFULSETS, "db", "default")
            s["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 0
            await c.client.update(STATEFULSETS, s)
            s = await settled(c)
            assert images(c.pods()) == ["v2"] * 3
            assert s["status"]["currentRevision"] == s["status"]["updateRevision"] != first
            s["spec"]["template"] = pod_template("v1")
            await c.client.update(STATEFULSETS, s)
            s = await settled(c)
            assert s["status"]["currentRevision"] == first
            assert len(c.client.all(CONTROLLERREVISIONS)) == 2

    run(story())


def test_scaling_down_takes_the_highest_and_its_claims_by_the_policy() -> None:
    async def story() -> None:
        async with FakeCluster("statefulset") as c:
            claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
            policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
            await c.client.create(
                STATEFULSETS,
                stateful_set(volumeClaimTemplates=[claim], persistentVolumeClaimRetentionPolicy=policy),
                "default",
            )
            s = await settled(c)
            s["spec"]["replicas"] = 1
            await c.client.update(STATEFULSETS, s)
            await c.until(lambda: names(c) == ["db-0"])
            owners = {
                x["metadata"]["name"]: x["metadata"]["ownerReferences"][0]["kind"]
                for x in c.client.all(PERSISTENTVOLUMECLAIMS)
            }
            assert owners == {"data-db-0": "StatefulSet", "data-db-1": "Pod", "data-db-2": "Pod"}

    run(story())


PHASES = st.sampled_from(["Pending", "Running", "Ready", "Failed", "Deleting"])


def pods_of(phases: dict[int, str], revision: str = "new") -> list[PodInfo]:
    made = []
    for number, phase in phases.items():
        meta = {"name": f"db-{number}", "namespace": "default", "labels": {"controller-revision-hash": revision}}
        if phase == "Deleting":
            meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        ready = {"type": "Ready", "status": "True" if phase == "Ready" else "False"}
        running = {"Ready": "Running", "Deleting": "Running"}.get(phase, phase)
        made.append(pod_info({"metadata": meta, "spec": {}, "status": {"phase": running, "conditions": [ready]}}))
    return made


@given(st.dictionaries(st.integers(0, 6), PHASES), st.integers(0, 5), st.sampled_from(["new", "old"]))
def test_an_ordered_set_does_one_thing_at_a_time(phases: dict[int, str], replicas: int, revision: str) -> None:
    want = wanted(stateful_set(replicas=replicas), "old", "new")
    pods = pods_of(phases, revision)
    step = plan(want, pods, 0.0)
    assert len(step.create) + len(step.delete) <= 1
    for number, _ in step.create:
        below = [pod for pod in pods if ordinal_of("db", pod.name) < number]
        assert number not in phases
        assert all(healthy(pod, want, 0.0) for pod in below)
    for pod in step.delete:
        assert not pod.deleting
