"""PersistentVolume and PersistentVolumeClaim: rows, defaults and rules. Binding them is a controller's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parkube.controlplane.registry.columns import AGE, NAME
from parkube.controlplane.registry.columns.cells import at, column
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import Defaults, KindStrategy, child, fill
from parkube.controlplane.registry.kinds.quotas import quantity_faults
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj
from parkube.kubeapi.quantities import parse

VOLUME: Defaults = {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}
CLAIM: Defaults = {"volumeMode": "Filesystem"}
MODES: Mapping[str, str] = {
    "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
}  # fmt: skip
_NOT_SOURCES = {
    "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
    "storageClassName", "volumeAttributesClassName", "volumeMode",
}  # fmt: skip


class VolumeStrategy(KindStrategy):
    """A piece of storage; what it is made of stays."""

    spec_defaults = VOLUME
    first_status = {"phase": "Pending"}

    def default(self, obj: Obj) -> None:
        super().default(obj)
        host = obj["spec"].get("hostPath")
        if isinstance(host, dict) and host.get("type") is None:
            host["type"] = ""
        claim = obj["spec"].get("claimRef")
        if isinstance(claim, dict):
            fill(claim, {"kind": "PersistentVolumeClaim", "apiVersion": "v1"})

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found = _mode_faults(spec, "spec")
        capacity = spec.get("capacity") or {}
        if not capacity:
            found.append(faults.required("spec.capacity"))
        elif "storage" not in capacity:
            found.append(faults.unsupported("spec.capacity", sorted(capacity), ("storage",)))
        found += quantity_faults(capacity, "spec.capacity")
        sources = sorted(key for key in spec if key not in _NOT_SOURCES)
        if not sources:
            found.append(faults.required("spec", "must specify a volume type"))
        for extra in sources[1:]:
            found.append(faults.forbidden(f"spec.{extra}", "may not specify more than 1 volume type"))
        if sources == ["local"] and not spec.get("nodeAffinity"):
            found.append(faults.required("spec.nodeAffinity", "Local volume requires node affinity"))
        policies = ("Retain", "Delete", "Recycle")
        policy = spec.get("persistentVolumeReclaimPolicy")
        found += checks.one_of(policy, "spec.persistentVolumeReclaimPolicy", policies)
        if old is not None:
            found += _volume_changes(spec, old.get("spec") or {})
        return found


def _volume_changes(spec: Obj, before: Obj) -> list[Cause]:
    words = "spec.persistentvolumesource is immutable after creation"
    sources = {key for key in {*spec, *before} if key not in _NOT_SOURCES}
    found = []
    if any(spec.get(key) != before.get(key) for key in sources):
        found.append(faults.forbidden("spec.persistentvolumesource", words))
    if spec.get("volumeMode") != before.get("volumeMode"):
        found.append(faults.immutable("spec.volumeMode", spec.get("volumeMode")))
    if before.get("nodeAffinity") and spec.get("nodeAffinity") != before["nodeAffinity"]:
        found.append(faults.immutable("spec.nodeAffinity", spec.get("nodeAffinity")))
    return found


def _mode_faults(spec: Obj, path: str) -> list[Cause]:
    modes = spec.get("accessModes") or []
    found = [] if modes else [faults.required(f"{path}.accessModes")]
    for mode in modes:
        found += checks.one_of(mode, f"{path}.accessModes", MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        words = "may not use ReadWriteOncePod with other access modes"
        found.append(faults.forbidden(f"{path}.accessModes", words))
    return found + checks.one_of(spec.get("volumeMode"), f"{path}.volumeMode", ("Block", "Filesystem"))


def claim_faults(spec: Obj, path: str) -> list[Cause]:
    """Faults of a claim's spec by itself, wherever it is."""
    found = _mode_faults(spec, path)
    found += checks.label_selector(spec.get("selector") or {}, f"{path}.selector")
    asked: Any = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if asked is None:
        return [*found, faults.required(f"{path}.resources[storage]")]
    return found + quantity_faults({"storage": asked}, f"{path}.resources.requests")


class ClaimStrategy(KindStrategy):
    """A request for storage; once made, it may only be bound and grow."""

    spec_defaults = CLAIM
    first_status = {"phase": "Pending"}

    def default(self, obj: Obj) -> None:
        super().default(obj)
        spec = obj["spec"]
        source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
        if source and not reference:
            spec["dataSourceRef"] = dict(source)
        elif reference and not source and not reference.get("namespace"):
            spec["dataSource"] = dict(reference)

    def prepare_create(self, obj: Obj) -> None:
        super().prepare_create(obj)
        child(obj, "spec")

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found = claim_faults(spec, "spec")
        if old is not None and not found:
            found += _claim_changes(obj, old, spec["resources"]["requests"]["storage"])
        return found


def _claim_changes(new: Obj, old: Obj, asked: Any) -> list[Cause]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    movable = {"resources", "volumeAttributesClassName"}
    if not before.get("volumeName"):
        movable.add("volumeName")
    if before.get("storageClassName") is None:
        movable.add("storageClassName")
    found: list[Cause] = []
    if any(spec.get(key) != before.get(key) for key in {*spec, *before} - movable):
        words = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        found.append(faults.forbidden("spec", words))
    was = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if was is not None and parse(asked) < parse(was):
        words = "field can not be less than status.capacity"
        found.append(faults.forbidden("spec.resources.requests.storage", words))
    elif was is not None and parse(asked) != parse(was) and (old.get("status") or {}).get("phase") != "Bound":
        words = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        found.append(faults.forbidden("spec", words))
    return found


def _short_modes(modes: Any) -> str:
    return ",".join(MODES.get(mode, str(mode)) for mode in modes or ())


def _claim(obj: Obj) -> str:
    ref = (obj.get("spec") or {}).get("claimRef") or {}
    return f"{ref.get('namespace')}/{ref.get('name')}" if ref else ""


def _phase(obj: Obj) -> str:
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    return str((obj.get("status") or {}).get("phase") or "")


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", ClaimStrategy(), short="pvc",
            subresources=("status",),
            columns=(
                NAME, column("Status", _phase), column("Volume", at("spec", "volumeName")),
                column("Capacity", at("status", "capacity", "storage")),
                column("Access Modes", lambda o: _short_modes((o.get("status") or {}).get("accessModes"))),
                column("StorageClass", at("spec", "storageClassName")),
                column("VolumeAttributesClass", at("spec", "volumeAttributesClassName", default="<unset>")), AGE,
                column("VolumeMode", at("spec", "volumeMode"), wide=True),
            ),
        ),
        row(
            "", "v1", "persistentvolumes", "PersistentVolume", VolumeStrategy(), namespaced=False, short="pv",
            subresources=("status",),
            columns=(
                NAME, column("Capacity", at("spec", "capacity", "storage")),
                column("Access Modes", lambda o: _short_modes((o.get("spec") or {}).get("accessModes"))),
                column("Reclaim Policy", at("spec", "persistentVolumeReclaimPolicy")), column("Status", _phase),
                column("Claim", _claim), column("StorageClass", at("spec", "storageClassName")),
                column("VolumeAttributesClass", at("spec", "volumeAttributesClassName", default="<unset>")),
                column("Reason", at("status", "reason")), AGE,
                column("VolumeMode", at("spec", "volumeMode"), wide=True),
            ),
        ),
    ]  # fmt: skip
