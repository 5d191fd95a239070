"""Reviews: questions that are posted and answered, never kept. Rows only; `access` answers them."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.rows import virtual
from parkube.controlplane.registry.resource import Resource

_AUTHN, _AUTHZ = "authentication.k8s.io", "authorization.k8s.io"


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        virtual(_AUTHN, "v1", "selfsubjectreviews", "SelfSubjectReview"),
        virtual(_AUTHN, "v1", "tokenreviews", "TokenReview"),
        virtual(_AUTHZ, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True),
        virtual(_AUTHZ, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        virtual(_AUTHZ, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        virtual(_AUTHZ, "v1", "subjectaccessreviews", "SubjectAccessReview"),
    ]
