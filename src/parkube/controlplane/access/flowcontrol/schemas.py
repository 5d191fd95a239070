"""Which FlowSchema a request falls under, and into which flow. Pure.

Answers are remembered twice over: users to whom the same rules speak share one table of what was asked before, so that
a thousand nodes cost one. Source: Kubernetes API reference, FlowSchema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import Obj

_ANY = "*"
_ACCOUNT = "system:serviceaccount:"
_REMEMBERED = 10_000  # users, and questions of one group of users; then all is asked anew


class Asked(NamedTuple):
    """What rules look at. A request for a resource has `resource` (with its subresource: `nodes/status`)."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    path: str = ""


class Schema(NamedTuple):
    """A FlowSchema, as far as it sorts. `by`: what tells its flows apart: `ByUser`, `ByNamespace`, nothing."""

    name: str
    uid: str
    level: str
    precedence: int
    by: str
    rules: tuple[Obj, ...]


def schema_of(obj: Obj) -> Schema:
    """The part of the object that is needed."""
    spec, meta = obj.get("spec") or {}, obj["metadata"]
    return Schema(
        meta["name"], meta.get("uid") or "", (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
        spec.get("matchingPrecedence") or 1000, (spec.get("distinguisherMethod") or {}).get("type") or "",
        tuple(spec.get("rules") or ()),
    )  # fmt: skip


class _Crowd:
    """Users to whom the same rules speak."""

    def __init__(self, spoken_to: tuple[tuple[Schema, tuple[Obj, ...]], ...], fallback: Schema) -> None:
        self._spoken_to, self._fallback = spoken_to, fallback
        resources = [r for _, rules in spoken_to for rule in rules for r in rule.get("resourceRules") or ()]
        self._by_namespace = any(not {*(r.get("namespaces") or ())} <= {_ANY} for r in resources)
        self._known: dict[tuple[str, str, str, str, str], Schema] = {}

    def of(self, asked: Asked) -> Schema:
        namespace = asked.namespace if self._by_namespace else asked.namespace and _ANY
        key = (asked.verb, asked.group, asked.resource, namespace, "" if asked.resource else asked.path)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._look(asked)
        return found

    def _look(self, asked: Asked) -> Schema:
        for schema, rules in self._spoken_to:
            if any(speaks_of(rule, asked) for rule in rules):
                return schema
        return self._fallback


class Schemas:
    """An order of FlowSchemas. `levels`: those that exist; a schema of another is passed over."""

    def __init__(self, schemas: Iterable[Schema], levels: Iterable[str], fallback: Schema) -> None:
        known = set(levels)
        usable = (schema for schema in schemas if schema.level in known)
        self._order = sorted(usable, key=lambda schema: (schema.precedence, schema.name))
        self._fallback = fallback
        self._users: dict[User, _Crowd] = {}
        self._crowds: dict[tuple[tuple[str, int], ...], _Crowd] = {}

    def of(self, user: User, asked: Asked) -> Schema:
        """The first schema whose rules fit; the fallback when none does."""
        crowd = self._users.get(user)
        if crowd is None:
            if len(self._users) >= _REMEMBERED:
                self._users.clear()
            crowd = self._users[user] = self._crowd(user)
        return crowd.of(asked)

    def _crowd(self, user: User) -> _Crowd:
        which = tuple(
            (schema.name, at)
            for schema in self._order
            for at, rule in enumerate(schema.rules)
            if any(speaks_to(subject, user) for subject in rule.get("subjects") or ())
        )
        found = self._crowds.get(which)
        if found is None:
            spoken_to = []
            for schema in self._order:
                rules = tuple(schema.rules[at] for name, at in which if name == schema.name)
                if rules:
                    spoken_to.append((schema, rules))
            found = self._crowds[which] = _Crowd(tuple(spoken_to), self._fallback)
        return found


def flow_of(schema: Schema, user: User, namespace: str) -> str:
    """The flow within its level: requests of one flow are served in order, flows take turns."""
    if schema.by == "ByUser":
        return f"{schema.name}/{user.name}"
    return f"{schema.name}/{namespace}" if schema.by == "ByNamespace" else schema.name


def speaks_to(subject: Mapping[str, Obj], user: User) -> bool:
    """Whether a rule's subject is this user."""
    kind = str(subject.get("kind"))
    said = subject.get({"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}.get(kind, "")) or {}
    name = said.get("name")
    if kind == "User":
        return name in (_ANY, user.name)
    if kind == "Group":
        return name == _ANY or name in user.groups
    if kind != "ServiceAccount" or not user.name.startswith(_ACCOUNT):
        return False
    namespace, _, account = user.name.removeprefix(_ACCOUNT).partition(":")
    return said.get("namespace") == namespace and name in (_ANY, account)


def speaks_of(rule: Obj, asked: Asked) -> bool:
    """Whether one of the rule's resources or paths is what is asked for."""
    if not asked.resource:
        return any(
            _among(asked.verb, one.get("verbs")) and any(_path(url, asked.path) for url in one.get("nonResourceURLs"))
            for one in rule.get("nonResourceRules") or ()
        )
    return any(
        _among(asked.verb, one.get("verbs"))
        and _among(asked.group, one.get("apiGroups"))
        and _among(asked.resource, one.get("resources"))
        and (_among(asked.namespace, one.get("namespaces")) if asked.namespace else bool(one.get("clusterScope")))
        for one in rule.get("resourceRules") or ()
    )


def _among(value: str, allowed: Iterable[str] | None) -> bool:
    return any(one in (_ANY, value) for one in allowed or ())


def _path(url: str, path: str) -> bool:
    return path == url or (url.endswith(_ANY) and path.startswith(url[:-1]))
