"""Which node runs which pods, and what those pods refer to. Fed by events; asked by the node authorizer.

    node -> its pods -> secrets, config maps, service accounts, claims -> volumes
    node -> the volumes whose directories it has

A node has some hundred pods at most, so there is no edge back from a secret: a question walks the node's own pods.
Pods of one DaemonSet refer to the same things, and share one set of references.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from parkube.kubeapi.claims import SELECTED_NODE
from parkube.kubeapi.errors import Obj

MIRROR = "kubernetes.io/config.mirror"

References = frozenset[tuple[str, str]]
"""(plural, name) of what a pod refers to in its namespace."""


class PodEntry(NamedTuple):
    """What is kept of one pod that is bound to a node."""

    uid: str
    node: str
    service_account: str
    references: References


class NodeGraph:
    """The pods of every node, by node."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], PodEntry] = {}
        self._of_node: dict[str, set[tuple[str, str]]] = {}
        self._shared: dict[References, tuple[References, int]] = {}
        self._volumes: dict[str, tuple[str, str, str]] = {}  # name -> claim's namespace and name, node that has it

    def put(self, pod: Obj) -> None:
        """A pod as it now is. One that is bound to no node yet is not kept."""
        meta, spec = pod["metadata"], pod.get("spec") or {}
        key = (meta["namespace"], meta["name"])
        node = spec.get("nodeName") or ""
        before = self._pods.get(key)
        if before is not None and before.node == node and before.uid == meta.get("uid", ""):
            return  # a pod's references never change
        self.drop(*key)
        if not node:
            return
        mirror = MIRROR in (meta.get("annotations") or {})
        account = "" if mirror else spec.get("serviceAccountName") or ""
        references = frozenset() if mirror else frozenset((*references_of(spec), *_made_claims(key[1], spec)))
        held, count = self._shared.get(references, (references, 0))
        self._shared[held] = (held, count + 1)
        self._pods[key] = PodEntry(meta.get("uid", ""), node, account, held)
        self._of_node.setdefault(node, set()).add(key)

    def drop(self, namespace: str, name: str) -> None:
        """The pod is gone."""
        entry = self._pods.pop((namespace, name), None)
        if entry is None:
            return
        held, count = self._shared[entry.references]
        if count == 1:
            del self._shared[held]
        else:
            self._shared[held] = (held, count - 1)
        pods = self._of_node[entry.node]
        pods.discard((namespace, name))
        if not pods:
            del self._of_node[entry.node]

    def pod(self, namespace: str, name: str) -> PodEntry | None:
        """The pod, if it is bound to a node."""
        return self._pods.get((namespace, name))

    def runs(self, node: str, namespace: str, name: str) -> bool:
        """Whether that pod is bound to the node."""
        entry = self._pods.get((namespace, name))
        return entry is not None and entry.node == node

    def refers(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a pod of the node refers to that object."""
        wanted = (resource, name)
        pods = self._pods
        return any(key[0] == namespace and wanted in pods[key].references for key in self._of_node.get(node, ()))

    def put_volume(self, volume: Obj) -> None:
        """A PersistentVolume as it now is."""
        ref, m = (volume.get("spec") or {}).get("claimRef") or {}, volume["metadata"]
        node = (m.get("annotations") or {}).get(SELECTED_NODE, "")
        if ref or node:
            self._volumes[m["name"]] = (ref.get("namespace") or "", ref.get("name") or "", node)
        else:
            self._volumes.pop(m["name"], None)

    def drop_volume(self, volume: Obj) -> None:
        """It is gone."""
        self._volumes.pop(volume["metadata"]["name"], None)

    def keeps_volume(self, node: str, name: str) -> bool:
        """Whether the volume was made for that node."""
        return bool(node) and self._volumes.get(name, ("", "", ""))[2] == node

    def refers_to_volume(self, node: str, name: str) -> bool:
        """Whether a pod of the node has the claim that the volume is reserved for."""
        namespace, claim, _ = self._volumes.get(name, ("", "", ""))
        return bool(claim) and self.refers(node, "persistentvolumeclaims", namespace, claim)


def _made_claims(pod: str, spec: Obj) -> Iterator[tuple[str, str]]:
    """The claims of its ephemeral volumes."""
    for volume in spec.get("volumes") or ():
        if volume.get("ephemeral"):
            yield "persistentvolumeclaims", f"{pod}-{volume['name']}"


def references_of(spec: Obj) -> Iterator[tuple[str, str]]:
    """(plural, name) of every secret, config map, service account and claim that a PodSpec names.

    Source: Kubernetes API reference, v1 PodSpec.
    """
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", spec["serviceAccountName"]
    for pull in spec.get("imagePullSecrets") or ():
        yield from _named("secrets", pull, "name")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for source in container.get("envFrom") or ():
                yield from _named("secrets", source.get("secretRef"), "name")
                yield from _named("configmaps", source.get("configMapRef"), "name")
            for variable in container.get("env") or ():
                value = variable.get("valueFrom") or {}
                yield from _named("secrets", value.get("secretKeyRef"), "name")
                yield from _named("configmaps", value.get("configMapKeyRef"), "name")
    for volume in spec.get("volumes") or ():
        yield from _of_volume(volume)


def _of_volume(volume: Obj) -> Iterator[tuple[str, str]]:
    yield from _named("secrets", volume.get("secret"), "secretName")
    yield from _named("configmaps", volume.get("configMap"), "name")
    yield from _named("persistentvolumeclaims", volume.get("persistentVolumeClaim"), "claimName")
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _named("secrets", source.get("secret"), "name")
        yield from _named("configmaps", source.get("configMap"), "name")
    for driver in ("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"):
        yield from _named("secrets", (volume.get(driver) or {}).get("secretRef"), "name")
    yield from _named("secrets", volume.get("azureFile"), "secretName")
    yield from _named("secrets", (volume.get("csi") or {}).get("nodePublishSecretRef"), "name")


def _named(resource: str, source: Any, key: str) -> Iterator[tuple[str, str]]:
    if source and source.get(key):
        yield resource, source[key]
