"""CertificateSigningRequest: row and rules. Signing is a controller's, who may approve is admission's."""

from __future__ import annotations

import base64
import binascii
import re

from parkube.controlplane.registry.columns.certificates import CSR_COLUMNS
from parkube.controlplane.registry.kinds import checks, faults
from parkube.controlplane.registry.kinds.base import KindStrategy, child
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Cause, Obj

_USAGES = frozenset((
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
))  # fmt: skip
_SIGNER = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
_SIGNER_RULE = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_DECISIONS = ("Approved", "Denied")
_SHORTEST_S = 600


class CertificateSigningRequestStrategy(KindStrategy):
    """The request stays; `approval` moves conditions, `status` the certificate."""

    def prepare_update(self, new: Obj, old: Obj, subresource: str) -> None:
        status, before = new.get("status") or {}, old.get("status") or {}
        super().prepare_update(new, old, "status" if subresource else "")
        if subresource == "approval":
            new["status"] = {**before, "conditions": status.get("conditions") or []}
        elif not subresource:
            new["spec"] = old.get("spec") or {}
        for condition in (child(new, "status").get("conditions") or ()) if subresource else ():
            condition.setdefault("status", "True")

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if old is not None:
            return _condition_faults(obj, old) if subresource else []
        spec = obj.get("spec") or {}
        found = _request_faults(spec["request"]) if spec.get("request") else [faults.required("spec.request")]
        signer = spec.get("signerName")
        if not signer:
            found.append(faults.required("spec.signerName"))
        elif not _SIGNER.match(signer):
            found.append(faults.invalid("spec.signerName", signer, _SIGNER_RULE))
        usages = spec.get("usages") or []
        if not usages:
            found.append(faults.required("spec.usages"))
        for at, usage in enumerate(usages):
            found += checks.one_of(usage, f"spec.usages[{at}]", _USAGES)
            if usage in usages[:at]:
                found.append(faults.duplicate(f"spec.usages[{at}]", usage))
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < _SHORTEST_S:
            found.append(faults.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"))  # noqa: E501  # fmt: skip
        return found


def _request_faults(request: object) -> list[Cause]:
    try:
        pem = base64.b64decode(str(request or ""), validate=True)
    except (binascii.Error, ValueError):
        pem = b""
    if b"-----BEGIN CERTIFICATE REQUEST-----" in pem and b"-----END CERTIFICATE REQUEST-----" in pem:
        return []
    return [faults.invalid("spec.request", request, "PEM block type must be CERTIFICATE REQUEST")]


def _condition_faults(obj: Obj, old: Obj) -> list[Cause]:
    found: list[Cause] = []
    conditions = (obj.get("status") or {}).get("conditions") or ()
    kinds = [condition.get("type") for condition in conditions]
    for at, kind in enumerate(kinds):
        path = f"status.conditions[{at}]"
        if not kind:
            found.append(faults.required(f"{path}.type"))
        elif kind in kinds[:at]:
            found.append(faults.duplicate(f"{path}.type", kind))
        if kind in (*_DECISIONS, "Failed") and conditions[at].get("status") != "True":
            words = "must be True"
            found.append(faults.invalid(f"{path}.status", conditions[at].get("status"), words))
    if set(_DECISIONS) <= set(kinds):
        at = max(kinds.index(kind) for kind in _DECISIONS)
        words = "Approved and Denied conditions are mutually exclusive"
        found.append(faults.invalid(f"status.conditions[{at}].type", kinds[at], words))
    before = [condition.get("type") for condition in (old.get("status") or {}).get("conditions") or ()]
    for kind in _DECISIONS:
        if kind in before and kind not in kinds:
            words = f'updates may not remove a condition of type "{kind}"'
            found.append(faults.forbidden("status.conditions", words))
    return found


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest",
            CertificateSigningRequestStrategy(), namespaced=False, short="csr", subresources=("status", "approval"),
            fields=(label("spec.signerName"),), columns=CSR_COLUMNS,
        )
    ]  # fmt: skip
