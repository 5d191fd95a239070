"""The node authorizer: a node may read what its own pods refer to, and write what is its own. Nothing else.

A node is a user `system:node:<name>` in the group `system:nodes`. The rights that do not depend on a pod are a table
here, not roles, so that they are one dict look-up; no role is bound to `system:nodes`.
Source: Kubernetes documentation, "Using Node Authorization".
"""

from __future__ import annotations

from parkube.controlplane.access.authz import NO_OPINION, Attributes, Decision, name_in_selector
from parkube.controlplane.access.graph import NodeGraph
from parkube.controlplane.registry.resource import User

NODES_GROUP = "system:nodes"
_PREFIX = "system:node:"

_READ = frozenset({"get", "list", "watch"})
_WRITE_OWN = frozenset({"create", "get", "update", "patch", "delete"})

# (group, resource, subresource) -> verbs that need no relation to a pod
_FREE: dict[tuple[str, str, str], frozenset[str]] = {
    ("", "services", ""): _READ,
    ("", "endpoints", ""): _READ,
    ("discovery.k8s.io", "endpointslices", ""): _READ,
    ("", "events", ""): frozenset({"create", "update", "patch"}),
    ("events.k8s.io", "events", ""): frozenset({"create", "update", "patch"}),
    ("certificates.k8s.io", "certificatesigningrequests", ""): frozenset({"create", "get", "list", "watch"}),
    ("authentication.k8s.io", "tokenreviews", ""): frozenset({"create"}),
    ("authorization.k8s.io", "subjectaccessreviews", ""): frozenset({"create"}),
    ("authorization.k8s.io", "localsubjectaccessreviews", ""): frozenset({"create"}),
    ("node.k8s.io", "runtimeclasses", ""): _READ,
    ("storage.k8s.io", "csidrivers", ""): _READ,
    # Which pod these touch is looked at where the object is at hand, by the NodeRestriction admission.
    ("", "pods", ""): frozenset({"create"}),
}
# what lies behind a pod: reading it needs a pod of the node that refers to it
_BEHIND_PODS: dict[tuple[str, str, str], frozenset[str]] = {
    ("", "secrets", ""): _READ,
    ("", "configmaps", ""): _READ,
    ("", "serviceaccounts", ""): frozenset({"get"}),
    ("", "serviceaccounts", "token"): frozenset({"create"}),
    ("", "persistentvolumeclaims", ""): _READ,
    ("", "persistentvolumeclaims", "status"): frozenset({"get", "update", "patch"}),
}
_OWN_PODS: dict[str, frozenset[str]] = {
    "": frozenset({"get", "list", "watch", "delete"}),
    "status": frozenset({"get", "update", "patch"}),
    "eviction": frozenset({"create"}),
}
_OWN_NODE: dict[str, frozenset[str]] = {
    "": frozenset({"create", "get", "list", "watch", "update", "patch"}),
    "status": frozenset({"get", "update", "patch"}),
}


def node_name(user: User) -> str:
    """The node that the user is, or the empty string."""
    if user.name.startswith(_PREFIX) and NODES_GROUP in user.groups:
        return user.name[len(_PREFIX) :]
    return ""


class NodeAuthorizer:
    """One member of the authorizer's chain, for nodes only."""

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph

    def authorize(self, attributes: Attributes) -> Decision:
        """A node's request. Anybody else's gets no opinion."""
        user, verb, group, resource, subresource, namespace, name, _, _ = attributes
        node = node_name(user)
        if not node or not resource:
            return NO_OPINION
        if resource == "leases" and group == "coordination.k8s.io":
            return self._lease(node, verb, namespace, name)
        if group == "" and resource == "pods":
            return self._pods(node, attributes)
        if group == "" and resource == "nodes" and not subresource and verb in _READ:
            return Decision(True)  # the pod network's routes follow from all nodes, as for system:node-proxier
        if group == "" and resource == "nodes":
            if verb not in _OWN_NODE.get(subresource, ()):
                return Decision(False, f"node {node!r} cannot {verb} this resource")
            own = verb == "create" or node == name
            return Decision(own, "" if own else f"node {node!r} can only {verb} its own Node object")
        if group == "" and resource == "persistentvolumes" and not subresource:
            return self._volume(node, verb, name)
        key = (group, resource, subresource)
        if verb in _FREE.get(key, ()):
            return Decision(True)
        if verb in _BEHIND_PODS.get(key, ()):
            return self._behind(node, attributes)
        return NO_OPINION

    def _lease(self, node: str, verb: str, namespace: str, name: str) -> Decision:
        # A create may come with no name in the URL: the admission looks at the object's.
        if verb in _WRITE_OWN and namespace == "kube-node-lease" and (name == node or (verb == "create" and not name)):
            return Decision(True)
        return Decision(False, f"node {node!r} can only use the lease of its own name in kube-node-lease")

    def _pods(self, node: str, attributes: Attributes) -> Decision:
        _, verb, _, _, subresource, namespace, name, _, selector = attributes
        if verb == "create" and not subresource:
            return Decision(True)  # mirror pods; the admission looks
        if verb not in _OWN_PODS.get(subresource, ()):
            return NO_OPINION
        if name and self._graph.runs(node, namespace, name):
            return Decision(True)
        if verb in ("list", "watch") and name_in_selector(selector, "spec.nodeName") == node:
            return Decision(True)
        if verb in ("list", "watch"):
            return Decision(False, f"can only {verb} pods with spec.nodeName={node} in the field selector")
        return _unrelated(node)

    def _volume(self, node: str, verb: str, name: str) -> Decision:
        """It reads those of its pods, and says of those whose directories it has that they are gone."""
        if verb == "patch" or verb in _READ:
            if self._graph.keeps_volume(node, name):
                return Decision(True)
            if verb != "patch" and self._graph.refers_to_volume(node, name):
                return Decision(True)
            return _unrelated(node)
        return NO_OPINION

    def _behind(self, node: str, attributes: Attributes) -> Decision:
        name = attributes.name
        if not name:
            return Decision(False, f"no object name found for {attributes.verb} of {attributes.resource}")
        if self._graph.refers(node, attributes.resource, attributes.namespace, name):
            return Decision(True)
        return _unrelated(node)


def _unrelated(node: str) -> Decision:
    return Decision(False, f"no relationship found between node '{node}' and this object")
