"""OpenAPI v2 (Swagger 2.0) from operations and definitions. Makes dicts; `gnostic` makes protobuf of them."""

from __future__ import annotations

from collections.abc import Iterable

from parkube.controlplane.registry.openapi.paths import Operation
from parkube.kubeapi.errors import Obj

HEAD: Obj = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}}
_JSON = ["application/json"]
_YAML = ["application/json", "application/yaml"]


def paths(operations: Iterable[Operation]) -> dict[str, Obj]:
    """The `paths` object."""
    found: dict[str, Obj] = {}
    for operation in operations:
        found.setdefault(operation.path, _path_item(operation.path)).setdefault(operation.method, _operation(operation))
    return found


def _path_item(path: str) -> Obj:
    names = [name for name in ("name", "namespace") if "{" + name + "}" in path]
    if not names:
        return {}
    words = {"name": "name of the object", "namespace": "object name and auth scope, such as for teams and projects"}
    return {
        "parameters": [
            {"description": words[name], "in": "path", "name": name, "required": True, "type": "string"}
            for name in names
        ]
    }


def _operation(operation: Operation) -> Obj:
    parameters: list[Obj] = [
        {"description": p.description, "in": "query", "name": p.name, "type": p.type} for p in operation.parameters
    ]
    if operation.body:
        schema = {"$ref": "#/definitions/" + operation.body}
        required = operation.method != "delete"
        parameters.insert(
            0, {"in": "body", "name": "body", "schema": schema, **({"required": True} if required else {})}
        )
    answer: Obj = {"description": "OK"}
    if operation.answer:
        answer["schema"] = {"$ref": "#/definitions/" + operation.answer}
    return {
        "consumes": list(operation.patch_types) if operation.action == "patch" else ["*/*"],
        "operationId": operation.id,
        "parameters": parameters,
        "produces": _YAML if operation.answer else ["text/plain"],
        "responses": {"200": answer, "401": {"description": "Unauthorized"}},
        "schemes": ["https"],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.gvk,
    }


_ONLY_V3 = (
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "nullable",
    "default",
    "example",
    "externalDocs",
    "x-kubernetes-validations",
)


_FIELDS = ("properties", "items", "type")
_KEEPS = "x-kubernetes-preserve-unknown-fields"


def downgraded(schema: Obj) -> Obj:
    """A custom resource's definition as v2 can say it; one that keeps unknown fields at its root says of itself only
    what kind it is, so that clients that check by v2 refuse none of its fields."""
    if schema.get(_KEEPS):
        return {"type": "object"} | {key: value for key, value in schema.items() if key in _MARKS}
    return _plain(schema)


_MARKS = ("x-kubernetes-group-version-kind", "x-kubernetes-selectable-fields")


def _plain(schema: Obj) -> Obj:
    new = {key: value for key, value in schema.items() if key not in _ONLY_V3}
    if new.get("x-kubernetes-int-or-string"):
        new.pop("type", None)
    if new.get(_KEEPS) or schema.get("nullable"):
        new = {key: value for key, value in new.items() if key not in _FIELDS}
    if "properties" in new:
        below = new["properties"]
        new["properties"] = {key: _plain(value) for key, value in below.items()}
        required = [key for key in new.pop("required", ()) if not (below.get(key) or {}).get("nullable")]
        new |= {"required": required} if required else {}
    for key in ("items", "additionalProperties"):
        if isinstance(new.get(key), dict):
            if key == "additionalProperties" and new[key].get("nullable"):
                new.pop("required", None)
            new[key] = _plain(new[key])
    return new
