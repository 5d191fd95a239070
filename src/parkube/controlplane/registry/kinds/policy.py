"""PodDisruptionBudget: row and rules. `kubectl drain` evicts only where the policy group is served."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj


class PodDisruptionBudgetStrategy(KindStrategy):
    """One of two numbers, and a selector."""

    unconditional = False
    generation = True
    first_status = dict.fromkeys(("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"), 0)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            words = "minAvailable and maxUnavailable cannot be both set"
            found.append(faults.invalid("spec", spec, words))
        for key in ("minAvailable", "maxUnavailable"):
            if spec.get(key) is not None:
                found += checks.count_or_percent(spec[key], f"spec.{key}")
        return found + checks.label_selector(spec.get("selector") or {}, "spec.selector")


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", PodDisruptionBudgetStrategy(), short="pdb",
            subresources=("status",),
            columns=(
                NAME, column("Min Available", at("spec", "minAvailable", default="N/A")),
                column("Max Unavailable", at("spec", "maxUnavailable", default="N/A")),
                column("Allowed Disruptions", at("status", "disruptionsAllowed", default=0), "integer"), AGE,
            ),
        )
    ]  # fmt: skip
