"""Claims and volumes: who gets whom, what is kept and what goes, and how a pod waits for its claims."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.volumes.binding import (
    Adopt,
    Bind,
    Lose,
    Provision,
    Wait,
    World,
    claim_step,
    volume_step,
)
from parkube.controlplane.controllers.volumes.local_path import storage_class
from parkube.kubeapi.claims import (
    CLAIM_PROTECTION,
    LOCAL_DIRECTORY,
    LOCAL_PATH,
    SELECTED_NODE,
    VOLUME_PROTECTION,
    ClaimInfo,
    ClaimRef,
    ClassInfo,
    VolumeInfo,
    best,
    claim_info,
    class_info,
    default_class,
    misfit,
    reaches,
    volume_info,
)
from parkube.kubeapi.client import NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STATEFULSETS, STORAGECLASSES
from parkube.kubeapi.errors import Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster, pod_template

ALL = ("persistentvolume-binder", "persistentvolumeclaim-protection", "ephemeral-volume", "local-path")
GIB = 1024**3


def claim(name: str = "data", size: str = "1Gi", klass: str | None = "slow", **spec: Any) -> Obj:
    named = {} if klass is None else {"storageClassName": klass}
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "volumeMode": "Filesystem",
            **named, **spec,
        },
    }  # fmt: skip


def volume(name: str, size: str = "1Gi", klass: str = "slow", node: str = "", **spec: Any) -> Obj:
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    affinity = {"nodeAffinity": {"required": {"nodeSelectorTerms": [here]}}} if node else {}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, "labels": {"disk": name}},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "storageClassName": klass,
            "hostPath": {"path": f"/srv/{name}"}, "persistentVolumeReclaimPolicy": "Retain", **affinity, **spec,
        },
    }  # fmt: skip


def late_class(name: str, provisioner: str = "kubernetes.io/no-provisioner", **more: Any) -> Obj:
    return {
        "metadata": {"name": name}, "provisioner": provisioner, "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer", **more,
    }  # fmt: skip


def pod(name: str, *claims: str, **spec: Any) -> Obj:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes, **spec},
    }  # fmt: skip


def phase(c: FakeCluster, name: str, gvr: Any = PERSISTENTVOLUMECLAIMS) -> str:
    found = [o for o in c.client.all(gvr) if o["metadata"]["name"] == name]
    return str((found[0].get("status") or {}).get("phase", "")) if found else "gone"


def one(c: FakeCluster, gvr: Any, name: str) -> Obj:
    return next(o for o in c.client.all(gvr) if o["metadata"]["name"] == name)


def home(c: FakeCluster, name: str) -> str:
    return str(one(c, PODS, name)["spec"].get("nodeName", ""))


def why(c: FakeCluster, name: str) -> str:
    conditions = (one(c, PODS, name).get("status") or {}).get("conditions") or ()
    return next((str(x["message"]) for x in conditions if x["type"] == "PodScheduled"), "")


# -- the pure core


def info(name: str, **changes: Any) -> VolumeInfo:
    return volume_info(volume(name))._replace(uid=name, phase="Available", **changes)


claims_ = st.builds(
    lambda n, size, modes, klass, fixed: claim_info(claim(f"c{n}"))._replace(
        uid=f"uid-c{n}", size=size * GIB, access=tuple(modes), storage_class=klass, volume=fixed
    ),
    st.integers(0, 5), st.integers(1, 4), st.sets(st.sampled_from(["ReadWriteOnce", "ReadOnlyMany"]), min_size=1),
    st.sampled_from(["slow", "fast", "", "late"]), st.sampled_from(["", "", "", "v0"]),
)  # fmt: skip
volumes_ = st.builds(
    lambda n, size, modes, klass, ref: info(
        f"v{n}", size=size * GIB, access=tuple(modes), storage_class=klass,
        claim=ClaimRef("default", ref, "") if ref else None,
    ),
    st.integers(0, 5), st.integers(1, 4), st.sets(st.sampled_from(["ReadWriteOnce", "ReadOnlyMany"]), min_size=1),
    st.sampled_from(["slow", "fast", "", "late"]), st.sampled_from(["", "", "c0", "c1", "gone"]),
)  # fmt: skip
by_name: Callable[[Any], str] = lambda item: item.name  # noqa: E731


@given(st.lists(claims_, unique_by=by_name), st.lists(volumes_, unique_by=by_name), st.randoms())
def test_whatever_the_order_no_volume_has_two_claims_and_every_claim_gets_what_it_asked_for(
    claims: list[ClaimInfo], volumes: list[VolumeInfo], random: Any
) -> None:
    """Steps are taken in any order, some of them stopped half-way, until nothing moves."""
    there = {c.name: c for c in claims}
    has = {v.name: v for v in volumes}
    named = {c.name for c in claims if c.volume}
    late = class_info(late_class("late"))
    world = World(has.get, has.values, lambda name: late if name == "late" else None, "", lambda _: None)
    order = [*there, *has] * 8
    random.shuffle(order)
    for number, key in enumerate(order + [*there, *has] * 3):
        if key in there:
            step = claim_step(there[key], world)
            if not isinstance(step, Bind):
                assert isinstance(step, Wait)
                continue
            v, c = has[step.volume.name], there[key]
            assert v.claim is None or v.claim.uid in ("", c.uid)
            has[v.name] = v._replace(claim=ClaimRef(c.namespace, c.name, c.uid), phase="Bound")
            if number < len(order) and random.random() < 0.5:
                continue  # the controller died between the two writes
            there[key] = c._replace(volume=v.name, completed=True, phase="Bound")
        else:
            v = has[key]
            c2 = there.get(v.claim.name) if v.claim else None
            done = volume_step(v, c2)
            has[key] = v._replace(phase=done.phase, claim=None if done.free else v.claim)
    bound = [c for c in there.values() if c.bound]
    assert len({c.volume for c in bound}) == len(bound)
    for c in bound:
        v = has[c.volume]
        assert v.claim is not None
        assert (v.claim.uid, v.phase) == (c.uid, "Bound")
        assert v.size >= c.size or c.name in named  # by both, a person has decided
    for c in there.values():  # whoever still waits, waits for a reason
        if not c.bound and not c.volume and c.storage_class != "late":
            assert best(c, has.values()) is None


@given(claims_, st.lists(volumes_, unique_by=by_name))
def test_the_smallest_that_suits_is_taken_unless_one_is_reserved(c: ClaimInfo, volumes: list[VolumeInfo]) -> None:
    found = best(c, volumes)
    free = [v for v in volumes if v.claim is None and not misfit(v, c)]
    reserved = [v for v in volumes if v.claim and v.claim.name == c.name and v.size >= c.size]
    if reserved:
        assert found in reserved
    elif free:
        assert found is not None
        assert found.size == min(v.size for v in free)
    else:
        assert found is None


def test_what_a_claim_is_told() -> None:
    c = claim_info(claim())._replace(uid="u")
    late = ClassInfo("slow", "rancher.io/local-path", "Delete", True, False, 0.0, b"")

    def step(c: ClaimInfo, *volumes: VolumeInfo, klass: ClassInfo | None = None, default: str = "") -> Any:
        has = {v.name: v for v in volumes}
        return claim_step(c, World(has.get, has.values, lambda _: klass, default, lambda _: None))

    assert step(c).message == 'storageclass.storage.k8s.io "slow" not found'
    assert step(c, klass=late).reason == "WaitForFirstConsumer"
    assert step(c._replace(node="n1"), klass=late) == Provision(LOCAL_PATH)
    assert step(c._replace(storage_class=None), default="x") == Adopt("x")
    assert "no storage class is set" in step(c._replace(storage_class=None)).message
    assert step(c._replace(volume="v"), info("v", size=1)).reason == "VolumeMismatch"
    taken = info("v", claim=ClaimRef("default", "other", "o"))
    assert step(c._replace(volume="v"), taken).message == 'volume "v" already bound to a different claim.'
    assert isinstance(step(c._replace(volume="v", completed=True), taken), Lose)
    assert isinstance(step(c._replace(volume="v", completed=True)), Lose)
    chosen = claim_info(claim(selector={"matchLabels": {"disk": "b"}}))
    assert step(chosen, info("a"), info("b")) == Bind(info("b"))
    block = claim_info(claim(volumeMode="Block"))
    assert isinstance(step(block, info("a")), Wait)
    assert [misfit(info("a", **{k: v}), c) != "" for k, v in (("storage_class", "x"), ("attributes_class", "x"))] == [
        True, True,
    ]  # fmt: skip


def test_the_newest_default_class_counts() -> None:
    classes = [ClassInfo(n, "p", "Delete", False, d, t, b"") for n, d, t in (("a", True, 1.0), ("b", True, 2.0), ("c", False, 3.0))]  # noqa: E501  # fmt: skip
    assert default_class(classes) == "b"
    assert default_class([]) == ""


# -- the controllers


def test_a_claim_is_bound_and_its_volume_released_and_kept() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            c.client.put(PERSISTENTVOLUMES, volume("large", "5Gi"))
            c.client.put(PERSISTENTVOLUMES, volume("small", "2Gi"))
            await c.until(lambda: phase(c, "small", PERSISTENTVOLUMES) == "Available")
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim(), "default")
            await c.until(lambda: phase(c, "data") == phase(c, "small", PERSISTENTVOLUMES) == "Bound")
            bound = one(c, PERSISTENTVOLUMECLAIMS, "data")
            assert bound["spec"]["volumeName"] == "small"
            assert bound["status"]["capacity"] == {"storage": "2Gi"}
            assert bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
            assert phase(c, "large", PERSISTENTVOLUMES) == "Available"
            await c.client.delete(PERSISTENTVOLUMECLAIMS, "data", "default")
            await c.until(lambda: phase(c, "small", PERSISTENTVOLUMES) == "Released")
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim(), "default")  # another one of the same name
            await c.until(lambda: phase(c, "data") == "Bound")
            assert one(c, PERSISTENTVOLUMECLAIMS, "data")["spec"]["volumeName"] == "large"
            c.client.drop(PERSISTENTVOLUMES, "large")
            await c.until(lambda: phase(c, "data") == "Lost")
            assert any("lost its PersistentVolume" in e for e in c.events())

    run(story())


def test_a_volume_that_comes_later_a_reserved_one_and_one_asked_for_by_name() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim("later"), "default")
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim("named", klass="own", volumeName="mine"), "default")
            await asyncio.sleep(5)
            assert phase(c, "later") == phase(c, "named") == ""
            c.client.put(PERSISTENTVOLUMES, volume("mine", klass="own"))
            await c.until(lambda: phase(c, "named") == "Bound")
            ref = {"namespace": "default", "name": "reserved"}
            c.client.put(PERSISTENTVOLUMES, volume("kept", "9Gi", claimRef=ref))
            await c.until(lambda: phase(c, "kept", PERSISTENTVOLUMES) == "Available")
            await asyncio.sleep(5)
            assert phase(c, "later") == ""
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim("reserved"), "default")
            await c.until(lambda: phase(c, "reserved") == "Bound")
            c.client.put(PERSISTENTVOLUMES, volume("free"))
            await c.until(lambda: phase(c, "later") == "Bound")

    run(story())


def test_the_default_class_is_given_to_claims_that_came_before_it() -> None:
    async def story() -> None:
        async with FakeCluster("persistentvolume-binder") as c:
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim(klass=None), "default")
            await asyncio.sleep(2)
            c.client.put(STORAGECLASSES, storage_class())
            await c.until(
                lambda: one(c, PERSISTENTVOLUMECLAIMS, "data")["spec"].get("storageClassName") == "local-path"
            )
            assert any("first consumer" in e for e in c.events())

    run(story())


def test_what_is_in_use_stays_until_it_is_not() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, agents=False) as c:
            held = claim()
            held["metadata"]["finalizers"] = [CLAIM_PROTECTION]
            guarded = volume("v")
            guarded["metadata"]["finalizers"] = [VOLUME_PROTECTION]
            c.client.put(PERSISTENTVOLUMES, guarded)
            c.client.put(PERSISTENTVOLUMECLAIMS, held)
            c.client.put(PODS, pod("user", "data", nodeName="n1"))
            await c.until(lambda: phase(c, "data") == "Bound")
            await c.client.delete(PERSISTENTVOLUMECLAIMS, "data", "default")
            await c.client.delete(PERSISTENTVOLUMES, "v")
            await asyncio.sleep(10)
            assert (phase(c, "data"), phase(c, "v", PERSISTENTVOLUMES)) == ("Bound", "Bound")
            over = one(c, PODS, "user")
            over["status"] = {"phase": "Succeeded"}
            c.client.put(PODS, over)
            await c.until(lambda: phase(c, "data") == phase(c, "v", PERSISTENTVOLUMES) == "gone")

    run(story())


def test_a_local_path_claim_follows_its_first_pod_and_its_directory_is_waited_for() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, scheduler=True) as c:
            c.node("n1", labels={"place": "harbour"})
            c.node("n2")
            await c.until(lambda: bool(c.client.all(STORAGECLASSES)))
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim(klass="local-path"), "default")
            await asyncio.sleep(3)
            assert phase(c, "data") == ""  # nobody uses it yet
            c.client.put(PODS, pod("first", "data", nodeSelector={"place": "harbour"}))
            await c.until(lambda: home(c, "first") == "n1")
            made = one(c, PERSISTENTVOLUMES, one(c, PERSISTENTVOLUMECLAIMS, "data")["spec"]["volumeName"])
            assert made["spec"]["hostPath"]["path"].startswith("/var/lib/parkube/storage/pvc-")
            assert reaches(volume_info(made), c.views.nodes.get("n1"))  # type: ignore[arg-type]
            assert not reaches(volume_info(made), c.views.nodes.get("n2"))  # type: ignore[arg-type]
            c.client.put(PODS, pod("second", "data"))
            c.client.put(PODS, pod("away", "data", nodeSelector={"kubernetes.io/hostname": "n2"}))
            await c.until(lambda: home(c, "second") == "n1" and why(c, "away") != "")
            assert "1 node(s) didn't match PersistentVolume's node affinity" in why(c, "away")
            name = made["metadata"]["name"]
            kept = one(c, PERSISTENTVOLUMES, name)
            kept["metadata"]["finalizers"] = [LOCAL_DIRECTORY]  # the node made the directory
            c.client.put(PERSISTENTVOLUMES, kept)
            for user in ("first", "second", "away"):
                c.client.drop(PODS, user, "default")
            await c.client.delete(PERSISTENTVOLUMECLAIMS, "data", "default")
            await c.until(lambda: bool(one(c, PERSISTENTVOLUMES, name)["metadata"].get("deletionTimestamp")))
            await asyncio.sleep(60)
            assert phase(c, name, PERSISTENTVOLUMES) == "Released"  # the node has not said that it is gone
            c.client.drop(NODES, "n1")
            await c.until(lambda: phase(c, name, PERSISTENTVOLUMES) == "gone")

    run(story())


def test_what_a_directory_cannot_be_is_said() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL) as c:
            many = claim("many", klass="local-path", accessModes=["ReadWriteMany"])
            many["metadata"]["annotations"] = {SELECTED_NODE: "n1"}
            c.client.put(PERSISTENTVOLUMECLAIMS, many)
            await c.until(lambda: any("only supports ReadWriteOnce" in e for e in c.events()))
            lost = claim("lost", klass="local-path")
            lost["metadata"]["annotations"] = {SELECTED_NODE: "nowhere"}
            c.client.put(PERSISTENTVOLUMECLAIMS, lost)
            await c.until(
                lambda: SELECTED_NODE not in one(c, PERSISTENTVOLUMECLAIMS, "lost")["metadata"]["annotations"]
            )

    run(story())


def test_without_local_storage_its_class_goes_and_nothing_is_made() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, options=Options(local_storage=False)) as c:
            await asyncio.sleep(1)
            assert not c.client.all(STORAGECLASSES)
        client = c.client
        client.put(STORAGECLASSES, storage_class())
        again = FakeCluster(*ALL, options=Options(local_storage=False))
        again.client = client
        async with again:
            await again.until(lambda: not client.all(STORAGECLASSES))

    run(story())


def test_a_pod_waits_for_its_claims_and_says_why() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, scheduler=True) as c:
            c.node("n1")
            c.node("n2")
            c.client.put(STORAGECLASSES, late_class("disks"))
            c.client.put(PODS, pod("none", "data"))
            await asyncio.sleep(2)
            assert 'persistentvolumeclaim "data" not found' in why(c, "none")
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim(), "default")
            await asyncio.sleep(2)
            assert "pod has unbound immediate PersistentVolumeClaims" in why(c, "none")
            c.client.put(PERSISTENTVOLUMES, volume("v", node="n2"))
            await c.until(lambda: home(c, "none") == "n2")
            for number in range(2):
                await c.client.create(PERSISTENTVOLUMECLAIMS, claim(f"d{number}", klass="disks"), "default")
                c.client.put(PODS, pod(f"p{number}", f"d{number}"))
            await asyncio.sleep(2)
            assert "2 node(s) didn't find available persistent volumes to bind" in why(c, "p0")
            c.client.put(PERSISTENTVOLUMES, volume("disk", klass="disks", node="n1"))
            await c.until(lambda: {home(c, "p0"), home(c, "p1")} == {"n1", ""})
            c.client.put(PERSISTENTVOLUMES, volume("disk2", klass="disks", node="n2"))
            await c.until(lambda: {home(c, "p0"), home(c, "p1")} == {"n1", "n2"})

    run(story())


def test_one_pod_alone_uses_a_claim_that_says_so() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, scheduler=True) as c:
            c.node("n1")
            only = ["ReadWriteOncePod"]
            c.client.put(PERSISTENTVOLUMES, volume("v", accessModes=only))
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim(accessModes=only), "default")
            c.client.put(PODS, pod("a", "data"))
            await c.until(lambda: home(c, "a") == "n1")
            c.client.put(PODS, pod("b", "data"))
            await asyncio.sleep(3)
            assert "ReadWriteOncePod" in why(c, "b")
            c.client.drop(PODS, "a", "default")
            await c.until(lambda: home(c, "b") == "n1")

    run(story())


def test_an_ephemeral_volume_has_a_claim_of_its_pods() -> None:
    async def story() -> None:
        async with FakeCluster(*ALL, "garbage-collector", scheduler=True) as c:
            c.node("n1")
            template = {"metadata": {"labels": {"a": "b"}}, "spec": claim(klass="local-path")["spec"]}
            volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
            made = await c.client.create(PODS, pod("p", volumes=volumes), "default")
            await c.until(lambda: home(c, "p") == "n1")
            mine = one(c, PERSISTENTVOLUMECLAIMS, "p-scratch")
            assert mine["metadata"]["labels"] == {"a": "b"}
            assert mine["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
            await c.client.create(PERSISTENTVOLUMECLAIMS, claim("q-scratch"), "default")
            await c.client.create(PODS, pod("q", volumes=volumes), "default")
            await asyncio.sleep(2)
            assert "PVC default/q-scratch was not created for pod default/q" in why(c, "q")

    run(story())


def test_a_stateful_set_gets_its_claims_and_leaves_or_takes_them() -> None:
    async def story(policy: str) -> int:
        async with FakeCluster(*ALL, "statefulset", scheduler=True) as c:
            c.node("n1")
            template = claim("data", klass="local-path")
            rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
            await c.client.create(STATEFULSETS, {
                "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
                "spec": {
                    "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "web"}},
                    "template": pod_template("v1"), "updateStrategy": rolling, "volumeClaimTemplates": [template],
                    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": policy},
                },
            }, "default")  # fmt: skip
            await c.until(lambda: phase(c, "data-db-1") == "Bound")
            await c.client.patch(STATEFULSETS, "db", {"spec": {"replicas": 1}}, "default")
            await c.until(lambda: len(c.pods()) == 1)
            owners = one(c, PERSISTENTVOLUMECLAIMS, "data-db-1")["metadata"].get("ownerReferences") or []
            return len(owners)

    assert run(story("Retain")) == 0
    assert run(story("Delete")) == 1  # its pod's: garbage collection takes it along
