"""Which certificate requests are approved by rule, which are signed, and which are left to people."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from parkube.controlplane.controllers.csr import CLIENT, CLIENT_KUBELET, SERVING_KUBELET
from parkube.controlplane.controllers.options import Options
from parkube.kubeapi.client import CSRS, EVENTS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339
from tests.fakes.virtual_time import clock, run
from tests.fakes.workloads import FakeCluster

KEY = ec.generate_private_key(ec.SECP256R1())


def request(name: str, organization: str, dns: Sequence[str] = ()) -> str:
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if dns:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(d) for d in dns]), critical=False)
    pem = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def csr(name: str, body: str, signer: str, usages: list[str], user: str, *groups: str) -> Obj:
    return {
        "metadata": {"name": name},
        "spec": {
            "request": body, "signerName": signer, "usages": ["digital signature", *usages], "username": user,
            "groups": list(groups),
        },
    }  # fmt: skip


def test_nodes_get_their_own_and_nothing_else() -> None:
    signed: list[int] = []

    def sign(pem: bytes, usages: Sequence[str], seconds: int) -> bytes:
        signed.append(seconds)
        return b"CERTIFICATE"

    node, group = "system:node:pi", "system:nodes"
    own = request(node, group)
    client, server = ["client auth"], ["server auth"]
    requests = [
        csr("join", own, CLIENT_KUBELET, client, "bootstrap", "system:bootstrappers"),
        csr("renew", own, CLIENT_KUBELET, client, node, group),
        csr("serve", request(node, group, ["pi"]), SERVING_KUBELET, server, node, group),
        csr("foreign", own, CLIENT_KUBELET, client, "system:node:other", group),
        csr("foreign-name", request(node, group, ["kubernetes"]), SERVING_KUBELET, server, node, group),
        csr("too-much", own, CLIENT_KUBELET, [*client, "server auth"], node, group),
        csr("person", request("jan", "dev"), CLIENT, client, "jan"),
        csr("broken", base64.b64encode(b"no request").decode(), CLIENT, client, "jan"),
        csr("other-signer", own, "example.org/own", client, node, group),
    ]

    async def story() -> None:
        async with FakeCluster("certificates", options=Options(sign_csr=sign)) as c:
            for obj in requests:
                c.client.put(CSRS, obj)
            await asyncio.sleep(1)
            state = {o["metadata"]["name"]: o.get("status") or {} for o in c.client.all(CSRS)}
            assert {name for name, s in state.items() if s.get("certificate")} == {"join", "renew", "serve"}
            assert state["broken"]["conditions"][0]["type"] == "Failed"
            assert not any(state[n] for n in ("foreign", "foreign-name", "too-much", "person", "other-signer"))

            for name, organization in (("person", "dev"), ("boss", "system:masters")):
                obj = csr(name, request("jan", organization), CLIENT, client, "jan")
                obj["spec"]["expirationSeconds"] = 3600
                obj["status"] = {"conditions": [{"type": "Approved", "status": "True"}]}  # kubectl certificate approve
                c.client.put(CSRS, obj)
            await asyncio.sleep(1)
            state = {o["metadata"]["name"]: o.get("status") or {} for o in c.client.all(CSRS)}
            assert state["person"]["certificate"] == base64.b64encode(b"CERTIFICATE").decode()
            assert signed[-1] == 3600
            assert "certificate" not in state["boss"]
            assert state["boss"]["conditions"][-1]["type"] == "Failed"

    run(story())


def test_old_events_and_requests_go_and_live_ones_stay() -> None:
    async def story() -> None:
        async with FakeCluster("expiry", agents=False) as c:
            for n in range(1200):
                meta = {"name": f"e{n:04}", "namespace": "default"}
                c.client.put(EVENTS, {"metadata": meta, "lastTimestamp": rfc3339(clock())})
            waiting = csr("waiting", "", CLIENT, [], "jan")
            done = csr("done", "", CLIENT, [], "jan")
            done["status"] = {"conditions": [{"type": "Denied", "lastUpdateTime": rfc3339(clock())}]}
            for obj in (waiting, done):
                c.client.put(CSRS, obj)
            await asyncio.sleep(3000)
            again = c.client.all(EVENTS)[0]
            c.client.put(EVENTS, {**again, "lastTimestamp": rfc3339(clock())})
            await asyncio.sleep(1000)
            assert [e["metadata"]["name"] for e in c.client.all(EVENTS)] == ["e0000"]
            assert [o["metadata"]["name"] for o in c.client.all(CSRS)] == ["waiting"]
            await asyncio.sleep(24 * 3600)
            assert c.client.all(CSRS) == c.client.all(EVENTS) == []

    run(story())
