"""Binds claims to volumes and keeps the phases of both. What is to be done, `binding` says.

One worker: two claims never look for a volume at once. Every object is read anew before it is written, and written
under its revision, so that what was decided on an old view fails and is decided again.
"""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.controlplane.controllers.volumes.binding import (
    Adopt,
    Bind,
    Lose,
    Provision,
    Wait,
    World,
    claim_step,
    volume_step,
)
from parkube.kubeapi.claims import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    LOCAL_PATH,
    OLD_PROVISIONER,
    PROVISIONER,
    ClaimInfo,
    ClassInfo,
    VolumeInfo,
    claim_info,
    default_class,
    meant_for,
    volume_info,
)
from parkube.kubeapi.client import GVR, NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.objects import annotations_of, copy, split_key
from parkube.kubeapi.recorder import Reference

_EXTERNAL = (
    "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)


class VolumeBinder(Reconciler):
    """Keys with a namespace are claims, the others volumes."""

    name: ClassVar[str] = "persistentvolume-binder"
    source: ClassVar[str] = "persistentvolume-controller"
    inputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES)
    workers: ClassVar[int] = 1

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._pending: set[str] = set()  # claims that wait for a volume
        self._told: dict[str, str] = {}
        views = env.views
        self._world = World(
            views.volumes.get, lambda: [volume for _, volume in views.volumes.items()], views.classes.get, "",
            views.nodes.get,
        )  # fmt: skip
        views.claims.subscribe(self._claim_changed)
        views.volumes.subscribe(self._volume_changed)
        views.classes.subscribe(self._class_changed)

    # -- what happens

    def _claim_changed(self, kind: str, key: str, old: ClaimInfo | None, new: ClaimInfo | None) -> None:
        if new is not None:
            self.queue.add(key)
        else:
            self._pending.discard(key)
            self._told.pop(key, None)
        for claim in (old, new):
            if claim is not None and claim.volume:
                self.queue.add(claim.volume)
        if new is None:
            for name, volume in self.views.volumes.items():
                if volume.claim is not None and volume.claim.key == key:
                    self.queue.add(name)

    def _volume_changed(self, kind: str, key: str, old: VolumeInfo | None, new: VolumeInfo | None) -> None:
        if new is not None:
            self.queue.add(key)
        for volume in (old, new):
            if volume is not None and volume.claim is not None and self.views.claims.get(volume.claim.key):
                self.queue.add(volume.claim.key)
        if new is not None and new.claim is None and new.phase == "Available":
            self._look_again(new.storage_class)

    def _class_changed(self, kind: str, key: str, old: ClassInfo | None, new: ClassInfo | None) -> None:
        self._look_again(key)

    def _look_again(self, storage_class: str) -> None:
        for key in self._pending:
            claim = self.views.claims.get(key)
            if claim is not None and (claim.storage_class or storage_class) == storage_class:
                self.queue.add(key)

    # -- claims

    async def reconcile(self, key: str) -> float | None:
        """One claim or one volume."""
        namespace, name = split_key(key)
        if namespace:
            await self._claim(key, await self.client.get(PERSISTENTVOLUMECLAIMS, name, namespace))
        else:
            await self._volume(await self.client.get(PERSISTENTVOLUMES, name))
        return None

    async def _claim(self, key: str, obj: Obj) -> None:
        claim = claim_info(obj)
        default = default_class(klass for _, klass in self.views.classes.items())
        step = claim_step(claim, self._world._replace(default=default))
        self._pending.discard(key)
        match step:
            case Bind(volume):
                await self._bind(obj, claim, volume)
            case Lose(reason, message):
                if claim.phase != "Lost":
                    await self._status(PERSISTENTVOLUMECLAIMS, obj, {"phase": "Lost"})
                    self._tell(obj, reason, message, warning=True)
            case Adopt(name):
                await self.client.update(PERSISTENTVOLUMECLAIMS, _with_spec(obj, storageClassName=name))
            case Provision(provisioner):
                self._pending.add(key)
                await self._ask(obj, claim, provisioner)
            case Wait(reason, message, warning):
                self._pending.add(key)
                if reason:
                    self._tell(obj, reason, message, warning=warning)

    async def _ask(self, obj: Obj, claim: ClaimInfo, provisioner: str) -> None:
        """Name the provisioner on the claim; it watches for that."""
        if claim.provisioner != provisioner:
            notes = {PROVISIONER: provisioner, OLD_PROVISIONER: provisioner}
            await self.client.update(PERSISTENTVOLUMECLAIMS, _with_notes(obj, notes))
        if provisioner != LOCAL_PATH:
            self._tell(obj, "ExternalProvisioning", _EXTERNAL.format(provisioner))

    def _tell(self, obj: Obj, reason: str, message: str, *, warning: bool = False) -> None:
        """Say it once, not at every look."""
        m = obj["metadata"]
        key = f"{m['namespace']}/{m['name']}"
        if self._told.get(key) == message:
            return
        self._told[key] = message
        about = Reference.of({**obj, "apiVersion": "v1", "kind": "PersistentVolumeClaim"})
        (self.recorder.warning if warning else self.recorder.normal)(about, reason, message)

    async def _bind(self, obj: Obj, claim: ClaimInfo, wanted: VolumeInfo) -> None:
        """Volume, its status, claim, its status; each only where it is not so yet."""
        volume = await self.client.get(PERSISTENTVOLUMES, wanted.name)
        now = volume_info(volume)
        if (now.claim is not None and not meant_for(now, claim)) or (now.deleting and now.claim is None):
            self.queue.add_after(claim.key, 0.05)  # somebody was faster
            return
        if now.claim is None or not now.claim.uid:
            ref = {
                "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": claim.namespace, "name": claim.name,
                "uid": claim.uid, "resourceVersion": obj["metadata"].get("resourceVersion", ""),
            }  # fmt: skip
            notes = {BOUND_BY_CONTROLLER: "yes"} if now.claim is None else {}
            volume = await self.client.update(PERSISTENTVOLUMES, _with_notes(_with_spec(volume, claimRef=ref), notes))
        if now.phase != "Bound":
            volume = await self._status(PERSISTENTVOLUMES, volume, {"phase": "Bound"})
        if not claim.completed or claim.volume != now.name:
            notes = {BIND_COMPLETED: "yes"} | ({} if claim.volume else {BOUND_BY_CONTROLLER: "yes"})
            changed = _with_notes(_with_spec(obj, volumeName=now.name), notes)
            obj = await self.client.update(PERSISTENTVOLUMECLAIMS, changed)
        spec, old = volume["spec"], obj.get("status") or {}
        status = {
            **old, "phase": "Bound", "accessModes": spec.get("accessModes") or [],
            "capacity": spec.get("capacity") or {},
        }  # fmt: skip
        if status != old and (old.get("phase") != "Bound" or not old.get("capacity")):
            await self._status(PERSISTENTVOLUMECLAIMS, obj, status)

    # -- volumes

    async def _volume(self, obj: Obj) -> None:
        volume = volume_info(obj)
        claim = None
        if volume.claim is not None:
            try:
                found = await self.client.get(PERSISTENTVOLUMECLAIMS, volume.claim.name, volume.claim.namespace)
                claim = claim_info(found)
            except NotFound:
                claim = None
        step = volume_step(volume, claim)
        if step.free:
            obj = await self.client.update(PERSISTENTVOLUMES, _freed(obj))
        if step.phase != volume.phase:
            await self._status(PERSISTENTVOLUMES, obj, {"phase": step.phase})
        if step.phase == "Released" and volume.policy == "Recycle":
            text = "No recycler plugin found for the volume!"
            await self._status(
                PERSISTENTVOLUMES, await self.client.get(PERSISTENTVOLUMES, volume.name),
                {"phase": "Failed", "message": text},
            )  # fmt: skip
            about = Reference.of({**obj, "apiVersion": "v1", "kind": "PersistentVolume"})
            self.recorder.warning(about, "VolumeFailedRecycle", text)
        if step.poke and claim is not None:
            self.queue.add(claim.key)

    async def _status(self, gvr: GVR, obj: Obj, status: Obj) -> Obj:
        return await self.client.update(gvr, {**obj, "status": status}, subresource="status")


def _with_spec(obj: Obj, **fields: object) -> Obj:
    return {**obj, "spec": {**(obj.get("spec") or {}), **fields}}


def _with_notes(obj: Obj, notes: dict[str, str]) -> Obj:
    if not notes:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**annotations_of(obj), **notes}}}


def _freed(obj: Obj) -> Obj:
    """The volume without its reservation; one that a person made stays reserved by name."""
    obj = copy(obj)
    if annotations_of(obj).get(BOUND_BY_CONTROLLER):
        del obj["metadata"]["annotations"][BOUND_BY_CONTROLLER]
        del obj["spec"]["claimRef"]
    else:
        obj["spec"]["claimRef"].pop("uid", None)
        obj["spec"]["claimRef"].pop("resourceVersion", None)
    return obj
