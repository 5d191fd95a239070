"""ResourceQuota and LimitRange: rows, defaults and rules. Counting and refusing is admission's."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import column
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj
from parkube.kubeapi.quantities import parse

SCOPES = (
    "Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
)  # fmt: skip


def quantity_faults(amounts: Obj, path: str) -> list[Cause]:
    """Amounts that are no quantity, or below zero."""
    found: list[Cause] = []
    for key, amount in amounts.items():
        try:
            if parse(amount) < 0:
                found.append(faults.invalid(f"{path}[{key}]", str(amount), checks.NOT_NEGATIVE))
        except ValueError as error:
            found.append(faults.invalid(f"{path}[{key}]", str(amount), str(error)))
    return found


class ResourceQuotaStrategy(KindStrategy):
    """Most of each resource that a namespace may use; its scopes stay."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource == "status":
            status = obj.get("status") or {}
            hard = quantity_faults(status.get("hard") or {}, "status.hard")
            return hard + quantity_faults(status.get("used") or {}, "status.used")
        spec = obj.get("spec") or {}
        found = quantity_faults(spec.get("hard") or {}, "spec.hard")
        for at, scope in enumerate(spec.get("scopes") or ()):
            if scope not in SCOPES:
                found.append(faults.invalid(f"spec.scopes[{at}]", scope, "unsupported scope"))
        if {"BestEffort", "NotBestEffort"} <= set(spec.get("scopes") or ()):
            found.append(faults.invalid("spec.scopes", spec["scopes"], "conflicting scopes"))
        if old is not None and (spec.get("scopes") or []) != ((old.get("spec") or {}).get("scopes") or []):
            found.append(faults.invalid("spec.scopes", spec.get("scopes"), "field is immutable"))
        return found


class LimitRangeStrategy(PlainStrategy):
    """Bounds and defaults for what a container, a pod or a claim asks for."""

    def default(self, obj: Obj) -> None:
        for item in (obj.get("spec") or {}).get("limits") or ():
            if item.get("type") == "Container":
                default = item.setdefault("default", {})
                fill(default, item.get("max") or {})
                request = item.setdefault("defaultRequest", {})
                fill(request, default)
                fill(request, item.get("min") or {})
                for key in ("default", "defaultRequest"):
                    if not item[key]:
                        del item[key]

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found: list[Cause] = []
        for at, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
            path = f"spec.limits[{at}]"
            broken: list[Cause] = []
            for key in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
                broken += quantity_faults(item.get(key) or {}, f"{path}.{key}")
            found += broken or _order_faults(item, path)
            if item.get("type") == "Pod":
                words = "may not be specified when `type` is 'Pod'"
                found += [faults.forbidden(f"{path}.{k}", words) for k in ("default", "defaultRequest") if item.get(k)]
        return found


def _order_faults(item: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    for low, high in (("min", "max"), ("min", "default"), ("default", "max"), ("defaultRequest", "default"),
                      ("min", "defaultRequest"), ("defaultRequest", "max")):  # fmt: skip
        for key, amount in (item.get(low) or {}).items():
            other = (item.get(high) or {}).get(key)
            if other is not None and parse(amount) > parse(other):
                words = f"{low} value {amount} is greater than {high} value {other}"
                found.append(faults.invalid(f"{path}.{low}[{key}]", str(amount), words))
    return found


def _requests(obj: Obj) -> str:
    return _listed(obj, limits=False)


def _limits(obj: Obj) -> str:
    return _listed(obj, limits=True)


def _listed(obj: Obj, *, limits: bool) -> str:
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    keys = sorted(key for key in hard if key.startswith("limits") is limits)
    return ", ".join(f"{key}: {used.get(key, 0)}/{hard[key]}" for key in keys)


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row("", "v1", "limitranges", "LimitRange", LimitRangeStrategy(), short="limits"),
        row(
            "", "v1", "resourcequotas", "ResourceQuota", ResourceQuotaStrategy(), short="quota",
            subresources=("status",),
            columns=(NAME, column("Request", _requests), column("Limit", _limits), AGE),
        ),
    ]  # fmt: skip
