"""Namespaces that are being deleted: their pods go first, then all else in them, then the finalizer `kubernetes`.

Active --DELETE--> Terminating --pods gone--> --content gone--> finalizer removed --> gone
                      |   ^
                      +---+ something remains: looked at again, with growing patience

While a pod is left nothing else is touched: what it still needs to end well (its Secrets, its NetworkPolicies) stays.
Source: KEP 5080, ordered namespace deletion.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.options import ApiResource, Options
from parkube.controlplane.controllers.runner import Env, Reconciler, in_flight
from parkube.controlplane.controllers.views import NamespaceInfo
from parkube.kubeapi.client import GVR, NAMESPACES, PODS
from parkube.kubeapi.errors import ApiError, NotFound, Obj
from parkube.kubeapi.objects import rfc3339, set_condition

FINALIZER = "kubernetes"
_WAITS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_NEEDED = {"list", "delete"}


def conditions(
    left: dict[str, int], finalizers: dict[str, int], failures: list[str], old: list[Obj], now: str
) -> list[Obj]:
    """The conditions that tell what still stands in the way. `left`: objects by resource; `finalizers`: by name."""
    out = [dict(c) for c in old]
    failed = "; ".join(failures)
    said: tuple[tuple[str, str, str, str, str], ...] = (
        (
            "NamespaceDeletionDiscoveryFailure",
            "",
            "ResourcesDiscovered",
            "",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            "ParsedGroupVersions",
            "",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            "ContentDeleted",
            failed,
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "ContentRemoved",
            "Some resources are remaining: "
            + ", ".join(f"{k} has {n} resource instances" for k, n in sorted(left.items()))
            if left
            else "",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "Some content in the namespace has finalizers remaining: "
            + ", ".join(f"{k} in {n} resource instances" for k, n in sorted(finalizers.items()))
            if finalizers
            else "",
            "All content-preserving finalizers finished",
        ),
    )
    for kind, bad, good, problem, fine in said:
        set_condition(out, kind, "True" if problem else "False", bad if problem else good, problem or fine, now)
    return out


class NamespaceController(Reconciler):
    """Empties namespaces that are being deleted."""

    name: ClassVar[str] = "namespace"
    inputs: ClassVar[tuple[GVR, ...]] = (NAMESPACES,)
    outputs: ClassVar[tuple[GVR, ...]] = (NAMESPACES,)  # and whatever lies in them

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._resources = options.resources
        self._rounds: dict[str, int] = {}
        env.views.namespaces.subscribe(self._changed)

    def _changed(self, kind: str, key: str, old: NamespaceInfo | None, new: NamespaceInfo | None) -> None:
        if new is not None and new.deleting and FINALIZER in new.finalizers:
            self.queue.add(key)
        elif new is None:
            self._rounds.pop(key, None)

    async def reconcile(self, key: str) -> float | None:
        """One round of deleting what is in a namespace."""
        namespace = await self.client.get(NAMESPACES, key)
        if not namespace["metadata"].get("deletionTimestamp"):
            return None
        finalizers = (namespace.get("spec") or {}).get("finalizers") or []
        if FINALIZER not in finalizers:
            return None
        left, held, failures = await self._empty(key)
        if left or failures:
            await self._tell(namespace, left, held, failures)
            turn = self._rounds[key] = self._rounds.get(key, -1) + 1
            return _WAITS_S[min(turn, len(_WAITS_S) - 1)]
        spec = {**namespace["spec"], "finalizers": [f for f in finalizers if f != FINALIZER]}
        await self.client.update(NAMESPACES, {**namespace, "spec": spec}, subresource="finalize")
        return None

    async def _empty(self, namespace: str) -> tuple[dict[str, int], dict[str, int], list[str]]:
        """Ask for the deletion of everything; what is left after that, by resource and by finalizer, and failures."""
        left: dict[str, int] = {}
        held: dict[str, int] = {}
        failures: list[str] = []
        for resource in self._content():
            try:
                await self._empty_of(resource, namespace, left, held)
            except NotFound:
                continue
            except ApiError as error:
                failures.append(f"{resource.gvr.resource}: {error.message}")
            if resource.gvr == PODS and (left or failures):
                break
        return left, held, failures

    def _content(self) -> list[ApiResource]:
        """What may lie in a namespace, each store of objects once; pods first."""
        found: dict[tuple[str, str], ApiResource] = {}
        for resource in self._resources():
            at = resource.stored_at or resource.gvr
            if resource.namespaced and set(resource.verbs) >= _NEEDED:
                found.setdefault((at.group, at.resource), resource)
        return sorted(found.values(), key=lambda resource: resource.gvr != PODS)

    async def _empty_of(
        self, resource: ApiResource, namespace: str, left: dict[str, int], held: dict[str, int]
    ) -> None:
        gvr = resource.gvr
        items = (await self.client.list(gvr, namespace)).get("items") or ()
        if not items:
            return
        names = [item["metadata"]["name"] for item in items if not item["metadata"].get("deletionTimestamp")]
        options = {"propagationPolicy": "Background"}
        answers = await in_flight([partial(self.client.delete, gvr, n, namespace, options=options) for n in names])
        errors = [a for a in answers if isinstance(a, ApiError) and not isinstance(a, NotFound)]
        if errors:
            raise errors[0]
        items = (await self.client.list(gvr, namespace)).get("items") or ()
        if items:
            full = f"{gvr.resource}.{gvr.group}" if gvr.group else f"{gvr.resource}."
            left[full] = len(items)
        for item in items:
            for finalizer in item["metadata"].get("finalizers") or ():
                held[finalizer] = held.get(finalizer, 0) + 1

    async def _tell(self, namespace: Obj, left: dict[str, int], held: dict[str, int], failures: list[str]) -> None:
        status = namespace.get("status") or {}
        old = status.get("conditions") or []
        new = conditions(left, held, failures, old, rfc3339(self.clock()))
        if new != old or status.get("phase") != "Terminating":
            fresh = {**namespace, "status": {**status, "phase": "Terminating", "conditions": new}}
            await self.client.update(NAMESPACES, fresh, subresource="status")
