"""The node authorizer and NodeRestriction: a node reads what its pods refer to, writes what is its own, no more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.access.authz import Attributes
from parkube.controlplane.access.graph import NodeGraph
from parkube.controlplane.access.nodes import NodeAuthorizer
from parkube.controlplane.registry.resource import User
from parkube.kubeapi.client import LEASES, NODES, PODS, SECRETS
from parkube.kubeapi.errors import ApiError, Forbidden
from tests.fakes.cluster import Cluster, node_user, person

NODE_NAMES, SPACES, NAMES = ("n1", "n2"), ("x", "y"), ("s1", "s2", "s3")


def _ways(secret: str) -> list[dict[str, Any]]:
    """Every way in which a pod's spec may refer to a secret."""
    container = {"name": "c", "image": "i"}
    return [
        {"containers": [{**container, "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]}]},  # noqa: E501
        {"containers": [{**container, "envFrom": [{"secretRef": {"name": secret}}]}]},
        {"initContainers": [{**container, "envFrom": [{"secretRef": {"name": secret}}]}], "containers": [container]},
        {"containers": [container], "imagePullSecrets": [{"name": secret}]},
        {"containers": [container], "volumes": [{"name": "v", "secret": {"secretName": secret}}]},
        {"containers": [container], "volumes": [{"name": "v", "projected": {"sources": [
            {"secret": {"name": secret}}]}}]},
        {"containers": [container], "volumes": [{"name": "v", "configMap": {"name": secret}}]},  # not a secret
        {"containers": [container]},
    ]  # fmt: skip


POD = st.tuples(
    st.sampled_from(SPACES), st.sampled_from(("p1", "p2", "p3")), st.sampled_from(("", *NODE_NAMES)),
    st.sampled_from(NAMES), st.integers(0, 7), st.booleans(),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(POD, max_size=12))
def test_a_node_reads_a_secret_only_while_a_pod_of_its_own_refers_to_it(steps: list[Any]) -> None:
    graph = NodeGraph()
    authorizer = NodeAuthorizer(graph)
    pods: dict[tuple[str, str], tuple[str, str, int]] = {}
    for number, (space, name, node, secret, way, gone) in enumerate(steps):
        if gone:
            graph.drop(space, name)
            pods.pop((space, name), None)
        elif (space, name) not in pods or not pods[space, name][0]:
            spec = {**_ways(secret)[way], **({"nodeName": node} if node else {})}
            graph.put({"metadata": {"namespace": space, "name": name, "uid": str(number)}, "spec": spec})
            pods[space, name] = (node, secret, way)
        for asked_node in NODE_NAMES:
            for asked_space in SPACES:
                for asked in NAMES:
                    refers = any(
                        n == asked_node and pod_space == asked_space and s == asked and w < 6
                        for (pod_space, _), (n, s, w) in pods.items()
                    )
                    for verb in ("get", "list", "watch"):
                        question = Attributes(
                            node_user(asked_node), verb, "", "secrets", namespace=asked_space, name=asked
                        )
                        assert authorizer.authorize(question).allowed == refers
    for space, name in list(pods):
        graph.drop(space, name)
    assert graph._shared == {}
    assert graph._of_node == {}


async def test_what_a_node_may_ask_for() -> None:
    async with Cluster() as cluster:
        await cluster.create(SECRETS, "password", "default", data={})
        await cluster.node("n1")
        await cluster.pod("web", "n1", volumes=[{"name": "v", "secret": {"secretName": "password"}}])
        await cluster.pod("idle")

        def may(verb: str, resource: str, name: str = "", namespace: str = "default", **more: Any) -> bool:
            user = more.pop("user", node_user("n1"))
            asked = Attributes(user, verb, more.pop("group", ""), resource, namespace=namespace, name=name, **more)
            return cluster.access.authorizer.authorize(asked).allowed

        lease = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
        assert may("update", "leases", "n1", **lease)
        assert not may("update", "leases", "n2", **lease)
        assert not may("update", "leases", "n1", group="coordination.k8s.io", namespace="kube-system")
        assert may("list", "pods", namespace="", field_selector="spec.nodeName=n1")
        assert not may("list", "pods", namespace="", field_selector="spec.nodeName=n2")
        assert not may("watch", "pods", namespace="", field_selector="spec.nodeName!=n1")
        assert not may("list", "pods", namespace="")
        assert may("get", "pods", "web")
        assert may("patch", "pods", "web", subresource="status")
        assert not may("get", "pods", "idle")
        assert not may("update", "pods", "web")
        assert may("watch", "nodes", namespace="", field_selector="metadata.name=n1")
        assert may("list", "nodes", namespace=""), "the pod network follows from all nodes"
        assert not may("patch", "nodes", "n2", namespace="")
        assert not may("delete", "nodes", "n1", namespace="")
        assert may("watch", "secrets", field_selector="metadata.name=password")
        assert not may("list", "secrets")
        assert not may("get", "secrets", "password", user=node_user("n2"))
        assert not may("get", "secrets", "password", "kube-system")
        assert not may("get", "secrets", "password", user=User("system:node:n1", ("system:authenticated",)))
        assert may("get", "configmaps", "kube-root-ca.crt")
        assert may("create", "serviceaccounts", "default", subresource="token")
        assert not may("create", "serviceaccounts", "other", subresource="token")
        assert may("list", "services", namespace="")
        assert not may("create", "secrets")
        assert not may("list", "clusterroles", group="rbac.authorization.k8s.io", namespace="")
        asked = Attributes(node_user("n1"), "get", "", "secrets", namespace="default", name="other")
        with pytest.raises(Forbidden) as caught:
            cluster.access.authorizer.require(asked)
        assert caught.value.message == (
            'secrets "other" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the '
            "namespace \"default\": no relationship found between node 'n1' and this object"
        )
        await cluster.delete(PODS, "web", "default")
        assert not may("get", "secrets", "password")


async def test_what_a_node_may_write() -> None:
    async with Cluster() as cluster:
        me, other = node_user("n1"), node_user("n2")

        async def refused(words: str, call: Any) -> None:
            with pytest.raises(ApiError, match=words) as caught:
                await call
            assert isinstance(caught.value, Forbidden)

        labels = {"kubernetes.io/hostname": "n1", "garage": "west", "node.kubernetes.io/x": "y"}
        taint = {"key": "garage", "effect": "NoSchedule", "value": "x"}
        await refused("not allowed to modify node", cluster.create(NODES, "n1", user=other))
        role = {"labels": {"node-role.kubernetes.io/control-plane": "", **labels}}
        await refused("following labels: node-role.kubernetes.io/control-plane", cluster.create(NODES, "n1", user=me, metadata=role))  # noqa: E501  # fmt: skip
        mine = {"labels": {"node-restriction.kubernetes.io/a": "b"}}
        await refused("following labels", cluster.create(NODES, "n1", user=me, metadata=mine))
        await cluster.create(NODES, "n1", user=me, metadata={"labels": labels}, spec={"taints": [taint]})
        await refused("not allowed to modify taints", cluster.change(NODES, "n1", user=me, spec={"taints": []}))
        await cluster.change(NODES, "n1", user=me, subresource="status", status={"phase": "Running"})
        await refused("own Node object", cluster.delete(NODES, "n1", user=me))

        await cluster.create(LEASES, "n1", "kube-node-lease", user=me, spec={"holderIdentity": "n1"})
        await refused("lease of its own", cluster.create(LEASES, "n2", "kube-node-lease", user=me, spec={}))
        await cluster.node("n2")
        await cluster.pod("web", "n1")
        await refused("mirror pods", cluster.pod("own", "n1", user=me))
        status = {"phase": "Running"}
        await cluster.change(PODS, "web", "default", user=me, subresource="status", status=status)
        await refused("spec.nodeName set to itself", cluster.change(PODS, "web", "default", user=other, subresource="status", status={"phase": "Failed"}))  # noqa: E501  # fmt: skip
        await refused("set to itself", cluster.delete(PODS, "web", "default", user=other))
        await cluster.delete(PODS, "web", "default", user=me)


def test_others_are_none_of_the_node_authorizers_business() -> None:
    authorizer = NodeAuthorizer(NodeGraph())
    assert not authorizer.authorize(Attributes(person("jan"), "list", "", "services")).allowed
