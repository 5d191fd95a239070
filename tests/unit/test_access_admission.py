"""What happens to objects on their way in: accounts, tolerations, addresses, namespaces, certificate requests."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from parkube.controlplane.access.admission.pools import PoolFull, Taken, ip_pool, port_pool
from parkube.controlplane.registry.resource import Context
from parkube.kubeapi.client import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    CONFIGMAPS,
    CSRS,
    NAMESPACES,
    PODS,
    SERVICEACCOUNTS,
    SERVICES,
)
from parkube.kubeapi.errors import Forbidden, Invalid, NotFound
from tests.fakes.cluster import Cluster, person

CONTAINER = {"name": "app", "image": "nginx"}
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


async def test_a_pod_gets_its_account_its_token_and_five_minutes() -> None:
    async with Cluster() as cluster:
        pulls = [{"name": "registry"}]
        await cluster.create(SERVICEACCOUNTS, "default", "default", imagePullSecrets=pulls)
        spec = {"containers": [CONTAINER], "initContainers": [{**CONTAINER, "name": "init"}]}
        pod = (await cluster.create(PODS, "web", "default", spec=spec))["spec"]
        assert pod["serviceAccountName"] == pod["serviceAccount"] == "default"
        assert pod["imagePullSecrets"] == pulls
        (volume,) = pod["volumes"]
        assert volume["name"].startswith("kube-api-access-")
        assert volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3607
        for container in (*pod["containers"], *pod["initContainers"]):
            assert container["volumeMounts"] == [{"name": volume["name"], "readOnly": True, "mountPath": MOUNT}]
        assert [(t["key"], t["tolerationSeconds"]) for t in pod["tolerations"]] == [
            ("node.kubernetes.io/not-ready", 300), ("node.kubernetes.io/unreachable", 300),
        ]  # fmt: skip


async def test_tolerations_that_an_update_leaves_out_come_back() -> None:
    async with Cluster() as cluster:
        pod = await cluster.pod("one")
        wet = {"key": "wet", "operator": "Exists", "effect": "NoSchedule"}
        changed = await cluster.change(PODS, "one", "default", spec={**pod["spec"], "tolerations": [wet]})
        assert [t["key"] for t in changed["spec"]["tolerations"]] == [
            "wet", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
        ]  # fmt: skip


async def test_a_pod_that_says_otherwise_is_left_alone() -> None:
    async with Cluster() as cluster:
        await cluster.create(SERVICEACCOUNTS, "shy", "default", automountServiceAccountToken=False)
        pod = (await cluster.pod("one", serviceAccountName="shy"))["spec"]
        assert "volumes" not in pod
        pod = (await cluster.pod("two", serviceAccountName="shy", automountServiceAccountToken=True))["spec"]
        assert len(pod["volumes"]) == 1
        own = {**CONTAINER, "volumeMounts": [{"name": "mine", "mountPath": MOUNT}]}
        volumes = [{"name": "mine", "emptyDir": {}}]
        pod = (await cluster.pod("three", containers=[own], volumes=volumes, tolerations=[{"operator": "Exists"}]))[
            "spec"
        ]
        assert [volume["name"] for volume in pod["volumes"]] == ["mine"]
        assert pod["tolerations"] == [{"operator": "Exists"}]
        with pytest.raises(Forbidden) as caught:
            await cluster.create(
                PODS, "four", "default", spec={"containers": [CONTAINER], "serviceAccountName": "gone"}
            )
        assert caught.value.message == (
            'pods "four" is forbidden: error looking up service account default/gone: serviceaccount "gone" not found'
        )


async def test_the_default_account_may_come_a_moment_later() -> None:
    async with Cluster() as cluster:
        row = cluster.row(PODS)
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web"},
            "spec": {"containers": [dict(CONTAINER)]},
        }
        waiting = asyncio.create_task(cluster.registry.create(row, "default", body, Context()))
        await asyncio.sleep(0)
        await cluster.create(SERVICEACCOUNTS, "default", "default")
        assert (await waiting)["spec"]["serviceAccountName"] == "default"


async def test_namespaces() -> None:
    async with Cluster() as cluster:
        assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= set(await cluster.names(NAMESPACES))
        with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
            await cluster.create(CONFIGMAPS, "c", "nowhere")
        with pytest.raises(Forbidden, match="this namespace may not be deleted"):
            await cluster.delete(NAMESPACES, "default")
        await cluster.create(NAMESPACES, "town", metadata={"finalizers": ["example.com/wait"]})
        await cluster.create(CONFIGMAPS, "before", "town")
        await cluster.delete(NAMESPACES, "town")
        with pytest.raises(
            Forbidden, match="unable to create new content in namespace town because it is being"
        ) as caught:
            await cluster.create(CONFIGMAPS, "after", "town")
        assert caught.value.causes[0].reason == "NamespaceTerminating"
        await cluster.change(CONFIGMAPS, "before", "town", data={"still": "writable"})


def _ports(*ports: int, **more: Any) -> list[dict[str, Any]]:
    return [{"port": 80 + at, "name": f"p{at}", **({"nodePort": p} if p else {}), **more} for at, p in enumerate(ports)]


async def test_services_get_addresses_and_ports_of_their_own() -> None:
    async with Cluster() as cluster:
        first = {"clusterIP": "10.43.0.1", "ports": _ports(0)}
        await cluster.create(SERVICES, "kubernetes", "default", spec=first)
        web = (await cluster.create(SERVICES, "web", "default", spec={"type": "NodePort", "ports": _ports(30123, 0)}))[
            "spec"
        ]
        assert web["clusterIP"].startswith("10.43.")
        assert web["clusterIPs"] == [web["clusterIP"]]
        assert web["ports"][0]["nodePort"] == 30123
        assert 30000 <= web["ports"][1]["nodePort"] <= 32767
        headless = (await cluster.create(SERVICES, "headless", "default", spec={"clusterIP": "None", "ports": _ports(0)}))["spec"]  # noqa: E501  # fmt: skip
        assert headless["clusterIPs"] == ["None"]
        clash = {"type": "NodePort", "clusterIP": web["clusterIP"], "ports": _ports(30123, 80)}
        with pytest.raises(Invalid) as caught:
            await cluster.create(SERVICES, "clash", "default", spec=clash)
        assert [(cause.field, cause.message.rpartition(": ")[2]) for cause in caught.value.causes] == [
            ("spec.clusterIPs", "provided IP is already allocated"),
            ("spec.ports[0].nodePort", "provided port is already allocated"),
            (
                "spec.ports[1].nodePort",
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            ),
        ]
        with pytest.raises(Invalid, match="is not in the valid range"):
            await cluster.create(SERVICES, "far", "default", spec={"clusterIP": "192.0.2.1", "ports": _ports(0)})
        # a dry run takes nothing
        wish = {"type": "NodePort", "clusterIP": "10.43.7.7", "ports": _ports(30200)}
        await cluster.create(SERVICES, "dry", "default", context=Context(dry_run=True), spec=wish)
        await cluster.create(SERVICES, "wet", "default", spec=wish)
        # an update that leaves them out keeps them
        kept = await cluster.change(SERVICES, "web", "default", spec={"type": "NodePort", "ports": _ports(0, 0)})
        assert (kept["spec"]["clusterIP"], kept["spec"]["ports"][0]["nodePort"]) == (web["clusterIP"], 30123)
        back = await cluster.change(SERVICES, "web", "default", spec={**kept["spec"], "type": "ClusterIP"})
        assert [port.get("nodePort") for port in back["spec"]["ports"]] == [None, None]
        udp = [
            {"port": 53, "name": "t", "nodePort": 30053},
            {"port": 53, "name": "u", "protocol": "UDP", "nodePort": 30053},
        ]
        await cluster.create(SERVICES, "dns", "default", spec={"type": "NodePort", "ports": udp})
        await cluster.delete(SERVICES, "web", "default")
        again = await cluster.create(SERVICES, "again", "default", spec={"type": "NodePort", "ports": _ports(30123)})
        assert again["spec"]["ports"][0]["nodePort"] == 30123


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 3), max_size=40))
def test_no_two_owners_hold_the_same_address(random: Any, steps: list[int]) -> None:
    now = [0.0]
    pool = ip_pool("10.0.0.0/28", random, lambda: now[0])
    held: dict[int, str] = {}
    for number, step in enumerate(steps):
        owner = f"o{number}"
        if step == 0 and held:
            value = random.choice(sorted(held))
            pool.release(value, held.pop(value))
        elif step == 1 and held:
            with pytest.raises(Taken):
                pool.reserve(random.choice(sorted(held)), owner)
        elif step == 2:
            pool.reserve(value := pool.pick(owner), owner) if len(held) < 14 else None
            now[0] += 61  # never seen again: the place is free after a while
        else:
            try:
                value = pool.pick(owner)
            except PoolFull:
                assert len(held) == 14
                continue
            assert value in pool
            assert value not in held
            pool.hold(value, owner)
            held[value] = owner


def test_low_ports_are_left_to_those_who_ask_for_them() -> None:
    import random

    pool = port_pool((30000, 32767), random.Random(1), lambda: 0.0)
    assert min(pool.pick(str(number)) for number in range(200)) >= 30086


def _request(*groups: str) -> str:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "jan")]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return base64.b64encode(csr.public_bytes(serialization.Encoding.PEM)).decode()


async def test_a_certificate_request_says_who_asks_and_needs_a_right_to_be_approved() -> None:
    async with Cluster() as cluster:
        signer = "kubernetes.io/kube-apiserver-client"
        spec = {"request": _request(), "signerName": signer, "usages": ["client auth"], "username": "root"}
        jan = person("jan", "dev")
        made = await cluster.create(CSRS, "jan", user=jan, spec=spec)
        assert (made["spec"]["username"], made["spec"]["groups"]) == ("jan", ["dev", "system:authenticated"])
        with pytest.raises(Forbidden, match="system:masters"):
            await cluster.create(CSRS, "up", user=jan, spec={**spec, "request": _request("system:masters")})
        approved = {"conditions": [{"type": "Approved", "status": "True", "reason": "x", "message": "y"}]}
        with pytest.raises(Forbidden, match=f'not permitted to approve requests with signerName "{signer}"'):
            await cluster.change(CSRS, "jan", user=jan, subresource="approval", status=approved)
        rule = {"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [signer]}  # noqa: E501  # fmt: skip
        await cluster.create(CLUSTERROLES, "approver", rules=[rule])
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"}
        await cluster.create(CLUSTERROLEBINDINGS, "approver", roleRef=ref, subjects=[{"kind": "User", "name": "jan"}])
        done = await cluster.change(CSRS, "jan", user=jan, subresource="approval", status=approved)
        assert done["status"]["conditions"][0]["type"] == "Approved"
        certificate = {**done["status"], "certificate": base64.b64encode(b"x").decode()}
        with pytest.raises(Forbidden, match="not permitted to sign"):
            await cluster.change(CSRS, "jan", user=jan, subresource="status", status=certificate)
