"""Lease: row and rules. A node's lease is a heartbeat."""

from __future__ import annotations

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

HEARTBEATS = "kube-node-lease"


class LeaseStrategy(PlainStrategy):
    """Renewals in `kube-node-lease` are volatile."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = checks.positive(spec, "spec", "leaseDurationSeconds")
        found += checks.not_negative(spec, "spec", "leaseTransitions")
        if spec.get("holderIdentity") == "":
            found.append(faults.invalid("spec.holderIdentity", "", "must not be empty"))
        return found

    def volatile(self, new: Obj, old: Obj) -> bool:
        """A renewal of a node's lease: only its time moved."""
        if new["metadata"].get("namespace") != HEARTBEATS:
            return False
        after, before = new.get("spec") or {}, old.get("spec") or {}
        return all(after.get(key) == before.get(key) for key in after.keys() | before.keys() if key != "renewTime")


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "coordination.k8s.io", "v1", "leases", "Lease", LeaseStrategy(),
            columns=(NAME, column("Holder", at("spec", "holderIdentity")), AGE),
        )
    ]  # fmt: skip
