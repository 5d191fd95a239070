"""Pod: row and strategy. Its defaults and rules are in `podspec`, which workloads share."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource


class PodStrategy(KindStrategy):
    """Deletion is graceful; of a spec nearly nothing may change."""


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "pods", "Pod", PodStrategy(), short="po", categories=("all",),
            subresources=("status", "binding", "eviction", "log", "exec", "attach"),
            fields=(
                label("spec.nodeName"), label("spec.restartPolicy"), label("spec.schedulerName"),
                label("spec.serviceAccountName"), label("spec.hostNetwork", "false"), label("status.phase"),
                label("status.podIP"), label("status.nominatedNodeName"),
            ),
        )
    ]  # fmt: skip
