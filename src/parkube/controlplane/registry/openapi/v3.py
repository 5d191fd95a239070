"""OpenAPI v3, one document a group version, from operations and definitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from parkube.controlplane.registry.openapi.paths import Operation
from parkube.controlplane.registry.schemas.definitions import INT_OR_STRING, QUANTITY, REF
from parkube.kubeapi.errors import Obj

_SCHEMAS = "#/components/schemas/"


def document(operations: Iterable[Operation], definitions: dict[str, Obj]) -> Obj:
    """The document of the group version that `operations` belong to; `definitions` are those they reach."""
    paths: dict[str, Obj] = {}
    for operation in operations:
        item = paths.setdefault(operation.path, _path_item(operation.path))
        item.setdefault(operation.method, _operation(operation))
    schemas = {name: schema(body, name) for name, body in definitions.items()}
    info = {"title": "Kubernetes", "version": "v1.36.0"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _path_item(path: str) -> Obj:
    words = {"name": "name of the object", "namespace": "object name and auth scope, such as for teams and projects"}
    parameters = [
        {"name": name, "in": "path", "description": text, "required": True, "schema": {"type": "string"}}
        for name, text in words.items()
        if "{" + name + "}" in path
    ]
    return {"parameters": parameters} if parameters else {}


def _operation(operation: Operation) -> Obj:
    new: Obj = {
        "operationId": operation.id,
        "parameters": [
            {"name": p.name, "in": "query", "description": p.description, "schema": {"type": p.type}}
            for p in operation.parameters
        ],
        "responses": {"200": {"description": "OK", **_content(operation.answer, ("application/json",))}},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.gvk,
    }
    if operation.body:
        types = operation.patch_types if operation.action == "patch" else ("*/*",)
        new["requestBody"] = _content(operation.body, types)
    return new


def _content(name: str, types: tuple[str, ...]) -> Obj:
    if not name:
        return {}
    return {"content": {one: {"schema": {"$ref": _SCHEMAS + name}} for one in types}}


def schema(node: Any, name: str = "") -> Any:
    """A definition in v3's form: references with words beside them become `allOf`."""
    if name == INT_OR_STRING:
        return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
    if name == QUANTITY:
        return {"description": node.get("description", ""), "oneOf": [{"type": "string"}, {"type": "number"}]}
    if isinstance(node, list):
        return [schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    new = {key: schema(value) for key, value in node.items() if key != "$ref" or not isinstance(reference, str)}
    if not isinstance(reference, str):
        return new
    target = {"$ref": _SCHEMAS + reference.removeprefix(REF)}
    return {"allOf": [target], **new} if new else target
