"""storage.k8s.io: StorageClass, VolumeAttributesClass, VolumeAttachment and CSI's kinds: rows, defaults and rules."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column, count
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import Defaults, KindStrategy, PlainStrategy, child, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_GROUP = "storage.k8s.io"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
CLASS: Defaults = {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}
DRIVER: Defaults = {
    "attachRequired": True, "podInfoOnMount": False, "storageCapacity": False, "requiresRepublish": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType", "seLinuxMount": False,
}  # fmt: skip


class StorageClassStrategy(PlainStrategy):
    """Who provisions, and how; only expansion and topologies may change."""

    immutable = ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode")

    def default(self, obj: Obj) -> None:
        fill(obj, CLASS)

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found = [] if obj.get("provisioner") else [faults.required("provisioner")]
        found += checks.one_of(obj.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"))
        modes = ("Immediate", "WaitForFirstConsumer")
        found += checks.one_of(obj.get("volumeBindingMode"), "volumeBindingMode", modes)
        return found + super().validate(obj, old, subresource)


class AttributesClassStrategy(PlainStrategy):
    """Parameters of a driver; both stay."""

    immutable = ("driverName", "parameters")


class AttachmentStrategy(KindStrategy):
    """A volume that is to be attached to a node; its spec stays."""

    first_status = {"attached": False}

    def validate_change(self, new: Obj, old: Obj) -> list[Cause]:
        same = new.get("spec") == old.get("spec")
        return [] if same else [faults.immutable("spec", new.get("spec"))]


class DriverStrategy(PlainStrategy):
    """What a CSI driver can do."""

    generation = True

    def default(self, obj: Obj) -> None:
        spec = child(obj, "spec")
        fill(spec, DRIVER)
        if not spec.get("volumeLifecycleModes"):
            spec["volumeLifecycleModes"] = ["Persistent"]

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        for number, mode in enumerate(spec.get("volumeLifecycleModes") or ()):
            found += checks.one_of(mode, f"spec.volumeLifecycleModes[{number}]", ("Persistent", "Ephemeral"))
        if old is not None:
            before = old.get("spec") or {}
            fixed = ("attachRequired", "volumeLifecycleModes")
            found += [faults.immutable(f"spec.{k}", spec.get(k)) for k in fixed if spec.get(k) != before.get(k)]
        return found


class NodeDriversStrategy(PlainStrategy):
    """The CSI drivers of a node; a driver's node id stays."""

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        drivers = (obj.get("spec") or {}).get("drivers") or []
        found: list[Cause] = []
        names = [driver.get("name") for driver in drivers]
        for number, driver in enumerate(drivers):
            if not driver.get("nodeID"):
                found.append(faults.required(f"spec.drivers[{number}].nodeID"))
            if driver.get("name") in names[:number]:
                found.append(faults.duplicate(f"spec.drivers[{number}].name", driver.get("name")))
        before = {d.get("name"): d for d in ((old or {}).get("spec") or {}).get("drivers") or ()}
        for number, driver in enumerate(drivers):
            known = before.get(driver.get("name"))
            if known is not None and known.get("nodeID") != driver.get("nodeID"):
                found.append(faults.immutable(f"spec.drivers[{number}].nodeID", driver.get("nodeID")))
        return found


class CapacityStrategy(PlainStrategy):
    """How much a class could still provision in a topology; both stay."""

    immutable = ("nodeTopology", "storageClassName")

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found = checks.name(obj.get("storageClassName"), "storageClassName", "subdomain")
        return found + super().validate(obj, old, subresource)


def _name(obj: Obj) -> str:
    metadata = obj.get("metadata") or {}
    default = (metadata.get("annotations") or {}).get(DEFAULT_CLASS) == "true"
    return f"{metadata.get('name')} (default)" if default else str(metadata.get("name"))


def _flag(*path: str) -> Any:
    field = at(*path, default=False)
    return lambda obj: str(bool(field(obj))).lower()


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            _GROUP, "v1", "csidrivers", "CSIDriver", DriverStrategy(), namespaced=False,
            columns=(
                NAME, column("AttachRequired", _flag("spec", "attachRequired"), "boolean"),
                column("PodInfoOnMount", _flag("spec", "podInfoOnMount"), "boolean"),
                column("StorageCapacity", _flag("spec", "storageCapacity"), "boolean"),
                column("Modes", lambda o: ",".join((o.get("spec") or {}).get("volumeLifecycleModes") or ())), AGE,
            ),
        ),
        row(
            _GROUP, "v1", "csinodes", "CSINode", NodeDriversStrategy(), namespaced=False,
            columns=(NAME, column("Drivers", count("spec", "drivers"), "integer"), AGE),
        ),
        row(
            _GROUP, "v1", "csistoragecapacities", "CSIStorageCapacity", CapacityStrategy(),
            columns=(NAME, column("StorageClass", at("storageClassName")), column("Capacity", at("capacity")), AGE),
        ),
        row(
            _GROUP, "v1", "storageclasses", "StorageClass", StorageClassStrategy(), namespaced=False, short="sc",
            columns=(
                column("Name", _name), column("Provisioner", at("provisioner")),
                column("ReclaimPolicy", at("reclaimPolicy")), column("VolumeBindingMode", at("volumeBindingMode")),
                column("AllowVolumeExpansion", _flag("allowVolumeExpansion"), "boolean"), AGE,
            ),
        ),
        row(
            _GROUP, "v1", "volumeattachments", "VolumeAttachment", AttachmentStrategy(), namespaced=False,
            subresources=("status",),
            columns=(
                NAME, column("Attacher", at("spec", "attacher")),
                column("PV", at("spec", "source", "persistentVolumeName")), column("Node", at("spec", "nodeName")),
                column("Attached", _flag("status", "attached"), "boolean"), AGE,
            ),
        ),
        row(
            _GROUP, "v1", "volumeattributesclasses", "VolumeAttributesClass", AttributesClassStrategy(),
            namespaced=False, short="vac", columns=(NAME, column("DriverName", at("driverName")), AGE),
        ),
    ]  # fmt: skip
