"""Node: row and rules. Which statuses are heartbeats is said here; when nodes are lost, a controller says."""

from __future__ import annotations

from parkube.controlplane.registry.columns.nodes import NODE_COLUMNS
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy, child
from parkube.controlplane.registry.kinds.podspec.placement import EFFECTS
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj


class NodeStrategy(KindStrategy):
    """A status that only says "still here" is a heartbeat."""

    def default(self, obj: Obj) -> None:
        child(obj, "spec")

    def prepare_create(self, obj: Obj) -> None:
        """An agent registers with its status: the one kind that may."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        spec, before = obj.get("spec") or {}, (old or {}).get("spec") or {}
        found: list[Cause] = []
        if subresource == "status":
            return found
        if spec.get("taints") and spec.get("taints") != before.get("taints"):
            found += _taint_faults(spec["taints"])
        for key, shown in (("podCIDR", "podCIDRs"), ("providerID", "providerID")):
            if before.get(key) and spec.get(key) != before[key]:
                words = f'node updates may not change {key} except from "" to valid'
                found.append(faults.forbidden(f"spec.{shown}", words))
        return found

    def volatile(self, new: Obj, old: Obj) -> bool:
        """Only `lastHeartbeatTime` of conditions moved."""
        if new.get("spec") != old.get("spec"):
            return False
        after, before = new.get("status") or {}, old.get("status") or {}
        if _still(after.get("conditions")) != _still(before.get("conditions")):
            return False
        if {**after, "conditions": None} != {**before, "conditions": None}:
            return False
        return _named(new) == _named(old)


def _still(conditions: list[Obj] | None) -> list[Obj]:
    return [{**condition, "lastHeartbeatTime": ""} for condition in conditions or ()]


def _named(obj: Obj) -> Obj:
    return {key: value for key, value in (obj.get("metadata") or {}).items() if key != "resourceVersion"}


def _taint_faults(taints: list[Obj]) -> list[Cause]:
    found: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for at, taint in enumerate(taints):
        path, key, effect = f"spec.taints[{at}]", taint.get("key") or "", taint.get("effect") or ""
        found += checks.labels({key: ""}, f"{path}.key")
        if taint.get("value"):
            found += checks.labels({"x": taint["value"]}, f"{path}.value")
        if not effect:
            found.append(faults.required(f"{path}.effect"))
        else:
            found += checks.one_of(effect, f"{path}.effect", EFFECTS)
        if (key, effect) in seen:
            found.append(faults.duplicate(path, taint))
        seen.add((key, effect))
    return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "nodes", "Node", NodeStrategy(), namespaced=False, short="no", subresources=("status", "proxy"),
            fields=(label("spec.unschedulable", "false"),), columns=NODE_COLUMNS,
        )
    ]  # fmt: skip
