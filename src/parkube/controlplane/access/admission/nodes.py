"""NodeRestriction: what a node may write, seen from the object. What it may ask for at all, the authorizer has said.

Source: Kubernetes documentation, "Admission Control", NodeRestriction.
"""

from __future__ import annotations

from parkube.controlplane.access.admission.plugin import Plugin, name_of, refused
from parkube.controlplane.access.graph import MIRROR, NodeGraph, references_of
from parkube.controlplane.access.nodes import node_name
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.claims import LOCAL_DIRECTORY
from parkube.kubeapi.client import LEASES, NODES, PERSISTENTVOLUMES, PODS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.node_labels import may_set


class NodeRestriction(Plugin):
    """Looks only at requests that nodes make."""

    kinds = frozenset({NODES, PODS, LEASES, PERSISTENTVOLUMES})

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises Forbidden."""
        node = node_name(context.user)
        if not node:
            return
        name = name_of(name, new)
        why = ""
        if resource.gvr == NODES:
            why = _node(node, operation, subresource, name, new, old)
        elif resource.gvr == PODS:
            why = self._pod(node, operation, subresource, namespace, name, new, old)
        elif resource.gvr == PERSISTENTVOLUMES:
            why = _volume(node, new or {}, old or {})
        elif resource.gvr == LEASES and (name != node or namespace != "kube-node-lease"):
            why = f"node {node!r} can only use the lease of its own name in kube-node-lease"
        if why:
            raise refused(resource, name, why)

    def _pod(
        self, node: str, operation: str, subresource: str, namespace: str, name: str, new: Obj | None, old: Obj | None
    ) -> str:
        if operation == "CREATE" and not subresource:
            return _mirror_pod(node, new or {})
        entry = self._graph.pod(namespace, name)
        bound_to = entry.node if entry else ((old or {}).get("spec") or {}).get("nodeName", "")
        if operation == "UPDATE" and subresource != "status":
            return f"node {node!r} may only update the status of pods"
        if bound_to != node:
            what = {"DELETE": "delete", "UPDATE": "update"}.get(operation, "evict")
            return f"node {node!r} can only {what} pods with spec.nodeName set to itself"
        if operation == "UPDATE":
            labels = [((obj or {}).get("metadata") or {}).get("labels") or {} for obj in (new, old)]
            if labels[0] != labels[1]:
                return f"node {node!r} cannot update labels through pod status"
        return ""


def _mirror_pod(node: str, pod: Obj) -> str:
    if MIRROR not in ((pod.get("metadata") or {}).get("annotations") or {}):
        return f"pod does not have {MIRROR!r} annotation, node {node!r} can only create mirror pods"
    spec = pod.get("spec") or {}
    if spec.get("nodeName") != node:
        return f"node {node!r} can only create pods with spec.nodeName set to itself"
    if any(True for _ in references_of(spec)) or any((v.get("projected") or {}).get("sources") for v in spec.get("volumes") or ()):  # noqa: E501  # fmt: skip
        return f"node {node!r} can not create pods that reference secrets, configmaps, serviceaccounts or claims"
    return ""


def _node(node: str, operation: str, subresource: str, name: str, new: Obj | None, old: Obj | None) -> str:
    if name != node:
        return f"node {node!r} is not allowed to modify node {name!r}"
    if operation == "DELETE":
        return f"node {node!r} is not allowed to delete its own Node object"
    meta, before = (new or {}).get("metadata") or {}, (old or {}).get("metadata") or {}
    labels, had = meta.get("labels") or {}, before.get("labels") or {}
    if operation == "UPDATE":
        taints, tainted = (((obj or {}).get("spec") or {}).get("taints") or [] for obj in (new, old))
        if not subresource and taints != tainted:
            return f"node {node!r} is not allowed to modify taints"
        if (meta.get("ownerReferences") or []) != (before.get("ownerReferences") or []):
            return f"node {node!r} is not allowed to modify ownerReferences"
    changed = sorted(key for key in {*labels, *had} if labels.get(key) != had.get(key) and not may_set(key))
    if changed:
        verb = "modify" if operation == "UPDATE" else "set"
        return f"node {node!r} is not allowed to {verb} the following labels: {', '.join(changed)}"
    return ""


def _volume(node: str, new: Obj, old: Obj) -> str:
    """Whether it has the directory is all that a node says of a volume."""

    def rest(obj: Obj) -> tuple[object, ...]:
        metadata = {k: v for k, v in obj.get("metadata", {}).items() if k not in ("managedFields", "resourceVersion")}
        kept = [f for f in metadata.pop("finalizers", None) or () if f != LOCAL_DIRECTORY]
        return metadata, kept, obj.get("spec"), obj.get("status")

    return "" if rest(new) == rest(old) else f"node {node!r} may only set and remove the finalizer {LOCAL_DIRECTORY}"
