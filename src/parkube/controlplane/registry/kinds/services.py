"""Service and Endpoints: rows and rules. Addresses and node ports are given out by admission, not here."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource


class ServiceStrategy(KindStrategy):
    """Types, ports and addresses agree."""


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "services", "Service", ServiceStrategy(), short="svc", categories=("all",),
            subresources=("status",), fields=(label("spec.clusterIP"), label("spec.type")),
        ),
        row("", "v1", "endpoints", "Endpoints", PlainStrategy(), short="ep"),
    ]  # fmt: skip
