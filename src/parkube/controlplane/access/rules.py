"""What an RBAC rule means: one rule against one request, and rules against rules. Pure.

It is the slow, obvious reading of the API; `rbac` compiles the same into an index and is tested against it.
Source: Kubernetes API reference, `rbac.authorization.k8s.io/v1` PolicyRule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from parkube.controlplane.access.authz import Attributes
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.errors import Obj

Rule = dict[str, Any]


def rule_allows(rule: Rule, asked: Attributes) -> bool:
    """Whether this one PolicyRule permits the request."""
    verbs = rule.get("verbs") or ()
    if asked.verb not in verbs and "*" not in verbs:
        return False
    if not asked.resource:
        return any(_path_matches(path, asked.path) for path in rule.get("nonResourceURLs") or ())
    groups = rule.get("apiGroups") or ()
    if asked.group not in groups and "*" not in groups:
        return False
    names = rule.get("resourceNames") or ()
    if names and asked.name not in names:
        return False
    resources = rule.get("resources") or ()
    if "*" in resources:
        return True
    if not asked.subresource:
        return asked.resource in resources
    return f"{asked.resource}/{asked.subresource}" in resources or f"*/{asked.subresource}" in resources


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path


def subject_key(subject: Obj, binding_namespace: str) -> str:
    """`u:<user>` or `g:<group>`: the key under which a subject's rights are found; empty if it names nobody."""
    kind, name = subject.get("kind"), str(subject.get("name", ""))
    if kind == "User":
        return f"u:{name}"
    if kind == "Group":
        return f"g:{name}"
    if kind == "ServiceAccount":
        namespace = subject.get("namespace") or binding_namespace
        return f"u:system:serviceaccount:{namespace}:{name}" if namespace else ""
    return ""


def user_keys(user: User) -> Iterator[str]:
    """The subject keys that a user answers to."""
    yield f"u:{user.name}"
    for group in user.groups:
        yield f"g:{group}"


def atoms(rule: Rule) -> Iterator[Rule]:
    """A rule broken down into rules of one verb, group, resource and name each."""
    for verb in rule.get("verbs") or ():
        for path in rule.get("nonResourceURLs") or ():
            yield {"verbs": [verb], "nonResourceURLs": [path]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or ("",):
                    atom: Rule = {"verbs": [verb], "apiGroups": [group], "resources": [resource]}
                    if name:
                        atom["resourceNames"] = [name]
                    yield atom


def _covers(held: Rule, atom: Rule) -> bool:
    verbs = held.get("verbs") or ()
    if "*" not in verbs and atom["verbs"][0] not in verbs:
        return False
    if "nonResourceURLs" in atom:
        wanted = atom["nonResourceURLs"][0]
        return any(
            p == wanted or (p.endswith("*") and wanted.startswith(p[:-1])) for p in held.get("nonResourceURLs") or ()
        )
    groups = held.get("apiGroups") or ()
    if "*" not in groups and atom["apiGroups"][0] not in groups:
        return False
    names = held.get("resourceNames") or ()
    if names and (not atom.get("resourceNames") or atom["resourceNames"][0] not in names):
        return False
    resources = held.get("resources") or ()
    wanted = atom["resources"][0]
    if "*" in resources or wanted in resources:
        return True
    _, slash, subresource = wanted.partition("/")
    return bool(slash) and f"*/{subresource}" in resources


def not_covered(wanted: Iterable[Rule], held: Iterable[Rule]) -> list[Rule]:
    """The atoms of `wanted` that no rule of `held` covers: what would be an escalation."""
    owned = list(held)
    return [atom for rule in wanted for atom in atoms(rule) if not any(_covers(own, atom) for own in owned)]
