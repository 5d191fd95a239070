"""The published v1.36 definitions: read from `kubernetes-validate`, put back into OpenAPI's form, kept small on disk.

`source` is for the generator alone: it reads 1.6 MB. The server reads `compact`, the same without descriptions and with
only what the catalogue can reach, and holds nothing of it but the shapes it has compiled.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import orjson

from parkube.controlplane.registry.schemas import legacy
from parkube.kubeapi.errors import Obj

REF = "#/definitions/"
GVK = "x-kubernetes-group-version-kind"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


class DefinitionsMissing(Exception):
    """The definitions are not installed."""


def source() -> dict[str, Obj]:
    """All definitions by name, normalised: OpenAPI v2's form, `$ref`s as `#/definitions/…`, no nullable types."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise DefinitionsMissing("the package kubernetes-validate is not installed: its API definitions are needed")
    folders = sorted((Path(found.origin).parent / "kubernetes-json-schema").glob("v1.36.*-local"))
    if not folders:
        raise DefinitionsMissing("the installed kubernetes-validate has no definitions of Kubernetes v1.36")
    raw: dict[str, Obj] = orjson.loads((folders[-1] / "_definitions.json").read_bytes())["$defs"]
    definitions = {name: _definition(name, body) for name, body in raw.items()}
    definitions.update(legacy.definitions(definitions))
    return definitions


def _definition(name: str, body: Obj) -> Obj:
    if name == INT_OR_STRING:
        text = "IntOrString is a type that can hold an int32 or a string."
        return {"description": text, "type": "string", "format": "int-or-string"}
    if name == QUANTITY:
        text = 'Quantity is a fixed-point representation of a number, such as "500m", "1.5" or "2Gi".'
        return {"description": text, "type": "string"}
    new: Obj = _plain(body)
    if GVK in new:
        for key in ("apiVersion", "kind"):
            new.get("properties", {}).get(key, {}).pop("enum", None)
    return new


def _plain(node: Any) -> Any:
    """Nullable types as plain ones, references in OpenAPI's form; below every key."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    new = {key: _plain(value) for key, value in node.items()}
    kind = new.get("type")
    if isinstance(kind, list) and len(kind) == 2 and "null" in kind:
        new["type"] = next(one for one in kind if one != "null")
    if isinstance(new.get("$ref"), str):
        new["$ref"] = REF + new["$ref"].rsplit("/", 1)[1]
    return new


def references(node: Any) -> set[str]:
    """Names of the definitions that `node` refers to."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    found = set().union(*map(references, node.values()))
    if isinstance(node.get("$ref"), str):
        found.add(node["$ref"].removeprefix(REF))
    return found


def reachable(definitions: dict[str, Obj], roots: set[str]) -> dict[str, Obj]:
    """Those of `definitions` that `roots` need, sorted by name."""
    seen: set[str] = set()
    todo = [name for name in roots if name in definitions]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(references(definitions[name]) - seen)
    return {name: definitions[name] for name in sorted(seen)}


def by_gvk(definitions: dict[str, Obj]) -> dict[tuple[str, str, str], str]:
    """Definition names by (group, version, kind); kinds of many groups (DeleteOptions) are not in it."""
    found = {}
    for name, body in definitions.items():
        marks: list[Obj] = body.get(GVK) or []
        if len(marks) == 1:
            found[marks[0]["group"], marks[0]["version"], marks[0]["kind"]] = name
    return found


_PROSE = ("description", "externalDocs", "default")


def compact(definitions: dict[str, Obj]) -> dict[str, Obj]:
    """The same without prose."""
    return {name: _terse(body) for name, body in definitions.items()}


def _terse(node: Any, inside_properties: bool = False) -> Any:
    if isinstance(node, list):
        return [_terse(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _terse(value, key == "properties" and not inside_properties)
        for key, value in node.items()
        if inside_properties or key not in _PROSE
    }
