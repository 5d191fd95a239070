"""The FlowSchemas and PriorityLevelConfigurations that every cluster has: the same that Kubernetes starts with.

Source: Kubernetes documentation, "API Priority and Fairness", defaults.
"""

from __future__ import annotations

from collections.abc import Iterable

from parkube.controlplane.access.flowcontrol.levels import CATCH_ALL, EXEMPT
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj

GROUP = "flowcontrol.apiserver.k8s.io"
FLOWSCHEMAS = GVR(GROUP, "v1", "flowschemas")
PRIORITYLEVELS = GVR(GROUP, "v1", "prioritylevelconfigurations")
AUTOUPDATE = "apf.kubernetes.io/autoupdate-spec"
_NODES, _SYSTEM = "system:nodes", "kube-system"
_EVERYBODY = ("system:unauthenticated", "system:authenticated")


def _object(kind: str, name: str, spec: Obj) -> Obj:
    metadata = {"name": name, "annotations": {AUTOUPDATE: "true"}}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _level(name: str, shares: int, lend: int, queues: int = 0, hand: int = 0) -> Obj:
    """A limited level; one without queues rejects."""
    response: Obj = {"type": "Reject"}
    if queues:
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": 50}
        response = {"type": "Queue", "queuing": queuing}
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": lend, "limitResponse": response}
    return _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited})


def _schema(name: str, level: str, precedence: int, by: str, subjects: Iterable[Obj], *rules: Obj) -> Obj:
    rule: Obj = {"subjects": list(subjects)}
    for kind in ("resourceRules", "nonResourceRules"):
        found = [one for one in rules if ("resources" in one) is (kind == "resourceRules")]
        if found:
            rule[kind] = found
    spec: Obj = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule]}
    if by:
        spec["distinguisherMethod"] = {"type": by}
    return _object("FlowSchema", name, spec)


def _groups(*names: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[Obj]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


def _accounts(namespace: str) -> list[Obj]:
    return [{"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": namespace}}]


def _resources(verbs: Iterable[str], group: str, resources: Iterable[str], *, cluster: bool) -> Obj:
    found: Obj = {
        "verbs": list(verbs), "apiGroups": [group], "resources": list(resources), "namespaces": ["*"],
    }  # fmt: skip
    return {**found, "clusterScope": True} if cluster else found


_ALL = (_resources("*", "*", "*", cluster=True), {"verbs": ["*"], "nonResourceURLs": ["*"]})
_PROBES = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
_LEASES = "coordination.k8s.io"
_BY_USER, _BY_NAMESPACE = "ByUser", "ByNamespace"

_EXEMPT_SPEC = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}

MANDATORY: tuple[tuple[GVR, Obj], ...] = (
    (PRIORITYLEVELS, _object("PriorityLevelConfiguration", EXEMPT, _EXEMPT_SPEC)),
    (PRIORITYLEVELS, _level(CATCH_ALL, 5, 0)),
    (FLOWSCHEMAS, _schema(EXEMPT, EXEMPT, 1, "", _groups("system:masters"), *_ALL)),
    (FLOWSCHEMAS, _schema(CATCH_ALL, CATCH_ALL, 10_000, _BY_USER, _groups(*_EVERYBODY), *_ALL)),
)
"""Without these there is no order at all; their specs are kept as they are."""

SUGGESTED: tuple[tuple[GVR, Obj], ...] = (
    (PRIORITYLEVELS, _level("system", 30, 33, 64, 6)),
    (PRIORITYLEVELS, _level("node-high", 40, 25, 64, 6)),
    (PRIORITYLEVELS, _level("leader-election", 10, 0, 16, 4)),
    (PRIORITYLEVELS, _level("workload-high", 40, 50, 128, 6)),
    (PRIORITYLEVELS, _level("workload-low", 100, 90, 128, 6)),
    (PRIORITYLEVELS, _level("global-default", 20, 50, 128, 6)),
    (FLOWSCHEMAS, _schema("probes", EXEMPT, 2, "", _groups(*_EVERYBODY), _PROBES)),
    (FLOWSCHEMAS, _schema(
        "system-leader-election", "leader-election", 100, _BY_USER,
        [*_users("system:kube-controller-manager", "system:kube-scheduler"), *_accounts(_SYSTEM)],
        _resources(("get", "create", "update"), _LEASES, ["leases"], cluster=False),
    )),
    (FLOWSCHEMAS, _schema(
        "system-node-high", "node-high", 400, _BY_USER, _groups(_NODES),
        _resources("*", "", ("nodes", "nodes/status"), cluster=True),
        _resources("*", _LEASES, ["leases"], cluster=False),
    )),
    (FLOWSCHEMAS, _schema("system-nodes", "system", 500, _BY_USER, _groups(_NODES), *_ALL)),
    (FLOWSCHEMAS, _schema(
        "kube-controller-manager", "workload-high", 800, _BY_NAMESPACE, _users("system:kube-controller-manager"), *_ALL
    )),
    (FLOWSCHEMAS, _schema(
        "kube-scheduler", "workload-high", 800, _BY_NAMESPACE, _users("system:kube-scheduler"), *_ALL
    )),
    (FLOWSCHEMAS, _schema(
        "kube-system-service-accounts", "workload-high", 900, _BY_NAMESPACE, _accounts(_SYSTEM), *_ALL
    )),
    (FLOWSCHEMAS, _schema(
        "service-accounts", "workload-low", 9000, _BY_USER, _groups("system:serviceaccounts"), *_ALL
    )),
    (FLOWSCHEMAS, _schema("global-default", "global-default", 9900, _BY_USER, _groups(*_EVERYBODY), *_ALL)),
)  # fmt: skip
"""Made when they are missing; kept up to date where their annotation says so."""
