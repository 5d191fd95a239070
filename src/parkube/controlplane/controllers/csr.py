"""CertificateSigningRequests: agents' own are approved by rule, and what is approved is signed.

    pending --a node asks for itself--> approved --sign--> certificate issued
       +--anything else: waits for `kubectl certificate approve`

The signer names are Kubernetes' own; requests for any other signer are left to whoever serves it.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from typing import ClassVar, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from parkube.controlplane.controllers.options import Options, SignCsr
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import CSRS, GVR, NODES
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.objects import rfc3339

CLIENT_KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_KUBELET = "kubernetes.io/kubelet-serving"
CLIENT = "kubernetes.io/kube-apiserver-client"
SIGNERS = (CLIENT_KUBELET, SERVING_KUBELET, CLIENT)
_CLIENT_USAGES = {"digital signature", "client auth", "key encipherment"}
_SERVER_USAGES = {"digital signature", "server auth", "key encipherment"}


class Subject(NamedTuple):
    """What a request asks to be certified."""

    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    others: bool  # e-mail addresses or URIs


def read_request(pem: bytes) -> Subject:
    """Parse a PKCS#10 request. Raises ValueError."""
    csr = x509.load_pem_x509_csr(pem)
    names = [str(a.value) for a in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(a.value) for a in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    try:
        san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Subject(names[0] if names else "", groups, (), (), False)
    dns = tuple(san.get_values_for_type(x509.DNSName))
    ips = tuple(str(ip) for ip in san.get_values_for_type(x509.IPAddress))
    return Subject(names[0] if names else "", groups, dns, ips, len(san) != len(dns) + len(ips))


def approvable(spec: Obj, subject: Subject, addresses: Collection[str] = ()) -> str:
    """Why a request may be approved without a person; empty: it may not. `addresses`: those of the node that asks."""
    usages = set(spec.get("usages") or ())
    groups = spec.get("groups") or ()
    node = subject.common_name.startswith("system:node:") and subject.organizations == ("system:nodes",)
    own = spec.get("username") == subject.common_name and "system:nodes" in groups
    if not node or subject.others:
        return ""
    if (
        spec.get("signerName") == CLIENT_KUBELET
        and {"client auth"} <= usages <= _CLIENT_USAGES
        and not (subject.dns or subject.ips)
    ):
        if own:
            return "Auto approving self kubelet client certificate after SubjectAccessReview."
        if "system:bootstrappers" in groups:
            return "Auto approving kubelet client certificate after SubjectAccessReview."
    if spec.get("signerName") == SERVING_KUBELET and {"server auth"} <= usages <= _SERVER_USAGES:
        name = subject.common_name.removeprefix("system:node:")
        if own and (subject.dns or subject.ips) and {*subject.dns, *subject.ips} <= {name, *addresses}:
            return "Auto approving the serving certificate of a node that asks for itself."
    return ""


def refusal(spec: Obj, subject: Subject) -> str:
    """Why an approved request cannot be signed by its signer; empty: it can."""
    signer, usages = spec.get("signerName"), set(spec.get("usages") or ())
    if signer in (CLIENT_KUBELET, SERVING_KUBELET):
        if subject.organizations != ("system:nodes",):
            return "organization in certificate request must be system:nodes"
        if not subject.common_name.startswith("system:node:"):
            return "common name in certificate request must start with system:node:"
    if signer == SERVING_KUBELET:
        if not usages <= _SERVER_USAGES or "server auth" not in usages:
            return "invalid usages for a serving certificate"
        return "" if subject.dns or subject.ips else "a serving certificate needs a DNS name or an IP address"
    if not usages <= _CLIENT_USAGES or "client auth" not in usages:
        return "invalid usages for client certificate: must include client auth"
    if signer == CLIENT and "system:masters" in subject.organizations:
        return "certificates for system:masters are not signed on request"
    return ""


class CsrController(Reconciler):
    """Approves and signs."""

    name: ClassVar[str] = "certificates"
    inputs: ClassVar[tuple[GVR, ...]] = (CSRS, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (CSRS,)

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._sign: SignCsr | None = options.sign_csr
        self._lifetime = options.certificate_seconds
        env.views.csrs.subscribe(self._changed)

    def _changed(self, kind: str, key: str, old: str | None, new: str | None) -> None:
        if new in ("pending", "approved"):
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """One request: approve it if a rule says so, sign it if it is approved."""
        csr = await self.client.get(CSRS, key)
        spec, status = csr.get("spec") or {}, csr.get("status") or {}
        kinds = {c.get("type") for c in status.get("conditions") or ()}
        if spec.get("signerName") not in SIGNERS or status.get("certificate") or kinds & {"Denied", "Failed"}:
            return None
        pem = base64.b64decode(spec.get("request") or "")
        try:
            subject = read_request(pem)
        except ValueError as error:
            await self._fail(csr, f"the request cannot be read: {error}")
            return None
        if "Approved" not in kinds:
            why = approvable(spec, subject, await self._addresses(spec))
            if not why:
                return None
            csr = await self._condition(csr, "Approved", "AutoApproved", why, "approval")
        await self._issue(csr, pem, spec, subject)
        return None

    async def _addresses(self, spec: Obj) -> set[str]:
        """What the API knows as addresses of the node that asks for a serving certificate."""
        if spec.get("signerName") != SERVING_KUBELET:
            return set()
        try:
            node = await self.client.get(NODES, str(spec.get("username") or "").removeprefix("system:node:"))
        except NotFound:
            return set()
        return {str(a.get("address")) for a in (node.get("status") or {}).get("addresses") or ()}

    async def _issue(self, csr: Obj, pem: bytes, spec: Obj, subject: Subject) -> None:
        why = refusal(spec, subject)
        if why:
            await self._fail(csr, why)
            return
        if self._sign is None:
            return
        asked = int(spec.get("expirationSeconds") or self._lifetime)
        usages: Sequence[str] = spec.get("usages") or ()
        certificate = self._sign(pem, usages, max(600, min(asked, self._lifetime)))
        status = {**(csr.get("status") or {}), "certificate": base64.b64encode(certificate).decode()}
        await self.client.update(CSRS, {**csr, "status": status}, subresource="status")

    async def _fail(self, csr: Obj, why: str) -> None:
        await self._condition(csr, "Failed", "SignerValidationFailure", why, "status")

    async def _condition(self, csr: Obj, kind: str, reason: str, message: str, subresource: str) -> Obj:
        now = rfc3339(self.clock())
        condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastUpdateTime": now,
            "lastTransitionTime": now,
        }
        status = csr.get("status") or {}
        fresh = {**csr, "status": {**status, "conditions": [*(status.get("conditions") or ()), condition]}}
        return await self.client.update(CSRS, fresh, subresource=subresource)
