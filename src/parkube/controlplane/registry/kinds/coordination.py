"""Lease: row and rules. A node's lease is a heartbeat."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Obj


class LeaseStrategy(PlainStrategy):
    """Renewals in `kube-node-lease` are volatile."""

    def volatile(self, new: Obj, old: Obj) -> bool:
        """A renewal of a node's lease: everything but its times stays."""
        return bool(new.get("metadata", {}).get("namespace") == "kube-node-lease")


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "coordination.k8s.io", "v1", "leases", "Lease", LeaseStrategy(),
            columns=(NAME, column("Holder", at("spec", "holderIdentity")), AGE),
        )
    ]  # fmt: skip
