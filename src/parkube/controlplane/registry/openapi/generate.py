"""Makes the generated files: terse definitions for the checkers, and the built-in kinds' OpenAPI. Run at build."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import orjson

from parkube.controlplane.registry.kinds import builtin_rows
from parkube.controlplane.registry.kinds.subresources import subresource
from parkube.controlplane.registry.openapi import gnostic, v2, v3
from parkube.controlplane.registry.openapi.paths import META, Names, Operation, operations
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.schemas import definitions as schemas
from parkube.controlplane.registry.schemas import generated
from parkube.kubeapi.errors import Obj

_ALWAYS = (
    "APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions", "ListMeta", "ObjectMeta", "Patch",
    "Status", "WatchEvent",
)  # fmt: skip


def wanted(rows: list[Resource], published: dict[str, Obj]) -> dict[str, Obj]:
    """The definitions that the rows can reach."""
    names = schemas.by_gvk(published)
    kinds = set()
    for row in rows:
        group, version = row.gvr.group, row.gvr.version
        kinds |= {(group, version, row.kind), (group, version, row.list_kind)}
        for name in row.subresources:
            sub = subresource(row, name)
            kinds.add((sub.group, sub.version, sub.kind) if sub.version else (group, version, sub.kind))
    roots = {names[kind] for kind in kinds if kind in names} | {META + name for name in _ALWAYS}
    return schemas.reachable(published, roots)


def group_version(row: Resource) -> str:
    """The path under `/openapi/v3/`: `api/v1`, `apis/apps/v1`."""
    return row.gvr.prefix.lstrip("/")


def v3_document(rows: list[Resource], names: Names, definitions: dict[str, Obj]) -> bytes:
    """One group version's document; `definitions` may hold more than it needs."""
    found = list(operations(rows, names))
    needed = schemas.reachable(definitions, _roots(found) | {names.of(*row.gvr[:2], row.kind) for row in rows})
    return orjson.dumps(v3.document(found, needed))


def _roots(found: list[Operation]) -> set[str]:
    return {name for operation in found for name in (operation.body, operation.answer) if name}


def generate(folder: Path) -> None:
    """Write all files; the stamp last, so that half a set never counts."""
    published = schemas.source()
    rows = builtin_rows()
    definitions = wanted(rows, published)
    names = Names(schemas.by_gvk(definitions))
    paths = v2.paths(operations(rows, names))
    files = {
        generated.DEFINITIONS: orjson.dumps(schemas.compact(definitions)),
        generated.NAMES: orjson.dumps([[*kind, name] for kind, name in names.by_kind.items()]),
        generated.V2_PATHS: orjson.dumps(paths)[1:-1],
        generated.V2_DEFINITIONS: orjson.dumps(definitions)[1:-1],
        generated.V2_PROTOBUF: gnostic.head(v2.HEAD) + gnostic.body(paths, definitions),
    }
    versions: dict[str, list[Resource]] = {}
    for row in rows:
        versions.setdefault(group_version(row), []).append(row)
    hashes = {}
    for version, members in versions.items():
        content = v3_document(members, names, definitions)
        files[generated.v3_file(version)] = content
        hashes[version] = hashlib.sha256(content).hexdigest()[:32].upper()
    files[generated.V3_HASHES] = orjson.dumps(hashes)
    for name, content in files.items():
        _write(folder / name, content)
    _write(folder / generated.STAMP, generated.stamp().encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
