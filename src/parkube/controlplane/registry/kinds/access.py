"""Role, RoleBinding, ClusterRole, ClusterRoleBinding: rows and rules. Who may what is decided in `access`, not here."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import row
from parkube.controlplane.registry.resource import Resource

_GROUP = "rbac.authorization.k8s.io"


class RoleStrategy(PlainStrategy):
    """Rules name verbs, and resources or paths."""

    name_rule = "path"


class RoleBindingStrategy(PlainStrategy):
    """The role that is bound stays."""

    name_rule = "path"


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(_GROUP, "v1", "clusterrolebindings", "ClusterRoleBinding", RoleBindingStrategy(), namespaced=False),
        row(_GROUP, "v1", "clusterroles", "ClusterRole", RoleStrategy(), namespaced=False),
        row(_GROUP, "v1", "rolebindings", "RoleBinding", RoleBindingStrategy()),
        row(_GROUP, "v1", "roles", "Role", RoleStrategy()),
    ]
