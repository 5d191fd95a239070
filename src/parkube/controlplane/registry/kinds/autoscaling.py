"""HorizontalPodAutoscaler in both its versions, as an object: rows, defaults, rules, and the way between the versions.

Nothing scales by it yet. It is stored as v2; v1 shows its CPU target and keeps the other metrics in an annotation, as
the API does.
"""

from __future__ import annotations

from typing import Any, ClassVar

import orjson

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.base import KindStrategy, child
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Cause, Obj

V2 = GVR("autoscaling", "v2", "horizontalpodautoscalers")
METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_SHOWN, _UNKNOWN = 2, "<unknown>"
_CPU, _TARGET, _NOW = 80, "targetCPUUtilizationPercentage", "currentCPUUtilizationPercentage"


def _cpu(percent: int) -> Obj:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _percent(metric: Obj, part: str = "target") -> Any:
    """The CPU utilisation that a metric asks for, None when it is another."""
    resource = metric.get("resource") or {}
    return (resource.get(part) or {}).get("averageUtilization") if resource.get("name") == "cpu" else None


class AutoscalerStrategy(KindStrategy):
    """One to so many replicas, by CPU where nothing else is said."""

    first_status: ClassVar[Obj | None] = {"desiredReplicas": 0, "currentReplicas": 0}

    def default(self, obj: Obj) -> None:
        spec = child(obj, "spec")
        if spec.get("minReplicas") is None:
            spec["minReplicas"] = 1
        if obj.get("apiVersion") != "autoscaling/v2":
            if METRICS not in (obj.get("metadata", {}).get("annotations") or {}):
                spec.setdefault(_TARGET, _CPU)
        elif not spec.get("metrics"):
            spec["metrics"] = [_cpu(_CPU)]

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource == "status":
            return []
        spec = obj.get("spec") or {}
        least, most = spec.get("minReplicas", 1), spec.get("maxReplicas") or 0
        found = []
        if least < 1:
            found.append(faults.invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
        if most < 1:
            found.append(faults.invalid("spec.maxReplicas", most, "must be greater than 0"))
        elif most < least:
            found.append(faults.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
        target = spec.get("scaleTargetRef") or {}
        found += [faults.required(f"spec.scaleTargetRef.{key}") for key in ("kind", "name") if not target.get(key)]
        return found


def to_v2(obj: Obj) -> Obj:
    """The stored form of a v1 object."""
    new = {**obj, "apiVersion": "autoscaling/v2", "spec": dict(obj.get("spec") or {})}
    metrics = _noted(new)
    percent = new["spec"].pop(_TARGET, None)
    if percent is not None:
        metrics = [_cpu(percent), *metrics]
    new["spec"]["metrics"] = metrics or [_cpu(_CPU)]
    if _NOW in (new.get("status") or {}):
        status = dict(new["status"])
        current = {"averageUtilization": status.pop(_NOW)}
        status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
        new["status"] = status
    return new


def _noted(obj: Obj) -> list[Obj]:
    """The metrics of the annotation, which goes."""
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    text = annotations.pop(METRICS, None)
    if text is None:
        return []
    metadata["annotations"] = annotations
    obj["metadata"] = metadata
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    return found if isinstance(found, list) else []


def to_v1(obj: Obj) -> Obj:
    """The v1 form of a stored object."""
    spec = dict(obj.get("spec") or {})
    spec.pop("behavior", None)
    rest = []
    for metric in spec.pop("metrics", None) or ():
        percent = _percent(metric)
        if percent is not None and _TARGET not in spec:
            spec[_TARGET] = percent
        else:
            rest.append(metric)
    new = {**obj, "apiVersion": "autoscaling/v1", "spec": spec}
    if rest:
        metadata = dict(obj.get("metadata") or {})
        metadata["annotations"] = {**(metadata.get("annotations") or {}), METRICS: orjson.dumps(rest).decode()}
        new["metadata"] = metadata
    status = {k: v for k, v in (obj.get("status") or {}).items() if k not in ("currentMetrics", "conditions")}
    for metric in (obj.get("status") or {}).get("currentMetrics") or ():
        if (percent := _percent(metric, "current")) is not None:
            status[_NOW] = percent
    return {**new, "status": status} if "status" in obj else new


def _target(obj: Obj) -> str:
    target = (obj.get("spec") or {}).get("scaleTargetRef") or {}
    return f"{target.get('kind')}/{target.get('name')}"


def _targets(obj: Obj) -> str:
    """Each metric's value now and the one asked for; two of them, and how many more."""
    obj = obj if obj.get("apiVersion") == "autoscaling/v2" else to_v2(obj)
    metrics, current = (
        (obj.get("spec") or {}).get("metrics") or [],
        (obj.get("status") or {}).get("currentMetrics") or [],
    )
    shown = [_wanted(metric, current[i] if i < len(current) else {}) for i, metric in enumerate(metrics)]
    more = f" + {len(shown) - _SHOWN} more..." if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more or "<none>"


def _wanted(metric: Obj, status: Obj) -> str:
    source = str(metric.get("type", ""))[:1].lower() + str(metric.get("type", ""))[1:]
    about = metric.get(source) or {}
    target, now = about.get("target") or {}, (status.get(source) or {}).get("current") or {}
    of_resource = source in ("resource", "containerResource")
    name = f"{about.get('name')}: " if of_resource else ""
    if "averageValue" in target:
        mean = " (avg)" if source in ("object", "external") else ""
        return f"{name}{now.get('averageValue', _UNKNOWN)}/{target['averageValue']}{mean}"
    if of_resource:
        asked, is_ = target.get("averageUtilization"), now.get("averageUtilization")
        return f"{name}{_UNKNOWN if is_ is None else f'{is_}%'}/{'<auto>' if asked is None else f'{asked}%'}"
    return f"{now.get('value', _UNKNOWN)}/{target.get('value', '0')}"


def rows() -> list[Resource]:
    """The rows of this module."""
    about: dict[str, Any] = {
        "short": "hpa", "categories": ("all",), "subresources": ("status",),
        "columns": (
            NAME, column("Reference", _target), column("Targets", _targets),
            column("MinPods", at("spec", "minReplicas")),
            column("MaxPods", at("spec", "maxReplicas"), "integer"),
            column("Replicas", at("status", "currentReplicas", default=0), "integer"), AGE,
        ),
    }  # fmt: skip
    kind = "HorizontalPodAutoscaler"
    return [
        row("autoscaling", "v2", V2.resource, kind, AutoscalerStrategy(), **about),
        row(
            "autoscaling", "v1", V2.resource, kind, AutoscalerStrategy(), storage=V2, to_storage=to_v2,
            from_storage=to_v1, **about,
        ),
    ]  # fmt: skip
