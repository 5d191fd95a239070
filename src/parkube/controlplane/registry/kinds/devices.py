"""resource.k8s.io: DeviceClass, ResourceClaim, its template and ResourceSlice, as objects. Nothing here allocates."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.base import KindStrategy, PlainStrategy, fill
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_GROUP = "resource.k8s.io"


def _default_requests(spec: Obj) -> None:
    for request in (spec.get("devices") or {}).get("requests") or ():
        exact = request.get("exactly")
        for ask in [*([exact] if exact else []), *(request.get("firstAvailable") or ())]:
            fill(ask, {"allocationMode": "ExactCount"})
            if ask["allocationMode"] == "ExactCount" and not ask.get("count"):
                ask["count"] = 1


class DeviceClassStrategy(PlainStrategy):
    """A named choice of devices."""

    generation = True


class ClaimStrategy(KindStrategy):
    """A request for devices; it stays."""

    def default(self, obj: Obj) -> None:
        _default_requests(obj.get("spec") or {})

    def validate_change(self, new: Obj, old: Obj) -> list[Cause]:
        same = new.get("spec") == old.get("spec")
        return [] if same else [faults.immutable("spec", new.get("spec"))]


class TemplateStrategy(PlainStrategy):
    """What claims are made of; it stays."""

    immutable = ("spec",)

    def default(self, obj: Obj) -> None:
        _default_requests((obj.get("spec") or {}).get("spec") or {})


class SliceStrategy(PlainStrategy):
    """Devices of one pool of one driver."""

    generation = True

    def validate_change(self, new: Obj, old: Obj) -> list[Cause]:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        fixed: tuple[str, ...] = ("driver", "nodeName")
        return [faults.immutable(f"spec.{k}", spec.get(k)) for k in fixed if spec.get(k) != before.get(k)]


def _claim_state(obj: Obj) -> str:
    status: Any = obj.get("status") or {}
    states = ["allocated"] if status.get("allocation") else ["pending"]
    return ",".join([*states, *(["reserved"] if status.get("reservedFor") else [])])


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(_GROUP, "v1", "deviceclasses", "DeviceClass", DeviceClassStrategy(), namespaced=False),
        row(
            _GROUP, "v1", "resourceclaims", "ResourceClaim", ClaimStrategy(), subresources=("status",),
            columns=(NAME, column("State", _claim_state), AGE),
        ),
        row(_GROUP, "v1", "resourceclaimtemplates", "ResourceClaimTemplate", TemplateStrategy()),
        row(
            _GROUP, "v1", "resourceslices", "ResourceSlice", SliceStrategy(), namespaced=False,
            fields=(label("spec.nodeName"), label("spec.driver")),
            columns=(
                NAME, column("Node", at("spec", "nodeName", default="<unset>")), column("Driver", at("spec", "driver")),
                column("Pool", at("spec", "pool", "name")), AGE,
            ),
        ),
    ]  # fmt: skip
