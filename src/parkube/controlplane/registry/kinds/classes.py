"""PriorityClass and RuntimeClass: rows, defaults and rules. What they do to a pod is admission's."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


class PriorityClassStrategy(PlainStrategy):
    """A name for a number; the number stays."""

    def default(self, obj: Obj) -> None:
        obj["preemptionPolicy"] = obj.get("preemptionPolicy") or "PreemptLowerPriority"

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value") or 0
        found: list[Cause] = []
        if name.startswith("system-"):
            if SYSTEM_PRIORITIES.get(name) != value:
                words = "priority class names with 'system-' prefix are reserved for system use only"
                found.append(faults.forbidden("metadata.name", words))
        elif value > HIGHEST_USER_PRIORITY:
            words = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
            found.append(faults.forbidden("value", words))
        policies = ("PreemptLowerPriority", "Never")
        found += checks.one_of(obj.get("preemptionPolicy"), "preemptionPolicy", policies)
        if old is not None:
            if value != (old.get("value") or 0):
                found.append(faults.forbidden("value", "may not be changed in an update."))
            if obj.get("preemptionPolicy") != old.get("preemptionPolicy"):
                found.append(faults.forbidden("preemptionPolicy", "may not be changed in an update."))
        return found


class RuntimeClassStrategy(PlainStrategy):
    """A handler of the node's runtime; it stays."""

    immutable = ("handler",)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        return checks.name(obj.get("handler"), "handler", "label") + super().validate(obj, old, subresource)


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", PriorityClassStrategy(), namespaced=False,
            short="pc",
            columns=(
                NAME, column("Value", at("value", default=0), "integer"),
                column("Global-Default", lambda obj: str(bool(obj.get("globalDefault"))).lower(), "boolean"), AGE,
                column("PreemptionPolicy", at("preemptionPolicy")),
            ),
        ),
        row(
            "node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", RuntimeClassStrategy(), namespaced=False,
            columns=(NAME, column("Handler", at("handler")), AGE),
        ),
    ]  # fmt: skip
