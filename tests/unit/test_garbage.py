"""Deletion that spreads: by owner references in the background, in the foreground, orphaned; and whole namespaces."""

from __future__ import annotations

import asyncio

from parkube.controlplane.controllers.options import ApiResource, Options
from parkube.kubeapi.client import CONFIGMAPS, DEPLOYMENTS, GVR, NAMESPACES, PODS, REPLICASETS, SECRETS, SERVICEACCOUNTS
from parkube.kubeapi.errors import Forbidden, Obj
from tests.fakes.virtual_time import run
from tests.fakes.workloads import FakeCluster, pod_template

GARAGES = GVR("parkube.example", "v1", "garages")
RESOURCES = [
    ApiResource(PODS, "Pod", True), ApiResource(CONFIGMAPS, "ConfigMap", True), ApiResource(SECRETS, "Secret", True),
    ApiResource(REPLICASETS, "ReplicaSet", True), ApiResource(DEPLOYMENTS, "Deployment", True),
    ApiResource(NAMESPACES, "Namespace", False), ApiResource(SERVICEACCOUNTS, "ServiceAccount", True),
]  # fmt: skip
CUSTOM = ApiResource(GARAGES, "Garage", True)


class World(FakeCluster):
    """A cluster with the garbage collector, whose list of resources may grow."""

    def __init__(self, *names: str) -> None:
        self.resources = list(RESOURCES)
        super().__init__(*names, options=Options(resources=lambda: self.resources, root_ca="PEM"), agents=False)

    def own(self, gvr: GVR, name: str, *owners: Obj, kind: str = "", block: bool = False, **more: object) -> Obj:
        references = [
            {
                "apiVersion": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"],
                "uid": o["metadata"]["uid"], "blockOwnerDeletion": block,
            }
            for o in owners
        ]  # fmt: skip
        metadata = {"name": name, "namespace": "default", **({"ownerReferences": references} if references else {})}
        version = f"{gvr.group}/{gvr.version}" if gvr.group else gvr.version
        spec = pod_template("v1")["spec"] if gvr == PODS else {}
        return self.client.put(gvr, {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, **more})

    def names(self, gvr: GVR) -> list[str]:
        return [o["metadata"]["name"] for o in self.client.all(gvr)]


def test_what_an_owner_leaves_behind_goes() -> None:
    async def story() -> None:
        async with World("garbage-collector") as c:
            c.client.graceful.clear()
            owner = c.own(DEPLOYMENTS, "d", kind="Deployment")
            middle = c.own(REPLICASETS, "r", owner, kind="ReplicaSet")
            for n in range(3):
                c.own(PODS, f"p{n}", middle)
            other = c.own(CONFIGMAPS, "other", kind="ConfigMap")
            c.own(SECRETS, "shared", owner, other)
            c.own(SECRETS, "dangling", {**owner, "metadata": {"name": "never", "uid": "no-such-uid"}})
            foreign = {"apiVersion": "example.org/v1", "kind": "Unknown", "metadata": {"name": "x", "uid": "y"}}
            c.own(SECRETS, "foreign", foreign)
            await asyncio.sleep(10)
            assert c.names(SECRETS) == ["foreign", "shared"]
            await c.client.delete(DEPLOYMENTS, "d", "default", options={"propagationPolicy": "Background"})
            await asyncio.sleep(2)
            assert c.names(REPLICASETS) == c.names(PODS) == []
            [_, shared] = c.client.all(SECRETS)
            assert [o["name"] for o in shared["metadata"]["ownerReferences"]] == ["other"]

    run(story())


def test_foreground_waits_for_what_blocks_and_orphan_sets_free() -> None:
    async def story() -> None:
        async with World("garbage-collector") as c:
            owner = c.own(REPLICASETS, "r", kind="ReplicaSet")
            c.own(PODS, "slow", owner, block=True)
            c.own(CONFIGMAPS, "quick", owner)
            await asyncio.sleep(5)
            await c.client.delete(REPLICASETS, "r", "default", options={"propagationPolicy": "Foreground"})
            await asyncio.sleep(5)
            assert c.names(REPLICASETS) == ["r"]
            assert c.names(CONFIGMAPS) == []
            assert c.client.all(PODS)[0]["metadata"]["deletionTimestamp"]
            await c.client.delete(PODS, "slow", "default", options={"gracePeriodSeconds": 0})
            await asyncio.sleep(1)
            assert c.names(REPLICASETS) == []

            owner = c.own(REPLICASETS, "r2", kind="ReplicaSet")
            c.own(PODS, "free", owner)
            await asyncio.sleep(5)
            await c.client.delete(REPLICASETS, "r2", "default", options={"propagationPolicy": "Orphan"})
            await asyncio.sleep(5)
            assert c.names(REPLICASETS) == []
            assert not c.client.all(PODS)[0]["metadata"].get("ownerReferences")

    run(story())


def test_a_circle_of_owners_does_not_hold_itself() -> None:
    async def story() -> None:
        async with World("garbage-collector") as c:
            circle = [c.own(CONFIGMAPS, f"c{n}", kind="ConfigMap") for n in range(3)]
            own = c.own(CONFIGMAPS, "own", kind="ConfigMap")
            for one, owner in (*zip(circle, (circle[2], *circle), strict=False), (own, own)):
                meta = owner["metadata"]
                reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"]}
                one["metadata"]["ownerReferences"] = [{**reference, "blockOwnerDeletion": True}]
                c.client.put(CONFIGMAPS, one)
            await asyncio.sleep(5)
            assert len(c.names(CONFIGMAPS)) == 4
            for name in ("c0", "own"):
                await c.client.delete(CONFIGMAPS, name, "default", options={"propagationPolicy": "Foreground"})
            await asyncio.sleep(10)
            assert c.names(CONFIGMAPS) == []

    run(story())


def test_custom_resources_count_once_they_are_served() -> None:
    async def story() -> None:
        async with World("garbage-collector") as c:
            await asyncio.sleep(10)
            c.resources.append(CUSTOM)
            garage = c.own(GARAGES, "north", kind="Garage")
            c.own(CONFIGMAPS, "app", garage)
            await asyncio.sleep(10)
            assert c.names(CONFIGMAPS) == ["app"]
            await c.client.delete(GARAGES, "north", "default")
            await asyncio.sleep(2)
            assert c.names(CONFIGMAPS) == []
            c.resources.remove(CUSTOM)
            await asyncio.sleep(10)

    run(story())


def test_a_namespace_is_emptied_before_it_goes() -> None:
    async def story() -> None:
        async with World("namespace") as c:
            c.client.graceful.clear()
            c.resources.append(CUSTOM)
            held = c.own(GARAGES, "held", kind="Garage")
            held["metadata"]["finalizers"] = ["example.org/keep"]
            c.client.put(GARAGES, held)
            for n in range(5):
                c.own(CONFIGMAPS, f"c{n}")
            space = {
                "metadata": {"name": "default", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["fake"]},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"},
            }  # fmt: skip
            c.client.fail("list", "secrets", Forbidden("not yet"))
            c.client.put(NAMESPACES, space)
            await asyncio.sleep(10)
            assert c.names(CONFIGMAPS) == []
            [space] = c.client.all(NAMESPACES)
            said = {x["type"]: (x["status"], x["message"]) for x in space["status"]["conditions"]}
            assert said["NamespaceContentRemaining"] == (
                "True", "Some resources are remaining: garages.parkube.example has 1 resource instances",
            )  # fmt: skip
            assert "example.org/keep in 1 resource instances" in said["NamespaceFinalizersRemaining"][1]
            held = c.client.all(GARAGES)[0]
            held["metadata"]["finalizers"] = []
            await c.client.update(GARAGES, held)
            await asyncio.sleep(10)
            assert ("update", "namespaces", "default", "finalize") in c.client.actions

    run(story())


def test_while_a_pod_is_left_nothing_else_of_its_namespace_goes() -> None:
    async def story() -> None:
        async with World("namespace") as c:
            c.client.graceful.clear()
            pod = c.own(PODS, "last", kind="Pod")
            pod["metadata"]["finalizers"] = ["example.org/keep"]
            c.client.put(PODS, pod)
            c.own(SECRETS, "needed", kind="Secret")
            c.client.put(NAMESPACES, {
                "metadata": {"name": "default", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["fake"]},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"},
            })  # fmt: skip
            await asyncio.sleep(10)
            assert c.names(SECRETS) == ["needed"]
            [space] = c.client.all(NAMESPACES)
            said = {x["type"]: (x["status"], x["message"]) for x in space["status"]["conditions"]}
            assert said["NamespaceDeletionContentFailure"][0] == "False"
            assert said["NamespaceContentRemaining"] == (
                "True", "Some resources are remaining: pods. has 1 resource instances",
            )  # fmt: skip
            assert said["NamespaceFinalizersRemaining"] == (
                "True", "Some content in the namespace has finalizers remaining: "
                "example.org/keep in 1 resource instances",
            )  # fmt: skip
            [pod] = c.client.all(PODS)
            assert pod["metadata"]["deletionTimestamp"]
            pod["metadata"]["finalizers"] = []
            await c.client.update(PODS, pod)
            await asyncio.sleep(10)
            assert c.names(SECRETS) == []
            assert ("update", "namespaces", "default", "finalize") in c.client.actions

    run(story())


def test_every_namespace_has_an_account_and_the_ca() -> None:
    async def story() -> None:
        async with World("serviceaccount", "apiserver-endpoints") as c:
            await asyncio.sleep(1)
            spaces = c.names(NAMESPACES)
            assert spaces == ["default", "kube-node-lease", "kube-public", "kube-system"]
            assert [o["metadata"]["namespace"] for o in c.client.all(SERVICEACCOUNTS)] == spaces
            assert {o["data"]["ca.crt"] for o in c.client.all(CONFIGMAPS)} == {"PEM"}
            await c.client.delete(CONFIGMAPS, "kube-root-ca.crt", "default")
            await c.client.patch(CONFIGMAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged"}}, "kube-public")
            await c.client.delete(SERVICEACCOUNTS, "default", "default")
            await asyncio.sleep(1)
            assert len(c.client.all(SERVICEACCOUNTS)) == 4
            assert [o["data"]["ca.crt"] for o in c.client.all(CONFIGMAPS)] == ["PEM"] * 4

    run(story())
