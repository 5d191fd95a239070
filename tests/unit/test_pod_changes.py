"""A running pod gets ephemeral containers and other resources through its subresources, and nothing else by them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Context
from parkube.kubeapi.client import PODS
from parkube.kubeapi.errors import Invalid
from parkube.kubeapi.objects import copy
from tests.fakes.registry import make_registry, row

Obj = dict[str, Any]
Change = Callable[[Obj], Obj]


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    made = await make_registry()
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
    spec = {"containers": [{"name": "a", "image": "a:1", "resources": resources}]}
    await made.create(row(made, PODS), "default", {"metadata": {"name": "p"}, "spec": spec}, Context())
    yield made
    await made.close()


async def changed(registry: Registry, subresource: str, change: Change) -> Obj:
    return await registry.mutate(row(registry, PODS), "default", "p", change, Context(), subresource)


def debugger(**more: Any) -> Change:
    def add(pod: Obj) -> Obj:
        pod["spec"].setdefault("ephemeralContainers", []).append({"name": "debug", "image": "busybox", **more})
        pod["spec"]["containers"][0]["image"] = "other"
        return pod

    return add


async def test_an_ephemeral_container_is_added_and_stays(registry: Registry) -> None:
    pod = await changed(registry, "ephemeralcontainers", debugger(targetContainerName="a"))
    added = pod["spec"]["ephemeralContainers"][0]
    assert (added["imagePullPolicy"], added["terminationMessagePolicy"]) == ("Always", "File")
    assert pod["spec"]["containers"][0]["image"] == "a:1"
    assert pod["metadata"]["generation"] == 2

    def drop(pod: Obj) -> Obj:
        del pod["spec"]["ephemeralContainers"]
        return pod

    with pytest.raises(Invalid, match="may not be removed"):
        await changed(registry, "ephemeralcontainers", drop)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"ports": [{"containerPort": 80}]}, "spec.ephemeralContainers[0].ports"),
        ({"targetContainerName": "nobody"}, "spec.ephemeralContainers[0].targetContainerName"),
        ({"name": "a"}, "spec.ephemeralContainers[0].name"),
        ({"resources": {"limits": {"cpu": "1"}}}, "spec.ephemeralContainers[0].resources"),
    ],
)
async def test_ephemeral_containers_that_cannot_be(registry: Registry, more: Obj, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await changed(registry, "ephemeralcontainers", debugger(**more))
    assert field in [cause.field for cause in caught.value.causes]


def resources(kind: str, **amounts: str | None) -> Change:
    def resize(pod: Obj) -> Obj:
        pod = copy(pod)
        held = pod["spec"]["containers"][0]["resources"].setdefault(kind, {})
        held.update({name: amount for name, amount in amounts.items() if amount})
        for name in [name for name, amount in amounts.items() if not amount]:
            del held[name]
        pod["spec"]["containers"][0]["image"] = "other"
        return pod

    return resize


async def test_resources_are_resized_and_nothing_else(registry: Registry) -> None:
    pod = await changed(registry, "resize", resources("requests", cpu="150m"))
    container = pod["spec"]["containers"][0]
    assert container["resources"]["requests"] == {"cpu": "150m", "memory": "64Mi"}
    assert container["image"] == "a:1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (resources("requests", **{"ephemeral-storage": "1Gi"}), "only cpu and memory resources are mutable"),
        (resources("limits", cpu=None), "resource limits cannot be removed"),
        (resources("requests", cpu="200m", memory="128Mi"), "Pod QOS Class may not change as a result of resizing"),
        (resources("requests", cpu="300m"), "must be less than or equal to cpu limit"),
    ],
)
async def test_resizes_that_cannot_be(registry: Registry, change: Change, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        await changed(registry, "resize", change)


async def test_elsewhere_neither_changes(registry: Registry) -> None:
    with pytest.raises(Invalid, match="pod updates may not change fields other than"):
        await changed(registry, "", resources("requests", cpu="150m"))


async def test_every_change_of_what_is_wanted_is_a_new_generation_and_nothing_else_is(registry: Registry) -> None:
    one = row(registry, PODS)
    body = {"metadata": {"name": "own", "generation": 100}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    made = await registry.create(one, "default", body, Context())
    assert made["metadata"]["generation"] == 1  # not the client's to say

    async def after(change: Change, subresource: str = "") -> int:
        pod = await registry.mutate(one, "default", "own", change, Context(), subresource)
        return int(pod["metadata"]["generation"])

    def put(at: str, value: Any) -> Change:
        return lambda pod: {**pod, at: {**pod.get(at, {}), **value}}

    assert await after(put("metadata", {"labels": {"a": "b"}})) == 1
    assert await after(put("status", {"observedGeneration": 1}), "status") == 1
    assert await after(put("spec", {"activeDeadlineSeconds": 5})) == 2
    assert await after(put("spec", {"activeDeadlineSeconds": 4})) == 3
    assert await after(put("metadata", {"generation": 50})) == 3
