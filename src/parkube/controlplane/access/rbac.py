"""RBAC as an index: from a subject to compiled rights, kept up to date by events.

Roles and bindings come in through `put` and `drop`; nothing here reads the registry. What a rule means is written
down in `rules`; this file only makes it quick: a decision is a few dict look-ups however many bindings there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from parkube.controlplane.access.authz import NO_OPINION, Attributes, Decision
from parkube.controlplane.access.rules import Rule, rule_allows, subject_key, user_keys
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.selectors import LabelSelector

_REMEMBERED = 4_000  # decisions kept; the memory is emptied whenever a role or a binding changes


class Grant(NamedTuple):
    """One binding as seen from its subject: where it holds, which role it gives, and how it is called."""

    namespace: str  # where it holds; empty: everywhere
    role: str  # "<namespace>/<name>" of a Role, "<name>" of a ClusterRole
    binding: str  # its key, likewise
    subject: str


class _Compiled:
    """A role's rules by verb; inside, by group and resource where no wildcard stands in the way."""

    __slots__ = ("by_verb", "rules")

    def __init__(self, rules: list[Rule]) -> None:
        self.rules = rules
        self.by_verb: dict[str, list[Rule]] = {}
        for rule in rules:
            for verb in rule.get("verbs") or ():
                self.by_verb.setdefault(verb, []).append(rule)

    def allows(self, asked: Attributes) -> bool:
        for verb in (asked.verb, "*"):
            for rule in self.by_verb.get(verb, ()):
                if rule_allows(rule, asked):
                    return True
        return False


_NOTHING = _Compiled([])


class Rbac:
    """The four kinds of RBAC, compiled. One member of the authorizer's chain."""

    def __init__(self) -> None:
        self._roles: dict[str, _Compiled] = {}
        self._cluster_roles: dict[str, Obj] = {}  # labels, own rules and aggregation of each ClusterRole
        self._bindings: dict[str, tuple[Grant, ...]] = {}
        self._grants: dict[str, dict[str, list[Grant]]] = {}  # subject -> namespace -> grants
        self._decisions: dict[tuple[str, ...], Decision] = {}
        self._aggregates_stale = False

    # --- events ------------------------------------------------------------------------------------------------

    def put(self, resource: str, obj: Obj) -> None:
        """A Role, ClusterRole, RoleBinding or ClusterRoleBinding as it now is; `resource` is the plural."""
        self._decisions.clear()
        key = _key(obj)
        if resource == "clusterroles":
            self._cluster_roles[key] = {
                "labels": obj["metadata"].get("labels") or {}, "rules": obj.get("rules") or [],
                "aggregation": _selectors(obj.get("aggregationRule")),
            }  # fmt: skip
            self._aggregates_stale = True
            self._roles[key] = _Compiled(obj.get("rules") or [])
        elif resource == "roles":
            self._roles[key] = _Compiled(obj.get("rules") or [])
        else:
            self._unbind(key)
            self._bind(key, obj)

    def drop(self, resource: str, obj: Obj) -> None:
        """The object is gone."""
        self._decisions.clear()
        key = _key(obj)
        if resource in ("roles", "clusterroles"):
            self._roles.pop(key, None)
            if self._cluster_roles.pop(key, None) is not None:
                self._aggregates_stale = True
        else:
            self._unbind(key)

    def _bind(self, key: str, obj: Obj) -> None:
        namespace = obj["metadata"].get("namespace", "")
        ref = obj.get("roleRef") or {}
        role = f"{namespace}/{ref.get('name')}" if ref.get("kind") == "Role" else str(ref.get("name"))
        subjects = dict.fromkeys(subject_key(subject, namespace) for subject in obj.get("subjects") or ())
        grants = tuple(Grant(namespace, role, key, subject) for subject in subjects if subject)
        self._bindings[key] = grants
        for grant in grants:
            self._grants.setdefault(grant.subject, {}).setdefault(namespace, []).append(grant)

    def _unbind(self, key: str) -> None:
        for grant in self._bindings.pop(key, ()):
            spaces = self._grants[grant.subject]
            spaces[grant.namespace].remove(grant)
            if not spaces[grant.namespace]:
                del spaces[grant.namespace]
            if not spaces:
                del self._grants[grant.subject]

    # --- aggregation -------------------------------------------------------------------------------------------

    def aggregated(self) -> dict[str, list[Rule]]:
        """The rules that each ClusterRole with an aggregationRule ought to have, by name."""
        result: dict[str, list[Rule]] = {}
        for name, role in self._cluster_roles.items():
            if role["aggregation"] is not None:
                result[name] = self._collect(name, role["aggregation"])
        return result

    def _collect(self, name: str, selectors: list[LabelSelector]) -> list[Rule]:
        rules: list[Rule] = []
        for other in sorted(self._cluster_roles):
            role = self._cluster_roles[other]
            if other != name and any(selector.matches(role["labels"]) for selector in selectors):
                source = self._collect_plain(other, {name})
                rules.extend(rule for rule in source if rule not in rules)
        return rules

    def _collect_plain(self, name: str, seen: set[str]) -> list[Rule]:
        """The rules of a role that is collected; one that is itself an aggregate is followed, never in a circle."""
        role = self._cluster_roles[name]
        if role["aggregation"] is None:
            own: list[Rule] = role["rules"]
            return own
        rules: list[Rule] = []
        for other in sorted(self._cluster_roles):
            labels = self._cluster_roles[other]["labels"]
            if other == name or other in seen or not any(s.matches(labels) for s in role["aggregation"]):
                continue
            rules.extend(rule for rule in self._collect_plain(other, seen | {name}) if rule not in rules)
        return rules

    def _refresh_aggregates(self) -> None:
        self._aggregates_stale = False
        for name, rules in self.aggregated().items():
            self._roles[name] = _Compiled(rules)

    # --- questions ---------------------------------------------------------------------------------------------

    def authorize(self, attributes: Attributes) -> Decision:
        """Allowed as soon as one rule of one grant allows it."""
        user = attributes.user
        memory_key = (user.name, *user.groups, "\0", *attributes[1:8])
        known = self._decisions.get(memory_key)
        if known is None:
            known = self._decide(attributes)
            if len(self._decisions) >= _REMEMBERED:
                self._decisions.clear()
            self._decisions[memory_key] = known
        return known

    def _decide(self, attributes: Attributes) -> Decision:
        for grant in self._grants_of(attributes.user, attributes.namespace):
            if self._roles.get(grant.role, _NOTHING).allows(attributes):
                return Decision(True, _because(grant))
        return NO_OPINION

    def _grants_of(self, user: User, namespace: str) -> Iterator[Grant]:
        if self._aggregates_stale:
            self._refresh_aggregates()
        for key in user_keys(user):
            spaces = self._grants.get(key)
            if spaces:
                yield from spaces.get("", ())
                if namespace:
                    yield from spaces.get(namespace, ())

    def rules_of(self, user: User, namespace: str) -> list[Rule]:
        """All rules that hold for the user in that namespace ("": cluster-wide only)."""
        return [rule for grant in self._grants_of(user, namespace) for rule in self.rules_of_role(grant.role)]

    def rules_of_role(self, role: str) -> list[Rule]:
        """The rules of "<namespace>/<name>" (Role) or "<name>" (ClusterRole), aggregation resolved."""
        if self._aggregates_stale:
            self._refresh_aggregates()
        return self._roles.get(role, _NOTHING).rules

    def has_role(self, role: str) -> bool:
        """Whether that role exists."""
        return role in self._roles

    def subjects(self) -> Iterable[str]:
        """Everyone who has been given something."""
        return self._grants.keys()


def _key(obj: Obj) -> str:
    meta = obj["metadata"]
    namespace = meta.get("namespace", "")
    return f"{namespace}/{meta['name']}" if namespace else str(meta["name"])


def _selectors(rule: Obj | None) -> list[LabelSelector] | None:
    if rule is None:
        return None
    return [LabelSelector.from_object(selector) for selector in rule.get("clusterRoleSelectors") or ()]


def _because(grant: Grant) -> str:
    kind = "RoleBinding" if grant.namespace else "ClusterRoleBinding"
    role_kind = "Role" if "/" in grant.role else "ClusterRole"
    subject = grant.subject[2:]
    if grant.subject.startswith("g:"):
        who = f'Group "{subject}"'
    elif subject.startswith("system:serviceaccount:"):
        namespace, _, name = subject.removeprefix("system:serviceaccount:").partition(":")
        who = f'ServiceAccount "{name}/{namespace}"'
    else:
        who = f'User "{subject}"'
    role = grant.role.rpartition("/")[2]
    return f'RBAC: allowed by {kind} "{grant.binding}" of {role_kind} "{role}" to {who}'
