"""Node: row and rules."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource


class NodeStrategy(KindStrategy):
    """A status that only says "still here" is a heartbeat."""


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "nodes", "Node", NodeStrategy(), namespaced=False, short="no", subresources=("status",),
            fields=(label("spec.unschedulable", "false"),),
        )
    ]  # fmt: skip
