"""No one grants what they do not hold: roles and bindings are checked against the rights of the one who writes them.

The verbs `escalate` (roles) and `bind` (bindings) lift the check, as the API documents.
Source: Kubernetes documentation, "Using RBAC Authorization", privilege escalation prevention.
"""

from __future__ import annotations

from parkube.controlplane.access.admission.plugin import Plugin, name_of, refused
from parkube.controlplane.access.authz import MASTERS, Attributes, Authorizer
from parkube.controlplane.access.rbac import Rbac
from parkube.controlplane.access.rules import Rule, not_covered
from parkube.controlplane.registry.resource import Context, Resource, User
from parkube.kubeapi.client import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from parkube.kubeapi.errors import Obj

_GROUP = "rbac.authorization.k8s.io"


class EscalationCheck(Plugin):
    """Looks at creations and changes of the four kinds of RBAC."""

    kinds = frozenset({ROLES, ROLEBINDINGS, CLUSTERROLES, CLUSTERROLEBINDINGS})
    operations = frozenset({"CREATE", "UPDATE"})

    def __init__(self, rbac: Rbac, authorizer: Authorizer) -> None:
        self._rbac, self._authorizer = rbac, authorizer

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises Forbidden, every right named that would be granted and is not held."""
        user = context.user
        if new is None or MASTERS in user.groups:
            return
        name = name_of(name, new)
        if resource.gvr in (ROLES, CLUSTERROLES):
            wanted = self._rules_of_role(new, old)
            lifted = self._may(user, "escalate", resource.gvr.resource, namespace, name)
        else:
            if old is not None and all(old.get(key) == new.get(key) for key in ("roleRef", "subjects")):
                return
            ref = new.get("roleRef") or {}
            plural = "roles" if ref.get("kind") == "Role" else "clusterroles"
            role = str(ref.get("name", ""))
            wanted = self._rbac.rules_of_role(f"{namespace}/{role}" if plural == "roles" else role)
            lifted = self._may(user, "bind", plural, namespace, role)
            if not lifted and not self._rbac.has_role(f"{namespace}/{role}" if plural == "roles" else role):
                # A role that comes later could hold anything.
                raise refused(resource, name, f'{plural}.{_GROUP} "{role}" not found')
        if lifted:
            return
        missing = not_covered(wanted, self._rbac.rules_of(user, namespace))
        if missing:
            groups = " ".join(f'"{group}"' for group in user.groups)
            listed = "\n".join(map(_text, missing))
            why = f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:'
            raise refused(resource, name, f"{why}\n{listed}")

    def _rules_of_role(self, new: Obj, old: Obj | None) -> list[Rule]:
        aggregation = new.get("aggregationRule")
        if aggregation and (old or {}).get("aggregationRule") != aggregation:
            # It would hold whatever anybody labels: only one who holds everything may set that up.
            return [
                {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                {"verbs": ["*"], "nonResourceURLs": ["*"]},
            ]
        if old is not None and old.get("rules") == new.get("rules"):
            return []
        return new.get("rules") or []

    def _may(self, user: User, verb: str, resource: str, namespace: str, name: str) -> bool:
        asked = Attributes(user, verb, _GROUP, resource, namespace=namespace, name=name)
        return self._authorizer.authorize(asked).allowed


def _text(rule: Rule) -> str:
    words = (
        ("APIGroups", "apiGroups"), ("Resources", "resources"), ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"), ("Verbs", "verbs"),
    )  # fmt: skip
    parts = [f"{shown}:[{' '.join(_quoted(v) for v in rule[key])}]" for shown, key in words if rule.get(key)]
    return "{" + ", ".join(parts) + "}"


def _quoted(value: str) -> str:
    return f'"{value}"'
