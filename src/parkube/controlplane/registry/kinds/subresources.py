"""What each subresource speaks: the kind of its body, and the verbs it knows. Data for discovery and OpenAPI.

How a subresource is answered is not here: `status` and `scale` are generic, the others have handlers in the API server.
"""

from __future__ import annotations

from typing import NamedTuple

from parkube.controlplane.registry.resource import Resource


class Subresource(NamedTuple):
    """Group and version are empty where they are those of the resource itself."""

    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


_READ_WRITE = ("get", "patch", "update")
_ANY = ("create", "delete", "get", "patch", "update")

_SPECIAL: dict[tuple[str, str], Subresource] = {
    ("pods", "binding"): Subresource("", "", "Binding", ("create",)),
    ("pods", "eviction"): Subresource("policy", "v1", "Eviction", ("create",)),
    ("pods", "log"): Subresource("", "", "Pod", ("get",)),
    ("pods", "exec"): Subresource("", "", "PodExecOptions", ("create", "get")),
    ("pods", "attach"): Subresource("", "", "PodAttachOptions", ("create", "get")),
    ("pods", "proxy"): Subresource("", "", "PodProxyOptions", _ANY),
    ("services", "proxy"): Subresource("", "", "ServiceProxyOptions", _ANY),
    ("nodes", "proxy"): Subresource("", "", "NodeProxyOptions", _ANY),
    ("pods", "portforward"): Subresource("", "", "PodPortForwardOptions", ("create", "get")),
    ("namespaces", "finalize"): Subresource("", "", "Namespace", ("update",)),
    ("serviceaccounts", "token"): Subresource("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
}


def subresource(resource: Resource, name: str) -> Subresource:
    """The kind and verbs of one of the row's subresources."""
    special = _SPECIAL.get((resource.gvr.resource, name)) if not resource.crd else None
    if special is not None:
        return special
    if name == "scale":
        if resource.gvr.group == "extensions":
            return Subresource("extensions", "v1beta1", "Scale", _READ_WRITE)
        return Subresource("autoscaling", "v1", "Scale", _READ_WRITE)
    return Subresource("", "", resource.kind, _READ_WRITE)
