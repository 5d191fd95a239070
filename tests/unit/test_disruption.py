"""PodDisruptionBudgets: how many pods of each may go, over owners, percentages and evictions under way."""

from __future__ import annotations

import asyncio

import pytest

from parkube.controlplane.controllers.deployments.model import replicaset_info
from parkube.controlplane.controllers.disruption import count, expected
from parkube.controlplane.controllers.views import BUDGETS
from parkube.kubeapi.client import PODS, REPLICASETS
from parkube.kubeapi.compact import PodInfo, pod_info
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339
from tests.fakes.virtual_time import EPOCH, run
from tests.fakes.workloads import FakeCluster

OWNER = {"kind": "ReplicaSet", "name": "web", "uid": "rs", "apiVersion": "apps/v1", "controller": True}


def pod(name: str, *, ready: bool = True, owned: bool = True) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, "uid": name,
                     "ownerReferences": [OWNER] if owned else []},
        "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }  # fmt: skip


def replicaset(replicas: int, desired: int) -> Obj:
    deployment = {"kind": "Deployment", "name": "web", "uid": "d", "apiVersion": "apps/v1", "controller": True}
    notes = {"deployment.kubernetes.io/desired-replicas": str(desired)}
    metadata = {
        "name": "web", "namespace": "default", "uid": "rs", "ownerReferences": [deployment], "annotations": notes
    }  # fmt: skip
    return {"metadata": metadata, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}}


def infos(ready: int, broken: int) -> list[PodInfo]:
    return [pod_info(pod(f"p{i}", ready=i < ready)) for i in range(ready + broken)]


@pytest.mark.parametrize(
    ("spec", "ready", "broken", "wanted", "allowed"),
    [
        ({"minAvailable": 2}, 3, 0, 3, 1),
        ({"minAvailable": 2}, 2, 1, 3, 0),
        ({"minAvailable": 0}, 1, 0, 1, 1),
        ({"minAvailable": "50%"}, 3, 0, 3, 1),  # half of three is two
        ({"maxUnavailable": 1}, 3, 0, 3, 1),
        ({"maxUnavailable": 1}, 2, 1, 3, 0),
        ({"maxUnavailable": "100%"}, 3, 0, 3, 3),
        ({"maxUnavailable": "1%"}, 3, 0, 3, 1),
        ({"maxUnavailable": 1}, 0, 0, 0, 0),
        ({}, 2, 0, 2, 2),
    ],
)
def test_the_arithmetic(spec: Obj, ready: int, broken: int, wanted: int, allowed: int) -> None:
    assert count(spec, {}, infos(ready, broken), wanted, EPOCH).allowed == allowed


def test_what_was_evicted_does_not_count_until_it_turns_out_to_stay() -> None:
    pods = infos(3, 0)
    assert count({"minAvailable": 2}, {"p0": rfc3339(EPOCH), "gone": rfc3339(EPOCH)}, pods, 3, EPOCH + 100) == (
        3, 2, 2, {"p0": rfc3339(EPOCH)}
    )  # fmt: skip
    assert count({"minAvailable": 2}, {"p0": rfc3339(EPOCH)}, pods, 3, EPOCH + 121).allowed == 1


def test_owners_say_how_many_there_should_be() -> None:
    web = replicaset_info(replicaset(3, 4))
    pods = [*infos(2, 0), pod_info(pod("alone", owned=False))]
    assert expected(pods, lambda key: web if key == "default/web" else None) == 5
    assert expected(pods, lambda key: None) == 3


def test_a_budget_is_counted_and_follows_its_pods() -> None:
    async def story() -> None:
        async with FakeCluster("disruption", agents=False) as c:
            c.client.put(REPLICASETS, replicaset(2, 2))
            c.client.put(PODS, pod("a"))
            budget = {"metadata": {"name": "b"}, "spec": {"maxUnavailable": 1, "selector": {}}}
            await c.client.create(BUDGETS, budget, "default")
            await asyncio.sleep(1)
            [made] = c.client.all(BUDGETS)
            assert made["status"]["disruptionsAllowed"] == 0
            assert made["status"]["conditions"][0]["reason"] == "InsufficientPods"
            c.client.put(PODS, pod("b"))
            await asyncio.sleep(1)
            [made] = c.client.all(BUDGETS)
            assert {k: v for k, v in made["status"].items() if isinstance(v, int) and k != "observedGeneration"} == {
                "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2
            }  # fmt: skip

    run(story())
