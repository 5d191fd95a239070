"""RBAC: the compiled index against a slow, obvious reading of the objects; refusals; escalation; roles that add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.access.authz import Attributes, Authorizer, forbidden
from parkube.controlplane.access.rbac import Rbac
from parkube.controlplane.access.rules import not_covered
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.client import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from parkube.kubeapi.errors import Forbidden
from tests.fakes.cluster import Cluster, person

Obj = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
NAMES, SPACES = ("a", "b"), ("x", "y")


def some(*values: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


RULE = st.one_of(
    st.fixed_dictionaries(
        {
            "verbs": some("get", "list", "*"), "apiGroups": some("", "apps", "*"),
            "resources": some("pods", "pods/log", "*/log", "secrets", "*"),
        },
        optional={"resourceNames": some("n1", "n2")},
    ),
    st.fixed_dictionaries({"verbs": some("get", "*"), "nonResourceURLs": some("/healthz", "/api*", "*")}),
)  # fmt: skip
SUBJECT = st.one_of(
    st.fixed_dictionaries({"kind": st.just("User"), "name": st.sampled_from(("jan", "piet"))}),
    st.fixed_dictionaries({"kind": st.just("Group"), "name": st.sampled_from(("dev", "ops"))}),
    st.fixed_dictionaries(
        {"kind": st.just("ServiceAccount"), "name": st.just("robot"), "namespace": st.sampled_from(SPACES)}
    ),
)
LABELS = st.dictionaries(st.sampled_from(("to-admin", "to-view")), st.just("true"), max_size=1)
AGGREGATION = st.sampled_from(("to-admin", "to-view")).map(
    lambda label: {"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]}
)


def role(namespaced: bool) -> st.SearchStrategy[Obj]:
    meta = {"name": st.sampled_from(NAMES), **({"namespace": st.sampled_from(SPACES)} if namespaced else {})}
    optional = {} if namespaced else {"aggregationRule": AGGREGATION}
    metadata = st.fixed_dictionaries(meta, optional={"labels": LABELS})
    return st.fixed_dictionaries({"metadata": metadata, "rules": st.lists(RULE, max_size=3)}, optional=optional)


def binding(namespaced: bool) -> st.SearchStrategy[Obj]:
    meta = {"name": st.sampled_from(NAMES), **({"namespace": st.sampled_from(SPACES)} if namespaced else {})}
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    ref = st.fixed_dictionaries({"kind": st.sampled_from(kinds), "name": st.sampled_from(NAMES)})
    return st.fixed_dictionaries(
        {"metadata": st.fixed_dictionaries(meta), "roleRef": ref, "subjects": st.lists(SUBJECT, max_size=2)}
    )


EVENT = st.tuples(
    st.booleans(),
    st.one_of(
        st.tuples(st.just("roles"), role(True)), st.tuples(st.just("clusterroles"), role(False)),
        st.tuples(st.just("rolebindings"), binding(True)), st.tuples(st.just("clusterrolebindings"), binding(False)),
    ),
)  # fmt: skip
USERS = (
    User("jan", ("dev",)), User("piet", ("dev", "ops")), User("kees"),
    User("system:serviceaccount:x:robot", ("system:serviceaccounts",)),
)  # fmt: skip
ASKED = st.one_of(
    st.tuples(
        st.sampled_from(USERS), st.sampled_from(("get", "list", "delete")), st.sampled_from(("", "apps")),
        st.sampled_from(("pods", "secrets")), st.sampled_from(("", "log")), st.sampled_from(("", "x", "y")),
        st.sampled_from(("", "n1", "n3")),
    ).map(lambda drawn: Attributes(*drawn)),
    st.tuples(st.sampled_from(USERS), st.sampled_from(("/healthz", "/apis", "/x"))).map(
        lambda drawn: Attributes(drawn[0], "get", path=drawn[1])
    ),
)  # fmt: skip


class Reference:
    """All objects in a dict, every question answered by looking at all of them, word for word as documented."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}

    def rules(self, name: str, seen: frozenset[str] = frozenset()) -> list[Obj]:
        found = self.objects.get(("clusterroles", "", name))
        if found is None or name in seen:
            return []
        if "aggregationRule" not in found:
            return list(found["rules"])
        wanted = found["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"]
        parts = [n for (kind, _, n), o in self.objects.items()
                 if kind == "clusterroles" and wanted.items() <= o["metadata"].get("labels", {}).items()]  # fmt: skip
        return [rule for part in parts if part != name for rule in self.rules(part, seen | {name})]

    def allows(self, asked: Attributes) -> bool:
        for (kind, namespace, _), obj in self.objects.items():
            if kind == "rolebindings" and namespace != asked.namespace:
                continue
            if kind not in ("rolebindings", "clusterrolebindings"):
                continue
            if not any(self.is_subject(asked.user, s) for s in obj["subjects"]):
                continue
            ref = obj["roleRef"]
            if ref["kind"] == "Role":
                rules = self.objects.get(("roles", namespace, ref["name"]), {}).get("rules", [])
            else:
                rules = self.rules(ref["name"])
            if any(self.rule_allows(rule, asked) for rule in rules):
                return True
        return False

    @staticmethod
    def is_subject(user: User, subject: Obj) -> bool:
        if subject["kind"] == "User":
            return user.name == subject["name"]
        if subject["kind"] == "Group":
            return subject["name"] in user.groups
        return user.name == f"system:serviceaccount:{subject['namespace']}:{subject['name']}"

    @staticmethod
    def rule_allows(rule: Obj, asked: Attributes) -> bool:
        if not {"*", asked.verb} & set(rule["verbs"]):
            return False
        if asked.path:
            patterns = rule.get("nonResourceURLs", [])
            return any(asked.path == p or (p[-1] == "*" and asked.path.startswith(p[:-1])) for p in patterns)
        if not {"*", asked.group} & set(rule.get("apiGroups", [])):
            return False
        wanted = {"*", asked.resource}
        if asked.subresource:
            wanted = {"*", f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}"}
        if not wanted & set(rule.get("resources", [])):
            return False
        return not rule.get("resourceNames") or asked.name in rule["resourceNames"]


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT, max_size=12), st.lists(ASKED, min_size=1, max_size=8))
def test_decisions_agree_with_a_slow_obvious_reading(events: list[Any], questions: list[Attributes]) -> None:
    rbac, reference = Rbac(), Reference()
    for exists, (kind, obj) in events:
        meta = obj["metadata"]
        key = (kind, meta.get("namespace", ""), meta["name"])
        if exists:
            rbac.put(kind, obj)
            reference.objects[key] = obj
        elif key in reference.objects:
            rbac.drop(kind, reference.objects.pop(key))
        for asked in questions:
            assert rbac.authorize(asked).allowed == reference.allows(asked), (asked, reference.objects)


@settings(max_examples=100, deadline=None)
@given(st.lists(RULE, max_size=3), st.lists(RULE, max_size=3), ASKED)
def test_who_holds_all_of_a_role_gains_nothing_by_it(wanted: list[Obj], held: list[Obj], asked: Attributes) -> None:
    allows = Reference.rule_allows
    if not not_covered(wanted, held) and any(allows(rule, asked) for rule in wanted):
        assert any(allows(rule, asked) for rule in held)
    assert not_covered(wanted, wanted) == []


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (Attributes(User("jane"), "list", "", "pods", namespace="default"),
         'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'),
        (Attributes(User("jane"), "get", "apps", "deployments", "scale", "default", "web"),
         'deployments.apps "web" is forbidden: User "jane" cannot get resource "deployments/scale" in API group "apps" '
         'in the namespace "default"'),
        (Attributes(User("jane"), "list", "", "nodes"),
         'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope'),
        (Attributes(User("system:anonymous"), "get", path="/"),
         'forbidden: User "system:anonymous" cannot get path "/"'),
    ],
)  # fmt: skip
def test_a_refusal_is_worded_as_kubectls_users_know_it(attributes: Attributes, words: str) -> None:
    with pytest.raises(Forbidden) as caught:
        Authorizer([Rbac()]).require(attributes)
    assert caught.value.message == words
    assert caught.value.status()["details"].get("name", "") == attributes.name if attributes.resource else True
    assert forbidden(attributes, "because").message == f"{words}: because"


def test_a_list_of_one_object_is_a_question_about_that_object() -> None:
    rbac = Rbac()
    rule = {"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]}
    rbac.put("clusterroles", {"metadata": {"name": "one"}, "rules": [rule]})
    ref = {"kind": "ClusterRole", "name": "one"}
    rbac.put("clusterrolebindings", {"metadata": {"name": "one"}, "roleRef": ref,
                                     "subjects": [{"kind": "User", "name": "jan"}]})  # fmt: skip
    authorizer, ask = Authorizer([rbac]), Attributes(User("jan"), "list", "", "configmaps", namespace="x")
    assert authorizer.authorize(ask._replace(field_selector="metadata.name=mine")).allowed
    assert not authorizer.authorize(ask._replace(field_selector="metadata.name=other")).allowed
    assert not authorizer.authorize(ask._replace(field_selector="metadata.name!=mine")).allowed
    assert not authorizer.authorize(ask._replace(field_selector="a\\,metadata.name=mine")).allowed
    assert not authorizer.authorize(ask).allowed


async def test_the_default_roles_are_there_and_add_up() -> None:
    async with Cluster() as cluster:
        await cluster.create(
            ROLEBINDINGS, "jan", "default", roleRef={"kind": "ClusterRole", "name": "edit", "apiGroup": GROUP},
            subjects=[{"kind": "User", "name": "jan", "apiGroup": GROUP}],
        )  # fmt: skip
        ask = cluster.access.authorizer.authorize
        jan = person("jan")
        assert ask(Attributes(jan, "create", "apps", "deployments", namespace="default")).allowed
        assert ask(Attributes(jan, "list", "", "pods", namespace="default")).allowed
        assert not ask(Attributes(jan, "list", "", "pods", namespace="kube-system")).allowed
        assert not ask(Attributes(jan, "create", GROUP, "roles", namespace="default")).allowed
        assert ask(Attributes(jan, "get", path="/apis/apps/v1")).allowed
        assert ask(Attributes(User("system:anonymous", ("system:unauthenticated",)), "get", path="/version")).allowed
        assert not ask(Attributes(User("system:anonymous", ("system:unauthenticated",)), "get", path="/apis")).allowed

        label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        rule = {"verbs": ["get", "list"], "apiGroups": ["parkube.io"], "resources": ["garages"]}
        await cluster.create(CLUSTERROLES, "garages-view", metadata={"labels": label}, rules=[rule])
        assert ask(Attributes(jan, "list", "parkube.io", "garages", namespace="default")).allowed
        assert rule in (await cluster.get(CLUSTERROLES, "view"))["rules"]
        assert rule in (await cluster.get(CLUSTERROLES, "admin"))["rules"]
        await cluster.delete(CLUSTERROLES, "garages-view")
        assert not ask(Attributes(jan, "list", "parkube.io", "garages", namespace="default")).allowed
        assert rule not in (await cluster.get(CLUSTERROLES, "admin"))["rules"]


async def test_nobody_grants_what_he_does_not_hold() -> None:
    async with Cluster() as cluster:
        admin = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "admin"}
        await cluster.create(ROLEBINDINGS, "bob", "default", roleRef=admin, subjects=[{"kind": "User", "name": "bob"}])
        bob = person("bob", "dev")
        pods = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
        nodes = {"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}
        await cluster.create(ROLES, "fine", "default", user=bob, rules=[pods])
        with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held") as caught:
            await cluster.create(ROLES, "more", "default", user=bob, rules=[pods, nodes])
        assert caught.value.message.endswith('{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}')
        with pytest.raises(Forbidden):
            await cluster.change(ROLES, "fine", "default", user=bob, rules=[pods, nodes])
        master = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"}
        with pytest.raises(Forbidden):
            await cluster.create(ROLEBINDINGS, "up", "default", user=bob, roleRef=master, subjects=[{"kind": "User", "name": "bob"}])  # noqa: E501  # fmt: skip
        later = {**master, "name": "not-there-yet"}
        with pytest.raises(Forbidden, match="not found"):
            await cluster.create(ROLEBINDINGS, "up", "default", user=bob, roleRef=later, subjects=[{"kind": "User", "name": "bob"}])  # noqa: E501  # fmt: skip
        everything = {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}
        with pytest.raises(Forbidden):
            await cluster.create(CLUSTERROLES, "sum", user=bob, aggregationRule=everything, rules=[])
        bind = {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"],
                "resourceNames": ["view"]}  # fmt: skip
        await cluster.create(CLUSTERROLES, "binder", rules=[bind])
        await cluster.create(CLUSTERROLEBINDINGS, "binder", roleRef={**master, "name": "binder"}, subjects=[{"kind": "User", "name": "eve"}])  # noqa: E501  # fmt: skip
        await cluster.create(ROLEBINDINGS, "ok", "default", user=person("eve"), roleRef={**master, "name": "view"}, subjects=[])  # noqa: E501  # fmt: skip
