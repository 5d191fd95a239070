"""Which objects a quota is about, and what it demands of them. Pure.

Source: Kubernetes documentation, "Resource Quotas", quota scopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from parkube.controlplane.access.quota.usage import Amounts, count_key, usage
from parkube.controlplane.registry.kinds.podspec import qos_class
from parkube.kubeapi.client import GVR, PERSISTENTVOLUMECLAIMS, PODS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.quantities import like, parse

COMPUTE = frozenset((
    "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
))  # fmt: skip


def hard(quota: Obj) -> Amounts:
    """What the quota allows."""
    return {key: parse(value) for key, value in ((quota.get("spec") or {}).get("hard") or {}).items()}


def _selectors(quota: Obj) -> Iterator[Obj]:
    spec = quota.get("spec") or {}
    for scope in spec.get("scopes") or ():
        yield {"scopeName": scope, "operator": "Exists"}
    yield from (spec.get("scopeSelector") or {}).get("matchExpressions") or ()


def matches(quota: Obj, gvr: GVR, obj: Obj) -> bool:
    """Whether the object lies in all of the quota's scopes; only pods and claims lie in any."""
    return all(_in_scope(selector, gvr, obj) for selector in _selectors(quota))


def _in_scope(selector: Obj, gvr: GVR, obj: Obj) -> bool:
    spec, scope = obj.get("spec") or {}, selector.get("scopeName")
    if gvr == PERSISTENTVOLUMECLAIMS:
        names = {
            spec.get("volumeAttributesClassName"),
            (obj.get("status") or {}).get("currentVolumeAttributesClassName"),
        }
        return scope == "VolumeAttributesClass" and any(_selected(selector, name or "") for name in names)
    if gvr != PODS:
        return False
    if scope in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) is (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return (qos_class(spec) == "BestEffort") is (scope == "BestEffort")
    if scope == "PriorityClass":
        return _selected(selector, spec.get("priorityClassName") or "")
    return scope == "CrossNamespacePodAffinity" and _crosses(spec.get("affinity") or {})


def _selected(selector: Obj, value: str) -> bool:
    operator, values = selector.get("operator"), selector.get("values") or ()
    if operator == "Exists":
        return bool(value)
    if operator == "DoesNotExist":
        return not value
    return (bool(value) and value in values) if operator == "In" else value not in values


def _crosses(affinity: Obj) -> bool:
    def terms(kind: Obj) -> Iterator[Any]:
        yield from kind.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        for term in kind.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield term.get("podAffinityTerm") or {}

    kinds = (affinity.get("podAffinity") or {}, affinity.get("podAntiAffinity") or {})
    return any(t.get("namespaces") or t.get("namespaceSelector") is not None for kind in kinds for t in terms(kind))


def unsaid(limits: Iterable[str], pod: Obj) -> str:
    """What the pod must say since a quota limits it: `limits.cpu for: app; …`; empty when nothing is missing."""
    missing: dict[str, list[str]] = {}
    spec = pod.get("spec") or {}
    whole = spec.get("resources") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        said = container.get("resources") or {}
        for key in sorted(set(limits) & COMPUTE):
            kind, _, resource = key.partition(".") if "." in key else ("requests", "", key)
            if resource not in (said.get(kind) or {}) and resource not in (whole.get(kind) or {}):
                missing.setdefault(key, []).append(str(container.get("name")))
    return "; ".join(f"{key} for: {','.join(sorted(set(names)))}" for key, names in missing.items())


def kinds_of(limits: Iterable[str], served: Iterable[GVR]) -> list[GVR]:
    """Which of the served resources a quota with these limits counts."""
    keys = set(limits)
    return [gvr for gvr in served if count_key(gvr) in keys or keys & _possible(gvr, keys)]


def _possible(gvr: GVR, keys: set[str]) -> set[str]:
    if gvr == PODS:
        classes = ("requests.", "limits.", "hugepages-")
        extended = {key for key in keys if key.startswith(classes) and key != "requests.storage"}
        return {"pods", "cpu", "memory", "ephemeral-storage"} | extended
    if gvr == PERSISTENTVOLUMECLAIMS:
        return {gvr.resource, "requests.storage"} | {key for key in keys if ".storageclass.storage.k8s.io/" in key}
    if gvr == GVR("", "v1", "services"):
        return {"services", "services.nodeports", "services.loadbalancers"}
    if gvr.resource == "resourceclaims":
        return {key for key in keys if key.endswith(".deviceclass.resource.k8s.io/devices")}
    plain = ("configmaps", "secrets", "replicationcontrollers", "resourcequotas")
    return {gvr.resource} if not gvr.group and gvr.resource in plain else set()


def counted(quota: Obj, objects: Iterable[tuple[GVR, Obj]], now: float) -> Amounts:
    """What the objects use of all that the quota limits."""
    total = dict.fromkeys(hard(quota), Decimal(0))
    for gvr, obj in objects:
        if matches(quota, gvr, obj):
            for key, value in usage(gvr, obj, now).items():
                if key in total:
                    total[key] += value
    return total


def written(amounts: Amounts, examples: Mapping[str, Any]) -> dict[str, str]:
    """As the API shows them: each in the form of its example, which is what the quota allows."""
    return {key: like(value, str(examples.get(key, ""))) for key, value in sorted(amounts.items())}
