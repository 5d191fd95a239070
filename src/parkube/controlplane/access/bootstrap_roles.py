"""The default ClusterRoles and their bindings, and what API servers behind Services read. They are Kubernetes' own,
less what is not served here.

Source: Kubernetes documentation, "Using RBAC Authorization", default roles and role bindings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from parkube.controlplane.access.rules import Rule
from parkube.kubeapi.client import CONFIGMAPS, GVR
from parkube.kubeapi.client import ROLES as ROLES_GVR
from parkube.kubeapi.errors import Obj

RBAC = "rbac.authorization.k8s.io"
_SYSTEM = "kube-system"
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_AUTOUPDATE = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def _rule(verbs: Iterable[str], groups: str, resources: str, names: str = "") -> Rule:
    """`groups` are separated by spaces, the core group is written `core`."""
    rule: Rule = {
        "verbs": list(verbs), "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
    }  # fmt: skip
    if names:
        rule["resourceNames"] = names.split()
    return rule


def _paths(*paths: str) -> Rule:
    return {"verbs": ["get"], "nonResourceURLs": list(paths)}


_ANYTHING: list[Rule] = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
]

_WORKLOADS = (
    "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
    "statefulsets/scale"
)
_VIEW: list[Rule] = [
    _rule(_READ, "core", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods "
          "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status"),
    _rule(_READ, "core", "bindings events limitranges namespaces/status pods/log pods/status "
          "replicationcontrollers/status resourcequotas resourcequotas/status"),
    _rule(_READ, "core", "namespaces"),
    _rule(_READ, "discovery.k8s.io", "endpointslices"),
    _rule(_READ, "apps", f"controllerrevisions {_WORKLOADS} daemonsets/status deployments/status replicasets/status "
          "statefulsets/status"),
    _rule(_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    _rule(_READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    _rule(_READ, "extensions", "daemonsets deployments deployments/scale deployments/status ingresses networkpolicies "
          "replicasets replicasets/scale"),
    _rule(_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    _rule(_READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
]  # fmt: skip
_EDIT: list[Rule] = [
    _rule(_READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    _rule(("impersonate",), "core", "serviceaccounts"),
    _rule(_WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    _rule(("create",), "core", "pods/eviction"),
    _rule(_WRITE, "core", "configmaps events persistentvolumeclaims replicationcontrollers "
          "replicationcontrollers/scale secrets serviceaccounts services services/proxy"),
    _rule(("create",), "core", "serviceaccounts/token"),
    _rule(_WRITE, "apps", _WORKLOADS),
    _rule(_WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(_WRITE, "batch", "cronjobs jobs"),
    _rule(_WRITE, "extensions", "daemonsets deployments deployments/rollback deployments/scale ingresses "
          "networkpolicies replicasets replicasets/scale"),
    _rule(_WRITE, "policy", "poddisruptionbudgets"),
    _rule(_WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    _rule(_ALL, "coordination.k8s.io", "leases"),
]  # fmt: skip
_ADMIN: list[Rule] = [
    _rule(("create",), "authorization.k8s.io", "localsubjectaccessreviews"),
    _rule(_ALL, RBAC, "rolebindings roles"),
]

_NODE: list[Rule] = [
    _rule(("create",), "authentication.k8s.io", "tokenreviews"),
    _rule(("create",), "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    _rule(_READ, "core", "services"),
    _rule(("create", *_READ), "core", "nodes"),
    _rule(("patch", "update"), "core", "nodes/status"),
    _rule(("patch", "update"), "core", "nodes"),
    _rule(("create", "patch", "update"), "core events.k8s.io", "events"),
    _rule(_READ, "core", "pods"),
    _rule(("create", "delete"), "core", "pods"),
    _rule(("patch", "update"), "core", "pods/status"),
    _rule(("create",), "core", "pods/eviction"),
    _rule(_READ, "core", "configmaps secrets"),
    _rule(("get",), "core", "persistentvolumeclaims persistentvolumes"),
    _rule(_READ, "core", "endpoints"),
    _rule(("create", *_READ), "certificates.k8s.io", "certificatesigningrequests"),
    _rule(("create", "delete", "get", "patch", "update"), "coordination.k8s.io", "leases"),
    _rule(("create",), "core", "serviceaccounts/token"),
]

# name -> rules; the plain ones
ROLES: dict[str, list[Rule]] = {
    "cluster-admin": _ANYTHING,
    "system:aggregate-to-view": _VIEW,
    "system:aggregate-to-edit": _EDIT,
    "system:aggregate-to-admin": _ADMIN,
    "system:discovery": [_paths("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
                                "/readyz", "/version", "/version/")],
    "system:public-info-viewer": [_paths("/healthz", "/livez", "/readyz", "/version", "/version/")],
    "system:monitoring": [_paths("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz",
                                 "/readyz/*")],
    "system:basic-user": [
        _rule(("create",), "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        _rule(("create",), "authentication.k8s.io", "selfsubjectreviews"),
    ],
    "system:service-account-issuer-discovery": [_paths("/.well-known/openid-configuration",
                                                       "/.well-known/openid-configuration/", "/openid/v1/jwks",
                                                       "/openid/v1/jwks/")],
    "system:node": _NODE,
    "system:node-bootstrapper": [
        _rule(("create", "get", "list", "watch"), "certificates.k8s.io", "certificatesigningrequests"),
    ],
    "system:node-proxier": [
        _rule(("list", "watch"), "core", "endpoints services"),
        _rule(_READ, "core", "nodes"),
        _rule(("create", "patch", "update"), "core events.k8s.io", "events"),
        _rule(("list", "watch"), "discovery.k8s.io", "endpointslices"),
    ],
    "system:auth-delegator": [
        _rule(("create",), "authentication.k8s.io", "tokenreviews"),
        _rule(("create",), "authorization.k8s.io", "subjectaccessreviews"),
    ],
    "system:kube-scheduler": [
        _rule(("create", "patch", "update"), "core events.k8s.io", "events"),
        _rule(_READ, "core", "nodes namespaces persistentvolumeclaims persistentvolumes services"),
        _rule(("delete", *_READ), "core", "pods"),
        _rule(("create",), "core", "bindings pods/binding"),
        _rule(("patch", "update"), "core", "pods/status"),
        _rule(_READ, "apps", "replicasets statefulsets"),
        _rule(("create",), "coordination.k8s.io", "leases"),
        _rule(("get", "list", "update", "watch"), "coordination.k8s.io", "leases", "kube-scheduler"),
    ],
    "system:volume-scheduler": [
        _rule(("patch", "update", *_READ), "core", "persistentvolumeclaims persistentvolumes"),
        _rule(_READ, "storage.k8s.io", "storageclasses"),
    ],
    "system:persistent-volume-provisioner": [
        _rule(("create", "delete", *_READ), "core", "persistentvolumes"),
        _rule(("update", *_READ), "core", "persistentvolumeclaims"),
        _rule(_READ, "storage.k8s.io", "storageclasses"),
        _rule(("watch",), "core", "events"),
        _rule(("create", "patch", "update"), "core events.k8s.io", "events"),
    ],
    "system:kube-controller-manager": [
        _rule(("*",), "*", "*"),
    ],
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": [
        _rule(("create",), "certificates.k8s.io", "certificatesigningrequests/nodeclient"),
    ],
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": [
        _rule(("create",), "certificates.k8s.io", "certificatesigningrequests/selfnodeclient"),
    ],
    "system:certificates.k8s.io:kube-apiserver-client-approver": [
        _rule(("approve",), "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client"),
    ],
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": [
        _rule(("approve",), "certificates.k8s.io", "signers", "kubernetes.io/kube-apiserver-client-kubelet"),
    ],
    "system:certificates.k8s.io:kubelet-serving-approver": [
        _rule(("approve",), "certificates.k8s.io", "signers", "kubernetes.io/kubelet-serving"),
    ],
}  # fmt: skip

# name -> the label that its parts carry; and what the role itself adds to others
AGGREGATES: dict[str, str] = {"admin": "aggregate-to-admin", "edit": "aggregate-to-edit", "view": "aggregate-to-view"}
_PARTS: dict[str, str] = {
    "system:aggregate-to-admin": "aggregate-to-admin", "system:aggregate-to-edit": "aggregate-to-edit",
    "system:aggregate-to-view": "aggregate-to-view", "edit": "aggregate-to-admin", "view": "aggregate-to-edit",
}  # fmt: skip

# role -> (subject kind, name)
BINDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "cluster-admin": (("Group", "system:masters"),),
    "system:discovery": (("Group", "system:authenticated"),),
    "system:basic-user": (("Group", "system:authenticated"),),
    "system:public-info-viewer": (("Group", "system:authenticated"), ("Group", "system:unauthenticated")),
    "system:monitoring": (("Group", "system:monitoring"),),
    "system:service-account-issuer-discovery": (("Group", "system:serviceaccounts"),),
    "system:node-proxier": (("User", "system:kube-proxy"),),
    "system:kube-scheduler": (("User", "system:kube-scheduler"),),
    "system:volume-scheduler": (("User", "system:kube-scheduler"),),
    "system:kube-controller-manager": (("User", "system:kube-controller-manager"),),
    "system:node": (),  # the node authorizer stands in for it
}


def cluster_roles() -> Iterator[Obj]:
    """Every default ClusterRole, the aggregates with no rules of their own."""
    for name, rules in ROLES.items():
        yield _object("ClusterRole", name, {"rules": rules}, _labels(name))
    for name, label in AGGREGATES.items():
        selector = {"matchLabels": {f"rbac.authorization.k8s.io/{label}": "true"}}
        body = {"aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": []}
        yield _object("ClusterRole", name, body, _labels(name))


def cluster_role_bindings() -> Iterator[Obj]:
    """Every default ClusterRoleBinding."""
    for role, subjects in BINDINGS.items():
        body: dict[str, Any] = {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}}
        if subjects:
            body["subjects"] = [{"apiGroup": RBAC, "kind": kind, "name": name} for kind, name in subjects]
        yield _object("ClusterRoleBinding", role, body, dict(_BOOTSTRAPPING))


def extension_objects(authentication: Mapping[str, str]) -> Iterator[tuple[GVR, Obj]]:
    """What API servers behind Services read to know whom to believe, and the right to read it."""
    name = "extension-apiserver-authentication"
    if authentication:
        metadata = {"name": name, "namespace": _SYSTEM}
        yield CONFIGMAPS, {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(authentication)
        }  # fmt: skip
    role = _object("Role", f"{name}-reader", {"rules": [_rule(_READ, "core", "configmaps", name)]}, _BOOTSTRAPPING)
    yield ROLES_GVR, {**role, "metadata": {**role["metadata"], "namespace": _SYSTEM}}


def _labels(name: str) -> dict[str, str]:
    label = _PARTS.get(name)
    return {**_BOOTSTRAPPING, **({f"rbac.authorization.k8s.io/{label}": "true"} if label else {})}


def _object(kind: str, name: str, body: Obj, labels: dict[str, str]) -> Obj:
    metadata = {"name": name, "annotations": dict(_AUTOUPDATE), "labels": labels}
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **body}
