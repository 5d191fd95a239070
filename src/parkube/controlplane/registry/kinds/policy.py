"""PodDisruptionBudget: row and rules. `kubectl drain` evicts only where the policy group is served."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource


class PodDisruptionBudgetStrategy(KindStrategy):
    """One of two numbers, and a selector."""

    generation = True


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", PodDisruptionBudgetStrategy(), short="pdb",
            subresources=("status",),
        )
    ]  # fmt: skip
