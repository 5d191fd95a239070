"""Limits on what a namespace uses: classes of pods, ranges, quotas, and what claims get at their creation."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from parkube.controlplane.access.quota.matching import counted, written
from parkube.controlplane.controllers.options import ApiResource, Options
from parkube.controlplane.registry.resource import Context
from parkube.kubeapi.client import (
    CONFIGMAPS,
    LIMITRANGES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    PRIORITYCLASSES,
    RESOURCEQUOTAS,
    RUNTIMECLASSES,
    STORAGECLASSES,
)
from parkube.kubeapi.errors import Forbidden, Obj
from parkube.kubeapi.quantities import like
from tests.fakes.cluster import Cluster
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster


def app(**resources: Any) -> list[Obj]:
    return [{"name": "app", "image": "nginx", "resources": resources}]


async def test_a_pods_class_becomes_its_priority() -> None:
    async with Cluster() as cluster:
        assert (await cluster.pod("plain"))["spec"]["priority"] == 0
        await cluster.create(PRIORITYCLASSES, "high", value=1000, globalDefault=True, preemptionPolicy="Never")
        spec = (await cluster.pod("one"))["spec"]
        assert (spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]) == ("high", 1000, "Never")
        critical = await cluster.pod("two", priorityClassName="system-node-critical")
        assert critical["spec"]["priority"] == 2_000_001_000
        with pytest.raises(Forbidden, match="no PriorityClass with name gone was found"):
            await cluster.pod("three", priorityClassName="gone")
        with pytest.raises(Forbidden, match="must not be provided in pod spec"):
            await cluster.pod("four", priority=7)
        with pytest.raises(Forbidden, match="PriorityClass high is already marked as default"):
            await cluster.create(PRIORITYCLASSES, "other", value=5, globalDefault=True)


async def test_a_runtime_class_gives_overhead_and_nodes() -> None:
    async with Cluster() as cluster:
        await cluster.create(
            RUNTIMECLASSES, "vm", handler="kata", overhead={"podFixed": {"cpu": "10m"}},
            scheduling={"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]},
        )  # fmt: skip
        spec = (await cluster.pod("one", runtimeClassName="vm"))["spec"]
        assert (spec["overhead"], spec["nodeSelector"]) == ({"cpu": "10m"}, {"vm": "yes"})
        assert {"key": "vm", "operator": "Exists"} in spec["tolerations"]
        with pytest.raises(Forbidden, match='RuntimeClass "gone" not found'):
            await cluster.pod("two", runtimeClassName="gone")
        with pytest.raises(Forbidden, match=r"conflict: runtimeClass.scheduling.nodeSelector"):
            await cluster.pod("three", runtimeClassName="vm", nodeSelector={"vm": "no"})


async def test_a_limit_range_fills_in_and_holds_bounds() -> None:
    async with Cluster() as cluster:
        limit = {
            "type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
            "max": {"cpu": "1"}, "min": {"cpu": "50m"},
        }  # fmt: skip
        await cluster.create(LIMITRANGES, "range", "default", spec={"limits": [limit]})
        pod = await cluster.pod("one")
        assert pod["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}
        assert pod["status"]["qosClass"] == "Burstable"
        with pytest.raises(Forbidden, match="maximum cpu usage per Container is 1, but limit is 2"):
            await cluster.pod("two", containers=app(limits={"cpu": "2"}))
        with pytest.raises(Forbidden, match="minimum cpu usage per Container is 50m, but request is 10m"):
            await cluster.pod("three", containers=app(requests={"cpu": "10m"}))


async def test_a_quota_is_drawn_from_and_never_overdrawn() -> None:
    async with Cluster() as cluster:
        hard = {"configmaps": "3", "count/configmaps": "9"}
        await cluster.create(RESOURCEQUOTAS, "q", "default", spec={"hard": hard})
        with pytest.raises(Forbidden, match="status unknown for quota: q, resources: configmaps,count/configmaps"):
            await cluster.create(CONFIGMAPS, "early", "default")
        zero = {"configmaps": "0", "count/configmaps": "0"}
        await cluster.change(RESOURCEQUOTAS, "q", "default", subresource="status", status={"hard": hard, "used": zero})
        await cluster.create(CONFIGMAPS, "dry", "default", context=Context(dry_run=True))
        made = await asyncio.gather(
            *(cluster.create(CONFIGMAPS, f"c{n}", "default") for n in range(8)), return_exceptions=True
        )
        refusals = [one for one in made if isinstance(one, Forbidden)]
        assert (len(refusals), len(await cluster.names(CONFIGMAPS, "default"))) == (5, 3)
        assert "exceeded quota: q, requested: configmaps=1, used: configmaps=3, limited: configmaps=3" in str(
            refusals[-1].message
        )
        used = (await cluster.get(RESOURCEQUOTAS, "q", "default"))["status"]["used"]
        assert used == {"configmaps": "3", "count/configmaps": "3"}


async def test_a_pod_must_say_what_a_quota_limits() -> None:
    async with Cluster() as cluster:
        status = {"hard": {"limits.cpu": "1"}, "used": {"limits.cpu": "0"}}
        await cluster.create(RESOURCEQUOTAS, "q", "default", spec={"hard": {"limits.cpu": "1"}})
        await cluster.change(RESOURCEQUOTAS, "q", "default", subresource="status", status=status)
        with pytest.raises(Forbidden, match=r"failed quota: q: must specify limits.cpu for: app"):
            await cluster.pod("one")
        await cluster.pod("two", containers=app(limits={"cpu": "700m"}))
        with pytest.raises(Forbidden, match=r"requested: limits.cpu=700m, used: limits.cpu=700m, limited: "):
            await cluster.pod("three", containers=app(limits={"cpu": "700m"}))


@pytest.mark.parametrize(
    ("selector", "spec", "within"),
    [
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 5}, True),
        ({"scopes": ["NotTerminating"]}, {"activeDeadlineSeconds": 5}, False),
        ({"scopes": ["BestEffort"]}, {}, True),
        ({"scopes": ["NotBestEffort"]}, {"containers": app(requests={"cpu": "1"})}, True),
        ({"scopes": ["PriorityClass"]}, {}, False),
        ({"scopes": ["PriorityClass"]}, {"priorityClassName": "high"}, True),
        (
            {"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": "NotIn", "values": ["high"]}]}},
            {"priorityClassName": "high"}, False,
        ),
        (
            {"scopes": ["CrossNamespacePodAffinity"]},
            {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}},
            True,
        ),
    ],
)  # fmt: skip
def test_scopes(selector: Obj, spec: Obj, within: bool) -> None:
    quota = {"spec": {"hard": {"pods": "5"}, **selector}}
    pod = {"metadata": {}, "spec": {"containers": app(), **spec}}
    assert written(counted(quota, [(PODS, pod)], 0.0), {}) == {"pods": "1" if within else "0"}


def test_amounts_are_told_as_the_quota_writes_them() -> None:
    pod = {"metadata": {}, "spec": {"containers": app(requests={"memory": "1048576", "cpu": "0.25"})}}
    hard = {"requests.memory": "1Gi", "requests.cpu": "1500m", "pods": "3"}
    used = counted({"spec": {"hard": hard}}, [(PODS, pod), (PODS, pod)], 0.0)
    assert written(used, hard) == {"pods": "2", "requests.cpu": "500m", "requests.memory": "2Mi"}
    assert like(Decimal(1536), "1Ki") == "1536"
    assert like(Decimal(2**30), "1G") == "1073741824"


def test_the_controller_counts_and_follows() -> None:
    async def story() -> None:
        resources = [ApiResource(CONFIGMAPS, "ConfigMap", True), ApiResource(PODS, "Pod", True)]
        async with FakeCluster("resourcequota", options=Options(resources=lambda: resources), agents=False) as c:
            c.client.put(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "ns"}})
            hard = {"configmaps": "2", "pods": "1"}
            await c.client.create(RESOURCEQUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}}, "ns")
            await asyncio.sleep(1)
            assert c.client.all(RESOURCEQUOTAS)[0]["status"] == {"hard": hard, "used": {"configmaps": "1", "pods": "0"}}
            done = {"metadata": {"name": "p", "namespace": "ns"}, "status": {"phase": "Succeeded"}}
            c.client.put(PODS, done)
            c.client.put(PODS, {**done, "metadata": {"name": "r", "namespace": "ns"}, "status": {}})
            c.client.drop(CONFIGMAPS, "a", "ns")
            await asyncio.sleep(1)
            assert c.client.all(RESOURCEQUOTAS)[0]["status"]["used"] == {"configmaps": "0", "pods": "1"}

    run(story())


def test_what_was_drawn_for_an_object_on_its_way_is_not_counted_away() -> None:
    async def story() -> None:
        resources = [ApiResource(CONFIGMAPS, "ConfigMap", True)]
        async with FakeCluster("resourcequota", options=Options(resources=lambda: resources), agents=False) as c:
            spec = {"hard": {"configmaps": "2"}}
            await c.client.create(RESOURCEQUOTAS, {"metadata": {"name": "q"}, "spec": spec}, "ns")
            await asyncio.sleep(1)

            def used() -> str:
                return str(c.client.all(RESOURCEQUOTAS)[0]["status"]["used"]["configmaps"])

            async def draw(count: str) -> None:
                await c.client.patch(RESOURCEQUOTAS, "q", {"status": {"used": {"configmaps": count}}}, "ns")

            await draw("1")
            await asyncio.sleep(3)
            assert used() == "1"  # admitted, not stored yet
            c.client.put(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "ns"}})
            await draw("2")
            await asyncio.sleep(3)
            assert used() == "2"
            await asyncio.sleep(3)
            assert used() == "1"  # the second never came

    run(story())


async def test_a_claim_gets_the_default_class_and_grows_only_where_that_is_allowed() -> None:
    async with Cluster() as cluster:
        note = {"storageclass.kubernetes.io/is-default-class": "true"}
        await cluster.create(STORAGECLASSES, "local", provisioner="x", metadata={"annotations": note})
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = await cluster.create(PERSISTENTVOLUMECLAIMS, "data", "default", spec=spec)
        assert claim["spec"]["storageClassName"] == "local"
        bound = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        await cluster.change(PERSISTENTVOLUMECLAIMS, "data", "default", subresource="status", status=bound)
        bigger = {**claim["spec"], "resources": {"requests": {"storage": "2Gi"}}}
        with pytest.raises(Forbidden, match="must support resize"):
            await cluster.change(PERSISTENTVOLUMECLAIMS, "data", "default", spec=bigger)
