"""`pods/binding` and `pods/eviction`: what happens to a pod by a POST of another kind. No HTTP here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from parkube.controlplane.apiserver.special import Create
from parkube.controlplane.registry.deletion import check_preconditions
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.options import ListOptions
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import GVR, PODS
from parkube.kubeapi.disruption import BY_EVICTION, disruption_target
from parkube.kubeapi.errors import BadRequest, Conflict, InternalError, Obj, TooManyRequests
from parkube.kubeapi.selectors import LabelSelector

BUDGETS = GVR("policy", "v1", "poddisruptionbudgets")
_MERGED = ("labels", "annotations")


def handlers(registry: Registry, clock: Callable[[], float]) -> dict[tuple[GVR, str], Create]:
    """The two handlers."""

    async def binding(row: Resource, namespace: str, name: str, obj: Obj, context: Context) -> Obj:
        node = str((obj.get("target") or {}).get("name") or "")
        if not node:
            raise BadRequest("target.name: Required value")
        if (obj.get("target") or {}).get("kind") not in (None, "", "Node"):
            raise BadRequest('target.kind: Unsupported value: supported values: "Node"')
        meta = obj.get("metadata") or {}
        stamp = _stamp(clock())
        await registry.mutate(row, namespace, name, lambda pod: bind(pod, node, meta, stamp), context, "binding")
        return _success(201)

    async def eviction(row: Resource, namespace: str, name: str, obj: Obj, context: Context) -> Obj:
        pod = (await registry.get(row, namespace, name)).object()
        options = obj.get("deleteOptions") or {}
        if not isinstance(options, dict):
            raise BadRequest("deleteOptions is an object")
        dry = context if not options.get("dryRun") else Context(user=context.user, dry_run=True)
        budgets = registry.catalogue.get(BUDGETS)
        if budgets is not None and not _finished(pod) and not pod["metadata"].get("deletionTimestamp"):
            found = await registry.list(budgets, namespace, ListOptions())
            budget = budget_of(pod, [stored.object() for stored in found.items])
            if budget is not None and not spared(pod, budget):
                stamp = _stamp(clock())
                await registry.mutate(
                    budgets, namespace, budget["metadata"]["name"], lambda b: draw(b, name, stamp), dry, "status"
                )
        why = disruption_target(BY_EVICTION, "Eviction API: evicting", _stamp(clock()))
        await registry.mutate(row, namespace, name, lambda pod: doomed(pod, options, why, row), dry, "status")
        await registry.delete(row, namespace, name, _judged(options), dry)
        return _success(201)

    return {(PODS, "binding"): binding, (PODS, "eviction"): eviction}


def doomed(pod: Obj, options: Obj, why: Obj, row: Resource) -> Obj:
    """The pod with the condition that it is evicted. Raises Conflict when it is not the one that was meant."""
    check_preconditions(pod, options, row)
    status = dict(pod.get("status") or {})
    others = [c for c in status.get("conditions") or () if c.get("type") != why["type"]]
    return {**pod, "status": {**status, "conditions": [*others, why]}}


def _judged(options: Obj) -> Obj:
    """Delete options without the revision that `doomed` has compared and then moved."""
    preconditions = {k: v for k, v in (options.get("preconditions") or {}).items() if k != "resourceVersion"}
    return {**options, **({"preconditions": preconditions} if "preconditions" in options else {})}


def bind(pod: Obj, node: str, meta: Obj, stamp: str) -> Obj:
    """The pod, assigned to `node`; `meta` is the Binding's metadata. Raises Conflict when that cannot be."""
    name = pod["metadata"]["name"]
    if meta.get("uid") and meta["uid"] != pod["metadata"].get("uid"):
        raise Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": the pod was replaced by another one')
    if pod["metadata"].get("deletionTimestamp"):
        raise Conflict(f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is being deleted')
    now = pod["spec"].get("nodeName")
    if now:
        raise Conflict(
            f'Operation cannot be fulfilled on pods/binding "{name}": pod {name} is already assigned to node "{now}"'
        )
    pod = {**pod, "metadata": dict(pod["metadata"]), "spec": {**pod["spec"], "nodeName": node}}
    for key in _MERGED:
        if meta.get(key):
            pod["metadata"][key] = {**(pod["metadata"].get(key) or {}), **meta[key]}
    status = dict(pod.get("status") or {})
    conditions = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": stamp})
    pod["status"] = {**status, "conditions": conditions}
    return pod


def budget_of(pod: Obj, budgets: list[Obj]) -> Obj | None:
    """The PodDisruptionBudget that protects a pod."""
    labels = pod["metadata"].get("labels") or {}
    matching = [
        b for b in budgets
        if (b.get("spec") or {}).get("selector") is not None
        and LabelSelector.from_object(b["spec"]["selector"]).matches(labels)
    ]  # fmt: skip
    if len(matching) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    return matching[0] if matching else None


def spared(pod: Obj, budget: Obj) -> bool:
    """Whether evicting the pod costs the budget nothing: it is not ready anyway, and either the others are enough or
    the budget says that they need not be."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions):
        return False
    status, spec = budget.get("status") or {}, budget.get("spec") or {}
    enough = 0 < (status.get("desiredHealthy") or 0) <= (status.get("currentHealthy") or 0)
    return enough or spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow"


def draw(budget: Obj, pod: str, stamp: str) -> Obj:
    """The budget with one disruption spent on `pod`. Raises TooManyRequests when it allows none."""
    status, name = dict(budget.get("status") or {}), budget["metadata"]["name"]
    allowed = status.get("disruptionsAllowed") or 0
    counted = (status.get("observedGeneration") or 0) >= (budget["metadata"].get("generation") or 0)
    if not counted or allowed <= 0:
        need, have = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        said = f"The disruption budget {name} needs {need} healthy pods and has {have} currently"
        cause = {"reason": "DisruptionBudget", "message": said if counted else f"The disruption budget {name} is still "
                 "being processed by the server."}  # fmt: skip
        raise TooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            details={"causes": [cause], **({} if counted else {"retryAfterSeconds": 1})},
        )
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod: stamp}
    return {**budget, "status": status}


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _finished(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed", "Pending")


def _success(code: int) -> Obj:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}
