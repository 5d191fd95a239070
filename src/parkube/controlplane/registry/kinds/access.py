"""Role, RoleBinding, ClusterRole, ClusterRoleBinding: rows and rules. Who may what is decided in `access`, not here."""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.registry.columns import NAME
from parkube.controlplane.registry.columns.access import BINDING_COLUMNS, CREATED_AT
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import PlainStrategy, fill
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_GROUP = "rbac.authorization.k8s.io"


class RoleStrategy(PlainStrategy):
    """Rules name verbs, and resources or paths."""

    name_rule = "path"
    namespaced: ClassVar[bool] = True

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found: list[Cause] = []
        for at, rule in enumerate(obj.get("rules") or ()):
            found += _rule_faults(rule, f"rules[{at}]", self.namespaced)
        aggregation = obj.get("aggregationRule")
        if aggregation is not None:
            selectors = aggregation.get("clusterRoleSelectors") or ()
            path = "aggregationRule.clusterRoleSelectors"
            if not selectors:
                found.append(faults.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil"))  # noqa: E501  # fmt: skip
            for at, selector in enumerate(selectors):
                found += checks.label_selector(selector, f"{path}[{at}]")
        return found


class ClusterRoleStrategy(RoleStrategy):
    """May also name paths that are no resources."""

    namespaced = False


def _rule_faults(rule: Obj, path: str, namespaced: bool) -> list[Cause]:
    found: list[Cause] = []
    if "verbs" in rule and not rule["verbs"]:
        found.append(faults.required(f"{path}.verbs", "verbs must contain at least one value"))
    paths = rule.get("nonResourceURLs")
    if paths:
        if namespaced:
            words = "namespaced rules cannot apply to non-resource URLs"
            found.append(faults.invalid(f"{path}.nonResourceURLs", paths, words))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            words = "rules cannot apply to both regular resources and non-resource URLs"
            found.append(faults.invalid(f"{path}.nonResourceURLs", paths, words))
        return found
    if not rule.get("apiGroups"):
        found.append(faults.required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        found.append(faults.required(f"{path}.resources", "resource rules must supply at least one resource"))
    return found


class RoleBindingStrategy(PlainStrategy):
    """The role that is bound stays."""

    name_rule = "path"
    namespaced: ClassVar[bool] = True

    def default(self, obj: Obj) -> None:
        if isinstance(obj.get("roleRef"), dict):
            fill(obj["roleRef"], {"apiGroup": _GROUP})
        for subject in obj.get("subjects") or ():
            if subject.get("kind") in ("User", "Group"):
                fill(subject, {"apiGroup": _GROUP})

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        role = obj.get("roleRef") or {}
        found: list[Cause] = []
        if "apiGroup" in role:
            found += checks.one_of(role["apiGroup"], "roleRef.apiGroup", (_GROUP,))
        if "kind" in role:
            kinds = ("Role", "ClusterRole") if self.namespaced else ("ClusterRole",)
            found += checks.one_of(role["kind"], "roleRef.kind", kinds)
        if "name" in role and not role["name"]:
            found.append(faults.required("roleRef.name"))
        for at, subject in enumerate(obj.get("subjects") or ()):
            found += _subject_faults(subject, f"subjects[{at}]", self.namespaced)
        if old is not None and role != old.get("roleRef"):
            found.append(faults.invalid("roleRef", role, "cannot change roleRef"))
        return found


class ClusterRoleBindingStrategy(RoleBindingStrategy):
    """Binds in every namespace."""

    namespaced = False


def _subject_faults(subject: Obj, path: str, namespaced: bool) -> list[Cause]:
    kind, group = subject.get("kind"), subject.get("apiGroup") or ""
    found: list[Cause] = []
    if "name" in subject and not subject["name"]:
        found.append(faults.required(f"{path}.name"))
    if kind == "ServiceAccount":
        if subject.get("name"):
            found += checks.name(subject["name"], f"{path}.name", "subdomain")
        if group:
            found += checks.one_of(group, f"{path}.apiGroup", ("",))
        if not subject.get("namespace") and not namespaced:
            found.append(faults.required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        found += checks.one_of(group, f"{path}.apiGroup", (_GROUP,))
    elif kind is not None:
        found.append(faults.unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
    return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            _GROUP, "v1", "clusterrolebindings", "ClusterRoleBinding", ClusterRoleBindingStrategy(), namespaced=False,
            columns=BINDING_COLUMNS,
        ),
        row(
            _GROUP, "v1", "clusterroles", "ClusterRole", ClusterRoleStrategy(), namespaced=False,
            columns=(NAME, CREATED_AT),
        ),
        row(_GROUP, "v1", "rolebindings", "RoleBinding", RoleBindingStrategy(), columns=BINDING_COLUMNS),
        row(_GROUP, "v1", "roles", "Role", RoleStrategy(), columns=(NAME, CREATED_AT)),
    ]  # fmt: skip
