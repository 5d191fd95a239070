"""The provisioner of class `local-path`: a claim's volume is a directory on the node where its first pod goes.

It writes volumes and takes released ones away; directories are the nodes' own business. A node that makes a
directory first puts the finalizer `parkube.io/local-directory` on the volume, and takes it off when the directory is
gone. Of a node that is gone for good nobody waits for that.
"""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import ClassVar

from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.claims import (
    DEFAULT_CLASS,
    HOSTNAME,
    LOCAL_DIRECTORY,
    LOCAL_PATH,
    LOCAL_STORAGE_PATH,
    PROVISIONED_BY,
    SELECTED_NODE,
    ClaimInfo,
    VolumeInfo,
    claim_info,
    volume_info,
)
from parkube.kubeapi.client import GVR, NODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from parkube.kubeapi.compact import NodeInfo
from parkube.kubeapi.errors import AlreadyExists, NotFound, Obj
from parkube.kubeapi.objects import annotations_of, labels, split_key, without
from parkube.kubeapi.recorder import Reference

CLASS_NAME = "local-path"
DEFAULT_PATH = "/var/lib/parkube/storage"


def storage_class() -> Obj:
    """The class as a cluster has it from the start."""
    return {
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS_NAME, "annotations": {DEFAULT_CLASS: "true"}},
        "provisioner": LOCAL_PATH, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
    }  # fmt: skip


def refusal(claim: Obj) -> str:
    """Why no directory can be this claim's volume; "" where one can."""
    spec = claim.get("spec") or {}
    if spec.get("selector"):
        return "claim.Spec.Selector is not supported"
    if (spec.get("volumeMode") or "Filesystem") != "Filesystem":
        return "Block volumes are not supported"
    if not {"ReadWriteOnce", "ReadWriteOncePod"} >= set(spec.get("accessModes") or ()):
        return "NodePath only supports ReadWriteOnce and ReadWriteOncePod access modes"
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        return "a local volume is not filled from a data source"
    if not annotations_of(claim).get(SELECTED_NODE):
        return "configuration error, no node was specified: the class must have WaitForFirstConsumer"
    return ""


def volume_of(claim: Obj, klass: Obj, node: Obj) -> Obj:
    """The volume of a claim on a node: reserved for it, and reachable there alone."""
    m, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{m['uid']}"
    root = PurePosixPath(annotations_of(node).get(LOCAL_STORAGE_PATH) or DEFAULT_PATH)
    host = labels(node).get(HOSTNAME) or node["metadata"]["name"]
    here = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [host]}]}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: LOCAL_PATH, SELECTED_NODE: node["metadata"]["name"]},
        },
        "spec": {
            "accessModes": spec["accessModes"], "volumeMode": "Filesystem",
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": m["namespace"], "name": m["name"],
                "uid": m["uid"], "resourceVersion": m.get("resourceVersion", ""),
            },
            "hostPath": {
                "path": str(root / f"{name}_{m['namespace']}_{m['name']}"), "type": "DirectoryOrCreate",
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [here]}},
            "persistentVolumeReclaimPolicy": klass.get("reclaimPolicy") or "Delete",
            "storageClassName": klass["metadata"]["name"],
            **({"mountOptions": klass["mountOptions"]} if klass.get("mountOptions") else {}),
        },
    }  # fmt: skip


class LocalPath(Reconciler):
    """Keys with a namespace are claims, the others volumes."""

    name: ClassVar[str] = "local-path"
    source: ClassVar[str] = f"{LOCAL_PATH}_parkube"
    inputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES)

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._provisions = options.local_storage
        env.views.claims.subscribe(self._claim_changed)
        env.views.volumes.subscribe(self._volume_changed)
        env.views.nodes.subscribe(self._node_changed)

    def _claim_changed(self, kind: str, key: str, old: ClaimInfo | None, new: ClaimInfo | None) -> None:
        if self._provisions and new is not None and new.provisioner == LOCAL_PATH and not new.volume:
            self.queue.add(key)

    def _volume_changed(self, kind: str, key: str, old: VolumeInfo | None, new: VolumeInfo | None) -> None:
        if new is not None and new.provisioner == LOCAL_PATH and (new.phase == "Released" or new.deleting):
            self.queue.add(key)

    def _node_changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if new is None:
            for name, volume in self.views.volumes.items():
                if volume.deleting and LOCAL_DIRECTORY in volume.finalizers:
                    self.queue.add(name)

    async def run(self) -> None:
        """See that the class is there, or is not, and reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_class())
            group.create_task(super().run())

    async def _keep_class(self) -> None:
        """At each start, as K3s does: what was deleted comes back, what was changed stays."""
        if self._provisions:
            try:
                await self.client.create(STORAGECLASSES, storage_class())
            except AlreadyExists:
                return
            return
        try:
            found = await self.client.get(STORAGECLASSES, CLASS_NAME)
            if found.get("provisioner") == LOCAL_PATH:
                await self.client.delete(STORAGECLASSES, CLASS_NAME)
        except NotFound:
            return

    async def reconcile(self, key: str) -> float | None:
        """One claim or one volume."""
        namespace, name = split_key(key)
        if namespace:
            await self._provision(await self.client.get(PERSISTENTVOLUMECLAIMS, name, namespace))
        else:
            await self._reclaim(await self.client.get(PERSISTENTVOLUMES, name))
        return None

    async def _provision(self, obj: Obj) -> None:
        claim = claim_info(obj)
        if claim.volume or claim.deleting or claim.provisioner != LOCAL_PATH or not claim.storage_class:
            return
        about = Reference.of({**obj, "apiVersion": "v1", "kind": "PersistentVolumeClaim"})
        why = refusal(obj)
        if why:
            text = f'failed to provision volume with StorageClass "{claim.storage_class}": {why}'
            self.recorder.warning(about, "ProvisioningFailed", text)
            return
        try:
            node = await self.client.get(NODES, claim.node)
        except NotFound:
            text = f'failed to get target node: nodes "{claim.node}" not found'
            self.recorder.warning(about, "ProvisioningFailed", text)
            await self._choose_again(obj)
            return
        klass = await self.client.get(STORAGECLASSES, claim.storage_class)
        volume = volume_of(obj, klass, node)
        try:
            await self.client.create(PERSISTENTVOLUMES, volume)
        except AlreadyExists:
            return
        text = f"Successfully provisioned volume {volume['metadata']['name']}"
        self.recorder.normal(about, "ProvisioningSucceeded", text)

    async def _choose_again(self, obj: Obj) -> None:
        """Without a selected node the scheduler chooses another."""
        notes = {key: value for key, value in annotations_of(obj).items() if key != SELECTED_NODE}
        await self.client.update(PERSISTENTVOLUMECLAIMS, {**obj, "metadata": {**obj["metadata"], "annotations": notes}})

    async def _reclaim(self, obj: Obj) -> None:
        volume = volume_info(obj)
        if volume.provisioner != LOCAL_PATH:
            return
        if volume.deleting:
            if LOCAL_DIRECTORY in volume.finalizers and await self._abandoned(obj):
                metadata = {**obj["metadata"], "finalizers": without(volume.finalizers, LOCAL_DIRECTORY)}
                await self.client.update(PERSISTENTVOLUMES, {**obj, "metadata": metadata})
        elif volume.phase == "Released" and volume.policy == "Delete":
            options = {"preconditions": {"uid": volume.uid}}
            await self.client.delete(PERSISTENTVOLUMES, volume.name, options=options)

    async def _abandoned(self, obj: Obj) -> bool:
        """Whether the volume's node is gone, by the API's own word."""
        try:
            await self.client.get(NODES, annotations_of(obj).get(SELECTED_NODE, ""))
        except NotFound:
            return True
        return False
