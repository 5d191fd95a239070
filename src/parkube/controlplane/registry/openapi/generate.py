"""Makes the generated files: terse definitions for the checkers, and the built-in kinds' OpenAPI. Run at build."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from parkube.controlplane.registry.kinds import builtin_rows
from parkube.controlplane.registry.kinds.subresources import subresource
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.schemas import definitions as schemas
from parkube.controlplane.registry.schemas import generated
from parkube.kubeapi.errors import Obj

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_ALWAYS = (
    "APIGroup",
    "APIGroupList",
    "APIResourceList",
    "APIVersions",
    "DeleteOptions",
    "Patch",
    "Status",
    "WatchEvent",
)


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
    roots = {names[kind] for kind in kinds if kind in names} | {_META + name for name in _ALWAYS}
    return schemas.reachable(published, roots)


def generate(folder: Path) -> None:
    """Write all files; the stamp last, so that half a set never counts."""
    published = schemas.source()
    rows = builtin_rows()
    definitions = wanted(rows, published)
    files = {
        generated.DEFINITIONS: orjson.dumps(schemas.compact(definitions)),
        generated.NAMES: orjson.dumps([[*kind, name] for kind, name in schemas.by_gvk(definitions).items()]),
    }
    for name, content in files.items():
        _write(folder / name, content)
    _write(folder / generated.STAMP, generated.stamp().encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
