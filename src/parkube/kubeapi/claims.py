"""Claims, volumes and storage classes as informers keep them, and whether a volume suits a claim. Pure.

The binding controller and the scheduler ask the same questions here. Not for what is to be done about the answers.
Source: Kubernetes documentation, "Persistent Volumes", "Storage Classes"; API reference, PersistentVolume(Claim)Spec.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from parkube.kubeapi.compact import NodeInfo, Owner, amount, epoch, owners_of
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.placement import selects
from parkube.kubeapi.selectors import LabelSelector

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
OLD_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
CLAIM_PROTECTION, VOLUME_PROTECTION = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
LOCAL_PATH = "rancher.io/local-path"  # K3s' name, so that charts which ask for it find it
LOCAL_DIRECTORY = "parkube.io/local-directory"  # finalizer: a node still has the volume's directory
LOCAL_STORAGE_PATH = "parkube.io/local-storage-path"  # a node's annotation: where its local volumes lie
HOSTNAME = "kubernetes.io/hostname"


class ClaimRef(NamedTuple):
    """A volume's `spec.claimRef`; the uid is empty where a person reserved the volume by name."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


class ClaimInfo(NamedTuple):
    """A PersistentVolumeClaim."""

    namespace: str
    name: str
    uid: str
    storage_class: str | None  # None: not said, "": none
    attributes_class: str
    access: tuple[str, ...]
    mode: str  # Filesystem or Block
    size: int  # bytes
    selector: bytes  # a LabelSelector as JSON; empty: none
    volume: str  # spec.volumeName
    completed: bool  # the binding is known on both sides
    phase: str
    node: str  # where its first consumer goes
    provisioner: str  # who was asked to make its volume
    deleting: bool
    finalizers: tuple[str, ...]
    owners: tuple[Owner, ...]

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def bound(self) -> bool:
        """Whether pods may use it."""
        return bool(self.volume) and self.completed


class VolumeInfo(NamedTuple):
    """A PersistentVolume."""

    name: str
    uid: str
    labels: dict[str, str]
    storage_class: str
    attributes_class: str
    access: tuple[str, ...]
    mode: str
    size: int  # bytes
    claim: ClaimRef | None
    by_controller: bool  # the reservation is the controller's, not a person's
    affinity: bytes  # a NodeSelector as JSON; empty: any node
    policy: str  # Retain, Delete, Recycle
    provisioner: str  # who made it; empty: a person
    phase: str
    deleting: bool
    finalizers: tuple[str, ...]


class ClassInfo(NamedTuple):
    """A StorageClass."""

    name: str
    provisioner: str
    policy: str
    late: bool  # WaitForFirstConsumer
    default: bool
    created: float
    topologies: bytes  # allowedTopologies as JSON; empty: any node


def _annotations(metadata: Obj) -> Obj:
    return metadata.get("annotations") or {}


def _json(value: Any) -> bytes:
    return bytes(orjson.dumps(value)) if value else b""


def claim_info(obj: Obj) -> ClaimInfo:
    """The projection of a PersistentVolumeClaim."""
    m, spec = obj["metadata"], obj.get("spec") or {}
    notes = _annotations(m)
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return ClaimInfo(
        m.get("namespace", ""), m["name"], m.get("uid", ""), notes.get(OLD_CLASS, spec.get("storageClassName")),
        spec.get("volumeAttributesClassName") or "", tuple(spec.get("accessModes") or ()),
        spec.get("volumeMode") or "Filesystem", amount("storage", asked or 0), _json(spec.get("selector")),
        spec.get("volumeName") or "", BIND_COMPLETED in notes, (obj.get("status") or {}).get("phase") or "Pending",
        notes.get(SELECTED_NODE, ""), notes.get(PROVISIONER, ""), bool(m.get("deletionTimestamp")),
        tuple(m.get("finalizers") or ()), owners_of(m),
    )  # fmt: skip


def volume_info(obj: Obj) -> VolumeInfo:
    """The projection of a PersistentVolume."""
    m, spec = obj["metadata"], obj.get("spec") or {}
    notes, ref = _annotations(m), spec.get("claimRef")
    return VolumeInfo(
        m["name"], m.get("uid", ""), m.get("labels") or {}, notes.get(OLD_CLASS, spec.get("storageClassName") or ""),
        spec.get("volumeAttributesClassName") or "", tuple(spec.get("accessModes") or ()),
        spec.get("volumeMode") or "Filesystem", amount("storage", (spec.get("capacity") or {}).get("storage") or 0),
        ClaimRef(ref.get("namespace") or "", ref.get("name") or "", ref.get("uid") or "") if ref else None,
        BOUND_BY_CONTROLLER in notes, _json((spec.get("nodeAffinity") or {}).get("required")),
        spec.get("persistentVolumeReclaimPolicy") or "Retain", notes.get(PROVISIONED_BY, ""),
        (obj.get("status") or {}).get("phase") or "Pending", bool(m.get("deletionTimestamp")),
        tuple(m.get("finalizers") or ()),
    )  # fmt: skip


def class_info(obj: Obj) -> ClassInfo:
    """The projection of a StorageClass."""
    m = obj["metadata"]
    return ClassInfo(
        m["name"], obj.get("provisioner") or "", obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") == "WaitForFirstConsumer", _annotations(m).get(DEFAULT_CLASS) == "true",
        epoch(m.get("creationTimestamp")), _json(obj.get("allowedTopologies")),
    )  # fmt: skip


def default_class(classes: Iterable[ClassInfo]) -> str:
    """The newest of the default classes, of equally new ones the first by name; "" where there is none."""
    marked = sorted((c for c in classes if c.default), key=lambda c: (-c.created, c.name))
    return marked[0].name if marked else ""


def meant_for(volume: VolumeInfo, claim: ClaimInfo) -> bool:
    """Whether the volume is reserved for this very claim."""
    ref = volume.claim
    return ref is not None and ref.key == claim.key and ref.uid in ("", claim.uid)


def misfit(volume: VolumeInfo, claim: ClaimInfo) -> str:
    """Why the volume cannot be this claim's, its present owner left aside; "" where it can."""
    if volume.size < claim.size:
        return "requested PV is too small"
    if volume.storage_class != (claim.storage_class or ""):
        return "storageClassName does not match"
    if volume.attributes_class != claim.attributes_class:
        return "volumeAttributesClassName does not match"
    if volume.mode != claim.mode:
        return "incompatible volumeMode"
    if not set(claim.access) <= set(volume.access):
        return "incompatible accessMode"
    return ""


def selected(volume: VolumeInfo, claim: ClaimInfo) -> bool:
    """Whether the claim's selector means the volume."""
    return not claim.selector or LabelSelector.from_object(orjson.loads(claim.selector)).matches(volume.labels)


def reaches(volume: VolumeInfo, node: NodeInfo) -> bool:
    """Whether the volume can be used on that node."""
    if not volume.affinity:
        return True
    required = {"requiredDuringSchedulingIgnoredDuringExecution": orjson.loads(volume.affinity)}
    return selects(None, required, node.labels, node.name)


def allowed(klass: ClassInfo, node: NodeInfo) -> bool:
    """Whether the class may provision for that node, by its allowedTopologies."""
    if not klass.topologies:
        return True
    for term in orjson.loads(klass.topologies):
        wanted = term.get("matchLabelExpressions") or ()
        if all(node.labels.get(e.get("key", "")) in (e.get("values") or ()) for e in wanted):
            return True
    return False


def best(claim: ClaimInfo, volumes: Iterable[VolumeInfo], node: NodeInfo | None = None) -> VolumeInfo | None:
    """The volume that the claim should get: one that is reserved for it, else the smallest available that suits.

    `node`: it must be usable there.
    """
    found: VolumeInfo | None = None
    for volume in volumes:
        if volume.deleting or volume.mode != claim.mode or (node is not None and not reaches(volume, node)):
            continue
        if volume.claim is not None:
            if meant_for(volume, claim) and volume.size >= claim.size:
                return volume
            continue
        if volume.phase != "Available" or misfit(volume, claim) or not selected(volume, claim):
            continue
        if found is None or (volume.size, volume.name) < (found.size, found.name):
            found = volume
    return found
