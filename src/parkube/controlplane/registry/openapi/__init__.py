"""OpenAPI v2 and v3 of what is served, as bytes: the built-in kinds' from files made at build, custom resources' added.

Nothing here holds a document as objects: files are read when asked for, gzip-compressed ones as they lie on disk.
"""

from __future__ import annotations

from parkube.controlplane.registry.catalogue import Catalogue


def openapi_v2(catalogue: Catalogue, protobuf: bool = False) -> bytes:
    """`/openapi/v2`, as JSON or as gnostic's protobuf Document."""
    raise NotImplementedError


def openapi_v3_index(catalogue: Catalogue) -> bytes:
    """`/openapi/v3`: where each group version's document is, with its hash in the URL."""
    raise NotImplementedError


def openapi_v3(catalogue: Catalogue, group_version: str) -> bytes | None:
    """`/openapi/v3/<group_version>` (`api/v1`, `apis/apps/v1`); None where nothing is served."""
    raise NotImplementedError
