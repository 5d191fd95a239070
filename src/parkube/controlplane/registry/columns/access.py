"""`kubectl get` of roles and bindings."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.registry.columns.cells import AGE, NAME, at, column
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj

CREATED_AT = column("Created At", at("metadata", "creationTimestamp"))


def _role(binding: Obj) -> str:
    role = binding.get("roleRef") or {}
    return f"{role.get('kind')}/{role.get('name')}"


def _subjects(kind: str) -> Callable[[Obj], str]:
    def cell(binding: Obj) -> str:
        found = [s for s in binding.get("subjects") or () if s.get("kind") == kind]
        return ", ".join(f"{s['namespace']}/{s['name']}" if s.get("namespace") else str(s["name"]) for s in found)

    return cell


BINDING_COLUMNS: tuple[Column, ...] = (
    NAME,
    column("Role", _role),
    AGE,
    column("Users", _subjects("User"), wide=True),
    column("Groups", _subjects("Group"), wide=True),
    column("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
)
