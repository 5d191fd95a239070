"""Which writes a webhook or a policy is asked about: rules, selectors, names. Pure.

Source: Kubernetes documentation, "Dynamic Admission Control", matching requests.
"""

from __future__ import annotations

from collections.abc import Iterable

from parkube.controlplane.access.admission.dynamic.attributes import Write
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.selectors import LabelSelector

_ANY = "*"


def match(write: Write, rules: Iterable[Obj], holder: Obj) -> Resource | None:
    """The row in whose version the write matches; None when it does not. `holder` has the selectors and the policy."""
    excluded = holder.get("excludeResourceRules") or ()
    if not _selected(write, holder) or _by_rules(write, excluded, holder) is not None:
        return None
    return _by_rules(write, rules, holder)


def _by_rules(write: Write, rules: Iterable[Obj], holder: Obj) -> Resource | None:
    listed = list(rules)
    for row in write.candidates(holder.get("matchPolicy") != "Exact"):
        if any(_rule(write, row, rule) for rule in listed):
            return row
    return None


def _rule(write: Write, row: Resource, rule: Obj) -> bool:
    scope = rule.get("scope") or _ANY
    names = rule.get("resourceNames") or ()
    return (
        _among(write.operation, rule.get("operations"))
        and _among(row.gvr.group, rule.get("apiGroups"))
        and _among(row.gvr.version, rule.get("apiVersions"))
        and any(_resource(row.gvr.resource, write.subresource, wanted) for wanted in rule.get("resources") or ())
        and (scope == _ANY or (scope == "Namespaced") is row.namespaced)
        and (not names or write.name in names)
    )


def _among(value: str, allowed: Iterable[str] | None) -> bool:
    return any(one in (_ANY, value) for one in allowed or ())


def _resource(plural: str, subresource: str, wanted: str) -> bool:
    kind, slash, sub = wanted.partition("/")
    if kind not in (_ANY, plural):
        return False
    return sub in (_ANY, subresource) if slash else not subresource


def _selected(write: Write, holder: Obj) -> bool:
    selector = holder.get("objectSelector") or {}
    if selector and not any(LabelSelector.from_object(selector).matches(labels) for labels in write.labels()):
        return False
    selector = holder.get("namespaceSelector") or {}
    if not selector:
        return True
    if write.row.gvr.resource == "namespaces" and not write.row.gvr.group:
        found = write.labels()[0]
    elif write.namespace:
        found = (write.namespace_object.get("metadata") or {}).get("labels") or {}
    else:
        return True  # what belongs to no namespace is never left out by one
    return LabelSelector.from_object(selector).matches(found)
