"""From a definition to the catalogue's rows: one for each served version. Pure; the definition has been validated."""

from __future__ import annotations

import re
from collections.abc import Callable

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.crd.columns import columns_of
from parkube.controlplane.registry.crd.jsonpath import compile_path
from parkube.controlplane.registry.crd.strategy import CustomStrategy, PlainCustomStrategy
from parkube.controlplane.registry.resource import Converter, FieldLabel, Resource
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj


def rows_of(definition: Obj, converter: Converter | None = None) -> list[Resource]:
    """The rows of all served versions, the newest stable one first, as discovery prefers them."""
    served = {version["name"] for version in definition["spec"]["versions"] if version.get("served")}
    return [row for row in all_rows(definition, converter) if row.gvr.version in served]


def stored_versions(definition: Obj) -> set[str]:
    """The versions under which objects may lie."""
    storage = {version["name"] for version in definition["spec"]["versions"] if version.get("storage")}
    return storage | set((definition.get("status") or {}).get("storedVersions") or ())


def all_rows(definition: Obj, converter: Converter | None = None) -> list[Resource]:
    """The rows of all versions, served or not."""
    versions = definition["spec"]["versions"]
    storage = next(version["name"] for version in versions if version.get("storage"))
    stored = stored_versions(definition)
    ordered = sorted(versions, key=lambda version: priority(version["name"]))
    return [_row(definition, version, storage, stored, converter) for version in ordered]


def _row(definition: Obj, version: Obj, storage: str, stored: set[str], converter: Converter | None) -> Resource:
    spec, names = definition["spec"], definition["spec"]["names"]
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    sub = version.get("subresources") or {}
    scale = sub.get("scale")
    strategy = CustomStrategy(schema) if sub.get("status") is not None else PlainCustomStrategy(schema)
    api_version = f"{spec['group']}/{version['name']}"
    # Without a converter versions differ only in what they call themselves.
    alike = stored == {version["name"]} or converter is not None
    return Resource(
        GVR(spec["group"], version["name"], names["plural"]), names["kind"],
        names.get("singular") or names["kind"].lower(), spec["scope"] == "Namespaced", strategy,
        short_names=tuple(names.get("shortNames") or ()), categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("status", "scale") if sub.get(name) is not None),
        columns=columns_of(version), fields=tuple(map(_field, version.get("selectableFields") or ())), schema=schema,
        storage=GVR(spec["group"], storage, names["plural"]),
        to_storage=None if storage == version["name"] or converter else _renamed(f"{spec['group']}/{storage}"),
        converter=converter, from_storage=_reading(schema, "" if alike else api_version),
        scale_paths=_scale_paths(scale) if scale else None, crd=definition["metadata"]["name"],
        list_kind=names.get("listKind") or "",
    )  # fmt: skip


def _scale_paths(scale: Obj) -> tuple[str, str, str]:
    return scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath") or ""


def _renamed(api_version: str) -> Callable[[Obj], Obj]:
    return lambda obj: {**obj, "apiVersion": api_version}


def _reading(schema: Obj, api_version: str) -> Callable[[Obj], Obj] | None:
    """What a stored object is when it is read: of this version (empty: it is already), and with defaults that its
    schema has got since it was written. None where that changes nothing, so that stored bytes are served."""
    structural = schemas.structural(schema)
    if not structural.fills:
        return _renamed(api_version) if api_version else None

    def read(obj: Obj) -> Obj:
        structural.default(obj)
        return {**obj, "apiVersion": api_version} if api_version else obj

    return read


def _field(declared: Obj) -> FieldLabel:
    find = compile_path(declared["jsonPath"])

    def of(obj: Obj) -> str:
        found = find(obj)
        if not found or found[0] is None:
            return ""
        return str(found[0]).lower() if isinstance(found[0], bool) else str(found[0])

    return FieldLabel(declared["jsonPath"].lstrip("."), of)


def priority(version: str) -> tuple[int, int, int, str]:
    """A sort key: `v2`, `v1`, `v1beta2`, `v1alpha1`, then whatever else by name.

    Source: Kubernetes documentation, "Versions in CustomResourceDefinitions", version priority.
    """
    match = re.fullmatch(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?", version)
    if match is None:
        return (3, 0, 0, version)
    rank = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (rank, -int(match[1]), -int(match[3] or 0), version)
