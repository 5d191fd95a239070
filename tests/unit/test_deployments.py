"""Deployments and ReplicaSets: what happens, step by step, in virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo, Wanted
from parkube.controlplane.controllers.deployments.plan import plan
from parkube.kubeapi.client import DEPLOYMENTS, GVR, PODS, REPLICASETS, REPLICATIONCONTROLLERS
from parkube.kubeapi.compact import shared_labels
from parkube.kubeapi.errors import Cause, Forbidden, Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster, deployment, images

BOTH = ("deployment", "replicaset")
REVISION = "deployment.kubernetes.io/revision"


def test_a_deployment_rolls_out_updates_and_goes_back() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            await c.client.create(DEPLOYMENTS, deployment(replicas=4), "default")
            d = await c.rolled_out("web")
            assert d["metadata"]["annotations"][REVISION] == "1"
            conditions = {x["type"]: (x["status"], x["reason"]) for x in d["status"]["conditions"]}
            assert conditions["Available"] == ("True", "MinimumReplicasAvailable")
            assert conditions["Progressing"] == ("True", "NewReplicaSetAvailable")
            [first] = c.client.all(REPLICASETS)
            pod_hash = first["metadata"]["labels"]["pod-template-hash"]
            assert first["metadata"]["name"] == f"web-{pod_hash}"
            assert all(p["metadata"]["labels"]["pod-template-hash"] == pod_hash for p in c.pods())

            least = 4
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
            await c.client.update(DEPLOYMENTS, d)
            while images(c.pods()) != ["v2"] * 4:
                await asyncio.sleep(0.05)
                ready = [p for p in c.pods() if (p.get("status") or {}).get("phase") == "Running"]
                least = min(least, len(ready))
                assert len(c.pods()) <= 5  # maxSurge 25 % of 4
            assert least >= 3  # maxUnavailable 25 % of 4
            d = await c.rolled_out("web")
            assert d["metadata"]["annotations"][REVISION] == "2"
            assert sorted(s["spec"]["replicas"] for s in c.client.all(REPLICASETS)) == [0, 4]

            old = next(s for s in c.client.all(REPLICASETS) if s["spec"]["replicas"] == 0)  # rollout undo
            del old["spec"]["template"]["metadata"]["labels"]["pod-template-hash"]
            d["spec"]["template"] = old["spec"]["template"]
            await c.client.update(DEPLOYMENTS, d)
            await c.until(lambda: images(c.pods()) == ["v1"] * 4)
            d = await c.rolled_out("web")
            assert d["metadata"]["annotations"][REVISION] == "3"
            assert len(c.client.all(REPLICASETS)) == 2
            again = next(s for s in c.client.all(REPLICASETS) if s["spec"]["replicas"])
            assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
            text = f"ScalingReplicaSet: Scaled up replica set web-{pod_hash} from 0 to 4"
            assert text in c.events()

    run(story())


def test_recreate_ends_the_old_pods_before_it_starts_new_ones() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            d = await c.client.create(DEPLOYMENTS, deployment(strategy={"type": "Recreate"}), "default")
            await c.rolled_out("web")
            d = await c.client.get(DEPLOYMENTS, "web", "default")
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v2"
            await c.client.update(DEPLOYMENTS, d)
            while images(c.pods()) != ["v2"] * 3:
                assert len(set(images(c.client.all(PODS)))) <= 1
                await asyncio.sleep(0.02)
            await c.rolled_out("web")

    run(story())


def test_a_broken_image_keeps_the_old_pods_and_misses_its_deadline() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            await c.client.create(DEPLOYMENTS, deployment(replicas=4, progressDeadlineSeconds=60), "default")
            d = await c.rolled_out("web")
            c.broken.add("bad")
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "bad"
            await c.client.update(DEPLOYMENTS, d)
            await asyncio.sleep(120)
            assert images(c.pods()) == ["bad", "bad", "v1", "v1", "v1"]
            d = await c.client.get(DEPLOYMENTS, "web", "default")
            progress = next(x for x in d["status"]["conditions"] if x["type"] == "Progressing")
            assert (progress["status"], progress["reason"]) == ("False", "ProgressDeadlineExceeded")
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v1"
            await c.client.update(DEPLOYMENTS, d)
            await c.rolled_out("web")
            assert images(c.pods()) == ["v1"] * 4

    run(story())


def test_pause_holds_the_rollout_and_scaling_in_the_middle_is_shared() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            await c.client.create(DEPLOYMENTS, deployment(replicas=10), "default")
            d = await c.rolled_out("web")
            c.broken.add("bad")
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "bad"
            await c.client.update(DEPLOYMENTS, d)
            await asyncio.sleep(10)
            before = images(c.pods())
            assert before.count("bad") == 5
            assert before.count("v1") == 8
            await c.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 15}}, "default")
            await asyncio.sleep(10)
            after = images(c.pods())
            assert len(after) == 19  # 15 and a surge of 25 %
            assert after.count("v1") > 8
            assert after.count("bad") > 5
            await c.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": True}}, "default")
            await asyncio.sleep(1)
            d = await c.client.get(DEPLOYMENTS, "web", "default")
            d["spec"]["template"]["spec"]["containers"][0]["image"] = "v3"
            await c.client.update(DEPLOYMENTS, d)
            await asyncio.sleep(30)
            assert "v3" not in images(c.pods())
            await c.client.patch(DEPLOYMENTS, "web", {"spec": {"paused": False}}, "default")
            await c.rolled_out("web")
            assert images(c.pods()) == ["v3"] * 15

    run(story())


def test_history_is_kept_to_its_limit_and_a_paused_start_makes_nothing() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            await c.client.create(DEPLOYMENTS, deployment(replicas=1, revisionHistoryLimit=2), "default")
            for version in range(2, 7):
                d = await c.rolled_out("web")
                d["spec"]["template"]["spec"]["containers"][0]["image"] = f"v{version}"
                await c.client.update(DEPLOYMENTS, d)
                await c.until(lambda v=version: images(c.pods()) == [f"v{v}"])  # type: ignore[misc]
            await c.rolled_out("web")
            await asyncio.sleep(5)
            revisions = sorted(int(s["metadata"]["annotations"][REVISION]) for s in c.client.all(REPLICASETS))
            assert revisions == [4, 5, 6]

    run(story())


def test_the_rollback_of_old_clients_is_an_annotation() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            await c.client.create(DEPLOYMENTS, deployment(replicas=1), "default")
            for version in ("v2", "v3"):
                d = await c.rolled_out("web")
                d["spec"]["template"]["spec"]["containers"][0]["image"] = version
                await c.client.update(DEPLOYMENTS, d)
                await c.until(lambda v=version: images(c.pods()) == [v])  # type: ignore[misc]
            for asked, image in (("1", "v1"), ("0", "v3"), ("77", "v3")):
                note = {"metadata": {"annotations": {"deprecated.deployment.rollback.to": asked}}}
                await c.client.patch(DEPLOYMENTS, "web", note, "default")
                await asyncio.sleep(5)
                d = await c.rolled_out("web")
                assert images(c.pods()) == [image]
                assert "deprecated.deployment.rollback.to" not in d["metadata"]["annotations"]
            assert 'DeploymentRollback: Rolled back deployment "web" to revision 1' in c.events()
            assert "DeploymentRollbackRevisionNotFound: Unable to find the revision." in c.events()

    run(story())


def test_pods_that_may_not_be_made_are_told_and_tried_again() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            for _ in range(3):
                c.client.fail("create", "pods", Forbidden("pods is forbidden: no room"))
            await c.client.create(DEPLOYMENTS, deployment(), "default")
            await asyncio.sleep(0.2)
            assert "FailedCreate: Error creating: pods is forbidden: no room" in c.events()
            await c.rolled_out("web")
            assert all("conditions" not in s["status"] for s in c.client.all(REPLICASETS))

    run(story())


def test_a_failure_that_names_another_pod_each_time_is_written_once_and_tried_ever_more_rarely() -> None:
    async def story() -> None:
        async with FakeCluster("replicationcontroller") as c:
            for number in range(100):
                c.client.fail("create", "pods", Forbidden(f'pods "web-{number}" is forbidden: exceeded quota'))
            template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}}
            spec = {"replicas": 1, "selector": {"app": "web"}, "template": template}
            await c.client.create(REPLICATIONCONTROLLERS, {"metadata": {"name": "web"}, "spec": spec}, "default")
            await asyncio.sleep(10)
            [told] = c.client.all(REPLICATIONCONTROLLERS)
            assert [x["message"] for x in told["status"]["conditions"]] == ['pods "web-0" is forbidden: exceeded quota']
            await c.client.update(REPLICATIONCONTROLLERS, {**told, "spec": {**spec, "replicas": 0}})
            await asyncio.sleep(1)
            [told] = c.client.all(REPLICATIONCONTROLLERS)
            assert "conditions" not in told["status"]
            assert 5 < sum(text.startswith("FailedCreate") for text in c.events()) < 15

    run(story())


def test_in_a_namespace_that_is_being_deleted_nothing_is_tried_again_and_nothing_told() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            cause = Cause("NamespaceTerminating", "namespace default is being terminated", "metadata.namespace")
            for _ in range(3):
                c.client.fail("create", "pods", Forbidden("pods is forbidden", causes=[cause]))
            await c.client.create(DEPLOYMENTS, deployment(), "default")
            await asyncio.sleep(60)
            assert c.client.all(PODS) == []
            [replicaset] = c.client.all(REPLICASETS)
            assert "conditions" not in replicaset["status"]
            assert not any(text.startswith("FailedCreate") for text in c.events())

    run(story())


def test_scaling_down_takes_the_least_useful_pods_and_orphans_are_adopted() -> None:
    async def story() -> None:
        async with FakeCluster(*BOTH) as c:
            await c.client.create(DEPLOYMENTS, deployment(replicas=3), "default")
            await c.rolled_out("web")
            sick = c.pods()[0]
            sick["status"]["conditions"][0]["status"] = "False"
            c.client.put(PODS, sick)
            await asyncio.sleep(1)
            await c.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 2}}, "default")
            await c.until(lambda: len(c.pods()) == 2)
            assert sick["metadata"]["name"] not in [p["metadata"]["name"] for p in c.pods()]
            strange = c.pods()[0]
            strange["metadata"]["labels"].pop("app")
            c.client.put(PODS, strange)  # no longer selected: let go, and replaced
            await c.until(lambda: len(c.pods()) == 3)
            bare = next(p for p in c.pods() if "app" in p["metadata"]["labels"])
            bare["metadata"] = {"name": "bare", "namespace": "default", "labels": bare["metadata"]["labels"]}
            c.client.put(PODS, bare)  # selected and nobody's: taken in, and then there is one too many
            await asyncio.sleep(1)
            chosen = [p["metadata"] for p in c.pods() if "app" in p["metadata"]["labels"]]
            assert [len(m["ownerReferences"]) for m in chosen] == [1, 1]
            free = await c.client.get(PODS, strange["metadata"]["name"], "default")
            assert not free["metadata"].get("ownerReferences")

    run(story())


@pytest.mark.parametrize("gvr", [REPLICASETS, REPLICATIONCONTROLLERS], ids=lambda gvr: gvr.resource)
def test_counts_that_somebody_else_wrote_are_put_right(gvr: GVR) -> None:
    async def story() -> None:
        async with FakeCluster("replicaset", "replicationcontroller") as c:
            selector: Obj = {"matchLabels": {"app": "web"}} if gvr == REPLICASETS else {"app": "web"}
            spec = {"replicas": 2, "selector": selector, "template": deployment()["spec"]["template"]}
            await c.client.create(gvr, {"metadata": {"name": "web"}, "spec": spec}, "default")

            def ready() -> int:
                return int(c.client.all(gvr)[0].get("status", {}).get("readyReplicas", 0))

            await c.until(lambda: ready() == 2)
            await c.client.patch(gvr, "web", {"status": {"readyReplicas": 0}}, "default")
            assert ready() == 0
            await c.until(lambda: ready() == 2)

    run(story())


def _set(template: bytes, replicas: int, available: int, created: float) -> ReplicaSetInfo:
    empty = shared_labels({})
    return ReplicaSetInfo(
        "default", f"s{template.decode()}", "u", "1", empty, (), created, False, 1, 1, replicas, replicas, available,
        min(available, replicas), 1, "", -1, -1, b"", 0, template, ("", "", ""), b"null",
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    want=st.integers(0, 20), surge=st.integers(0, 10), gone=st.integers(0, 10),
    old=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    new=st.none() | st.tuples(st.integers(0, 20), st.integers(0, 20)),
)  # fmt: skip
def test_no_step_breaks_the_bounds(
    want: int, surge: int, gone: int, old: tuple[int, int], new: tuple[int, int] | None
) -> None:
    surge = surge or (0 if gone else 1)
    spec = Wanted(want, False, surge, min(gone, want), False, 10, None, 0, b"new", b"", "hash")
    sets = [_set(b"old", old[0], min(old), 1.0)]
    if new is not None:
        sets.append(_set(b"new", new[0], min(new), 2.0))
    step = plan(spec, sets)
    sizes = {s.key: s.replicas for s in sets} | {s.target.key: s.replicas for s in step.scales}
    before, after = sum(s.replicas for s in sets), sum(sizes.values()) + (step.create or 0)
    assert all(size >= 0 for size in sizes.values())
    assert after <= max(before, spec.most)
    healthy_before = sum(s.available for s in sets)
    healthy_after = sum(min(sizes[s.key], s.available) for s in sets)
    if not (step.current and step.current.replicas > want):
        assert healthy_after >= min(healthy_before, spec.least)
