"""CertificateSigningRequest: row and rules. Signing is a controller's."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import KindStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource


class CertificateSigningRequestStrategy(KindStrategy):
    """The request stays; `approval` moves conditions, `status` the certificate."""


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest",
            CertificateSigningRequestStrategy(), namespaced=False, short="csr", subresources=("status", "approval"),
            fields=(label("spec.signerName"),),
        )
    ]  # fmt: skip
