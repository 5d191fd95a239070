"""OpenAPI v2 and v3 of what is served, as bytes: the built-in kinds' from files made at build, custom resources' added.

Nothing here holds a document as objects, and the built-in kinds' parts are read from disk when they are asked for.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

import orjson

from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.openapi import custom, gnostic, v2
from parkube.controlplane.registry.openapi.generate import group_version as path_of
from parkube.controlplane.registry.openapi.generate import v3_document
from parkube.controlplane.registry.openapi.gnostic import MEDIA_TYPE as PROTOBUF
from parkube.controlplane.registry.openapi.paths import Names, operations
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.schemas import definitions as schemas
from parkube.controlplane.registry.schemas import generated
from parkube.kubeapi.errors import Obj

__all__ = ["PROTOBUF", "openapi_v2", "openapi_v3", "openapi_v3_index"]


class _Custom(NamedTuple):
    """What custom resources add, as bytes."""

    v2_paths: bytes
    v2_definitions: bytes
    v2_protobuf: bytes
    v3: dict[str, bytes]
    hashes: dict[str, str]


_NOTHING = _Custom(b"", b"", b"", {}, {})


def _custom_rows(catalogue: Catalogue) -> list[Resource]:
    return [row for row in catalogue if row.crd]


@lru_cache(maxsize=2)
def _custom(catalogue: Catalogue, generation: int) -> _Custom:
    rows = _custom_rows(catalogue)
    if not rows:
        return _NOTHING
    made = custom.definitions(rows)
    names = Names(generated.names() | custom.names(rows))
    paths = v2.paths(operations(rows, names))
    plain = {name: v2.downgraded(body) for name, body in made.items()}
    versions: dict[str, list[Resource]] = {}
    for row in rows:
        versions.setdefault(path_of(row), []).append(row)
    every: dict[str, Obj] = orjson.loads(b"{" + generated.read(generated.V2_DEFINITIONS) + b"}") | made
    documents = {
        version: v3_document(members, names, schemas.reachable(every, set(made)) | _meta(every))
        for version, members in versions.items()
    }
    hashes = {version: hashlib.sha256(content).hexdigest()[:32].upper() for version, content in documents.items()}
    return _Custom(
        orjson.dumps(paths)[1:-1], orjson.dumps(plain)[1:-1], gnostic.body(paths, plain), documents, hashes
    )  # fmt: skip


def _meta(every: dict[str, Obj]) -> dict[str, Obj]:
    roots = {name for name in every if name.startswith("io.k8s.apimachinery.pkg.apis.meta.v1.")}
    scale = {name for name in every if name.startswith("io.k8s.api.autoscaling.v1.Scale")}
    return schemas.reachable(every, roots | scale)


def openapi_v2(catalogue: Catalogue, protobuf: bool = False) -> bytes:
    """`/openapi/v2`, as JSON or as gnostic's protobuf Document (media type `PROTOBUF`)."""
    more = _custom(catalogue, catalogue.generation)
    if protobuf:
        return generated.read(generated.V2_PROTOBUF) + more.v2_protobuf
    paths = b",".join(filter(None, (generated.read(generated.V2_PATHS), more.v2_paths)))
    definitions = b",".join(filter(None, (generated.read(generated.V2_DEFINITIONS), more.v2_definitions)))
    head = orjson.dumps(v2.HEAD)[:-1]
    return b"".join((head, b',"paths":{', paths, b'},"definitions":{', definitions, b"}}"))


def openapi_v3_index(catalogue: Catalogue) -> bytes:
    """`/openapi/v3`: where each group version's document is, with its hash in the URL."""
    hashes = orjson.loads(generated.read(generated.V3_HASHES)) | _custom(catalogue, catalogue.generation).hashes
    url = "/openapi/v3/{}?hash={}"
    return orjson.dumps({"paths": {v: {"serverRelativeURL": url.format(v, h)} for v, h in sorted(hashes.items())}})


def openapi_v3(catalogue: Catalogue, group_version: str) -> bytes | None:
    """`/openapi/v3/<group_version>` (`api/v1`, `apis/apps/v1`); None where nothing is served."""
    own = _custom(catalogue, catalogue.generation).v3.get(group_version)
    if own is not None:
        return own
    if group_version not in orjson.loads(generated.read(generated.V3_HASHES)):
        return None
    return generated.read(generated.v3_file(group_version))
