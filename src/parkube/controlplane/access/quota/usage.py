"""How much of each resource an object uses, in a quota's terms. Pure: no quota, no namespace is looked at.

Source: Kubernetes documentation, "Resource Quotas" and "Sidecar Containers", resource sharing within containers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from parkube.kubeapi.client import GVR, PERSISTENTVOLUMECLAIMS, PODS, RESOURCECLAIMS, SERVICES
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import parse_rfc3339
from parkube.kubeapi.quantities import parse

Amounts = dict[str, Decimal]

ONE = Decimal(1)
_NATIVE = ("cpu", "memory", "ephemeral-storage")
_BY_NAME = frozenset((
    "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets", "services",
))  # fmt: skip
_CLASS = ".storageclass.storage.k8s.io/"
_DEVICES = ".deviceclass.resource.k8s.io/devices"


class Totals(NamedTuple):
    """What a pod asks for in all."""

    requests: Amounts
    limits: Amounts


def pod_totals(spec: Obj) -> Totals:
    """Of all containers together: the larger of what runs side by side and what runs before, and the overhead."""
    found: list[Amounts] = []
    for kind in ("requests", "limits"):
        total: Amounts = {}
        beside: Amounts = {}
        peak: Amounts = {}
        for container in spec.get("containers") or ():
            _add(total, _asked(container, kind))
        for container in spec.get("initContainers") or ():
            asked = _asked(container, kind)
            if container.get("restartPolicy") == "Always":
                _add(beside, asked)
                asked = {}
            for key in {*asked, *beside}:
                peak[key] = max(peak.get(key, Decimal(0)), asked.get(key, Decimal(0)) + beside.get(key, Decimal(0)))
        _add(total, beside)
        total = {key: max(total.get(key, Decimal(0)), peak.get(key, Decimal(0))) for key in {*total, *peak}}
        total.update(_asked(spec, kind))  # of the pod as a whole
        overhead = {key: parse(value) for key, value in (spec.get("overhead") or {}).items()}
        _add(total, overhead if kind == "requests" else {k: v for k, v in overhead.items() if k in total})
        found.append(total)
    return Totals(*found)


def _asked(container: Obj, kind: str) -> Amounts:
    return {key: parse(value) for key, value in ((container.get("resources") or {}).get(kind) or {}).items()}


def _add(into: Amounts, more: Amounts) -> None:
    for key, value in more.items():
        into[key] = into.get(key, Decimal(0)) + value


def count_key(gvr: GVR) -> str:
    """The name under which a quota counts objects: `count/deployments.apps`."""
    return f"count/{gvr.resource}.{gvr.group}" if gvr.group else f"count/{gvr.resource}"


def usage(gvr: GVR, obj: Obj, now: float) -> Amounts:
    """What the object uses; `now`: s since 1970."""
    found = {count_key(gvr): ONE}
    if gvr == PODS:
        return found if finished(obj, now) else {**found, **_pod(obj)}
    if not gvr.group and gvr.resource in _BY_NAME:
        found[gvr.resource] = ONE
    if gvr == PERSISTENTVOLUMECLAIMS:
        found.update(_claim(obj))
    elif gvr == SERVICES:
        found.update(_service(obj))
    elif gvr == RESOURCECLAIMS:
        found.update(_devices(obj))
    return found


def finished(pod: Obj, now: float) -> bool:
    """Whether the pod runs no more, or should have ended by now: then it uses nothing."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return True
    metadata = pod["metadata"]
    gone = metadata.get("deletionTimestamp")
    return bool(gone and metadata.get("deletionGracePeriodSeconds") is not None and now > parse_rfc3339(gone))


def _pod(pod: Obj) -> Amounts:
    totals = pod_totals(pod.get("spec") or {})
    found = {"pods": ONE}
    for key, value in totals.requests.items():
        found[f"requests.{key}"] = value
        if key in _NATIVE or key.startswith("hugepages-"):
            found[key] = value
    found.update({f"limits.{key}": value for key, value in totals.limits.items() if key in _NATIVE})
    return found


def _claim(claim: Obj) -> Amounts:
    spec = claim.get("spec") or {}
    asked = parse(((spec.get("resources") or {}).get("requests") or {}).get("storage") or 0)
    given = parse(((claim.get("status") or {}).get("allocatedResources") or {}).get("storage") or 0)
    size, kind = max(asked, given), spec.get("storageClassName") or ""
    found = {"requests.storage": size}
    if kind:
        found[f"{kind}{_CLASS}requests.storage"] = size
        found[f"{kind}{_CLASS}persistentvolumeclaims"] = ONE
    return found


def _service(service: Obj) -> Amounts:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), Decimal(len(spec.get("ports") or ()))
    zero = Decimal(0)
    if kind == "NodePort":
        return {"services.nodeports": ports, "services.loadbalancers": zero}
    if kind == "LoadBalancer":
        allocated = spec.get("allocateLoadBalancerNodePorts") is not False
        return {"services.nodeports": ports if allocated else zero, "services.loadbalancers": ONE}
    return {"services.nodeports": zero, "services.loadbalancers": zero}


def _devices(claim: Obj) -> Amounts:
    found: Amounts = {}
    for request in ((claim.get("spec") or {}).get("devices") or {}).get("requests") or ():
        exact = request.get("exactly") or {}
        kind = exact.get("deviceClassName")
        if kind:
            _add(found, {kind + _DEVICES: Decimal(exact.get("count") or 1)})
    return found
