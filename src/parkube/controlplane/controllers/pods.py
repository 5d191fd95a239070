"""How controllers make, delete, adopt and release pods, with the events that tell of it. No decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from parkube.controlplane.controllers.runner import Env, Expectations
from parkube.kubeapi.client import PODS, Client, PatchType
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.errors import ApiError, NotFound, Obj, namespace_ends
from parkube.kubeapi.objects import copy, owner_reference
from parkube.kubeapi.recorder import Reference, Voice
from parkube.kubeapi.selectors import LabelSelector


def pod_from(owner: Obj, template: Obj) -> Obj:
    """A pod of `template`, owned by `owner`; the API gives it a name."""
    template = copy(template)
    given = template.get("metadata") or {}
    metadata: Obj = {key: given[key] for key in ("labels", "annotations", "finalizers") if given.get(key)}
    metadata |= {
        "generateName": owner["metadata"]["name"] + "-", "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner)],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


async def note_disruption(client: Client, pod: PodInfo, condition: Obj, **status: Any) -> None:
    """Put on a pod why the cluster ends it (and other status), before it is deleted. Raises NotFound, Conflict."""
    patch = {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition], **status}}
    await client.patch(PODS, pod.name, patch, pod.namespace, kind=PatchType.STRATEGIC, subresource="status")


class PodControl:
    """Writes pods and remembers what the pod informer has not shown yet."""

    def __init__(self, env: Env, expected: Expectations, recorder: Voice) -> None:
        self._client, self._recorder, self._views, self._expected = env.client, recorder, env.views, expected

    def heard(self, owner_uid: str, key: str, pod: PodInfo | None) -> None:
        """The pod informer spoke of this pod."""
        self._expected.seen(owner_uid, "+" + key)
        if pod is None or pod.deleting:
            self._expected.seen(owner_uid, "-" + key)

    async def create(self, owner: Obj, template: Obj, pod: Obj | None = None) -> Obj:
        """Make a pod (`pod` when it was made from the template already)."""
        obj = pod or pod_from(owner, template)
        uid, about = owner["metadata"]["uid"], Reference.of(owner)
        try:
            made = await self._client.create(PODS, obj, owner["metadata"]["namespace"])
        except ApiError as error:
            if not namespace_ends(error):
                self._recorder.warning(about, "FailedCreate", f"Error creating: {error.message}")
            raise
        key = f"{made['metadata']['namespace']}/{made['metadata']['name']}"
        if self._views.pods.get(key) is None:
            self._expected.expect(uid, "+" + key)
        self._recorder.normal(about, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}")
        return made

    async def delete(self, owner: Obj, pod: PodInfo) -> None:
        """Delete a pod, unless another has its name by now."""
        uid, about = owner["metadata"]["uid"], Reference.of(owner)
        self._expected.expect(uid, "-" + pod.key)
        try:
            await self._client.delete(PODS, pod.name, pod.namespace, options={"preconditions": {"uid": pod.uid}})
        except NotFound:
            self._expected.seen(uid, "-" + pod.key)
            return
        except ApiError as error:
            self._expected.seen(uid, "-" + pod.key)
            self._recorder.warning(about, "FailedDelete", f"Error deleting: {error.message}")
            raise
        self._recorder.normal(about, "SuccessfulDelete", f"Deleted pod: {pod.name}")


def selects(selector: bytes, labels: Mapping[str, str]) -> bool:
    """Whether a label selector, kept as the JSON of its object, means these labels."""
    return LabelSelector.from_object(orjson.loads(selector)).matches(labels)


async def claim(env: Env, owner: Obj, selector: LabelSelector) -> list[PodInfo]:
    """The owner's pods: those that no longer match are let go, those that do and belong to nobody are taken in."""
    m, owned = owner["metadata"], []
    for pod in env.views.index.of_owner(m["uid"]):
        if pod.deleting or selector.matches(pod.labels):
            owned.append(pod)
        else:
            await release(env.client, pod, m["uid"])
    for pod in env.views.index.of_owner(""):
        if pod.namespace == m["namespace"] and pod.active and selector.matches(pod.labels):
            await adopt(env.client, pod, owner)
            owned.append(pod)
    return owned


async def adopt(client: Client, pod: PodInfo, owner: Obj) -> None:
    """Make `owner` the controller of a pod that has none."""
    kept: list[dict[str, Any]] = [
        {"apiVersion": o.api_version, "kind": o.kind, "name": o.name, "uid": o.uid} for o in pod.owners
    ]
    change = {"metadata": {"uid": pod.uid, "ownerReferences": [*kept, owner_reference(owner)]}}
    await client.patch(PODS, pod.name, change, pod.namespace)


async def release(client: Client, pod: PodInfo, owner_uid: str) -> None:
    """Take a controller's reference off a pod that its selector no longer matches."""
    kept = [
        {"apiVersion": o.api_version, "kind": o.kind, "name": o.name, "uid": o.uid, "controller": o.controller}
        for o in pod.owners
        if o.uid != owner_uid
    ]
    change: Obj = {"metadata": {"uid": pod.uid, "ownerReferences": kept or None}}
    await client.patch(PODS, pod.name, change, pod.namespace)
