"""CertificateSigningRequests: who asks is written down by us; approving and signing need the right on the signer.

Source: Kubernetes documentation, "Certificates and Certificate Signing Requests", authorization.
"""

from __future__ import annotations

import base64
import binascii

from parkube.controlplane.access.admission.plugin import Plugin, name_of, refused
from parkube.controlplane.access.authz import MASTERS, Attributes, Authorizer
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import CSRS
from parkube.kubeapi.errors import Obj

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


class CertificateRequests(Plugin):
    """Fills in the requestor, and checks approvals and signatures."""

    kinds, operations = frozenset({CSRS}), frozenset({"CREATE", "UPDATE"})

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Changes `spec` at creation. Raises Forbidden."""
        if new is None:
            return
        spec = new.setdefault("spec", {})
        if operation == "CREATE":
            user = context.user
            spec.update(username=user.name, uid=user.uid, groups=list(user.groups))
            spec["extra"] = {key: list(values) for key, values in user.extra}
            if spec.get("signerName") == CLIENT_SIGNER and _asks_for_masters(spec.get("request")):
                why = f'use of {CLIENT_SIGNER} signer with group "{MASTERS}" is not allowed'
                raise refused(resource, name_of(name, new), why)
        elif operation == "UPDATE" and subresource == "approval":
            self._require(resource, name, "approve", spec, context)
        elif operation == "UPDATE" and subresource == "status":
            before = ((old or {}).get("status") or {}).get("certificate")
            if (new.get("status") or {}).get("certificate") != before:
                self._require(resource, name, "sign", spec, context)

    def _require(self, resource: Resource, name: str, verb: str, spec: Obj, context: Context) -> None:
        signer = str(spec.get("signerName", ""))
        domain = signer.partition("/")[0]
        for target in (signer, f"{domain}/*"):
            asked = Attributes(context.user, verb, "certificates.k8s.io", "signers", name=target)
            if self._authorizer.authorize(asked).allowed:
                return
        raise refused(resource, name, f'user not permitted to {verb} requests with signerName "{signer}"')


def _asks_for_masters(request: object) -> bool:
    """Whether the PEM asks for the group of masters; what is not a request at all is for validation to refuse."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        pem = base64.b64decode(str(request), validate=True)
        subject = x509.load_pem_x509_csr(pem).subject
    except (binascii.Error, ValueError):
        return False
    return any(part.value == MASTERS for part in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
