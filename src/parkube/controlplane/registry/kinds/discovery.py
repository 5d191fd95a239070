"""EndpointSlice: row and rules."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource


class EndpointSliceStrategy(PlainStrategy):
    """The address type stays."""

    generation = True
    immutable = ("addressType",)


def rows() -> list[Resource]:
    """The rows of this module."""
    return [row("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", EndpointSliceStrategy())]
