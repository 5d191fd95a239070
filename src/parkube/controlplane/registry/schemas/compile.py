"""From definitions to shapes: each is compiled once, when first needed, and shared by all that refer to it."""

from __future__ import annotations

import re
from typing import Any

from parkube.controlplane.registry.schemas import definitions as source
from parkube.controlplane.registry.schemas.shapes import (
    Bytes,
    IntOrString,
    ListShape,
    MapShape,
    Number,
    ObjectShape,
    Quantity,
    Scalar,
    Shape,
    Time,
)
from parkube.kubeapi.errors import Obj

_REPORTED = re.compile(r"(Status|Condition|ContainerState\w*|SystemInfo|ContainerImage|AttachedVolume|Address|IP)$")
"""Definitions that controllers and agents report with: what they leave out is zero, as in Go, and no fault."""

_ZERO_IS_FINE = {
    "ControllerRevision": ("revision",), "EndpointSlice": ("endpoints",), "Event": ("metadata",),
    "CSINodeSpec": ("drivers",), "LimitRangeSpec": ("limits",),
}  # fmt: skip

STRING, BOOL, ANY = Scalar("string", str), Scalar("bool", bool), Shape()


class Compiler:
    """Holds the shapes made so far; `load` gives the definitions when one is missing."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {
            source.INT_OR_STRING: IntOrString("intstr.IntOrString"),
            source.QUANTITY: Quantity("resource.Quantity"),
        }
        self._scalars: dict[str, Shape] = {}

    def get(self, name: str) -> Shape | None:
        """The shape of a definition that was compiled before."""
        return self._shapes.get(name)

    def compile(self, name: str, definitions: dict[str, Obj]) -> Shape:
        """The shape of definition `name`, and all it needs."""
        known = self._shapes.get(name)
        if known is not None:
            return known
        body = definitions[name]
        if "properties" not in body:
            shape = self._node(body, definitions)
            if body.get("type") == "object" and "additionalProperties" not in body:
                shape = ObjectShape(_go(name), name.rsplit(".", 1)[1])
                shape.open_ = True
            self._shapes[name] = shape
            return shape
        new = ObjectShape(_go(name), name.rsplit(".", 1)[1])
        new.map_type = body.get("x-kubernetes-map-type", "")
        self._shapes[name] = new
        fields = {key: self._node(value, definitions) for key, value in body["properties"].items()}
        new.fields.update(fields)
        new.mandatory = tuple(body.get("required", ()))
        if not _REPORTED.search(new.name):
            lenient = _ZERO_IS_FINE.get(new.name, ())
            new.required = tuple(key for key in body.get("required", ()) if key not in lenient)
        return new

    def _node(self, node: Obj, definitions: dict[str, Obj]) -> Shape:
        if "$ref" in node:
            shape = self.compile(node["$ref"].removeprefix(source.REF), definitions)
        elif node.get("type") == "array":
            shape = ListShape(self._node(node.get("items") or {}, definitions))
        elif node.get("type") == "object" and isinstance(node.get("additionalProperties"), dict):
            shape = MapShape(self._node(node["additionalProperties"], definitions))
        else:
            shape = self._scalar(node)
        return shape.marked(node)

    def _scalar(self, node: Obj) -> Shape:
        kind, form = node.get("type"), node.get("format", "")
        key = f"{kind}/{form}"
        if key not in self._scalars:
            self._scalars[key] = _scalar(kind, form)
        return self._scalars[key]


def _scalar(kind: Any, form: str) -> Shape:
    if kind == "string":
        return {"date-time": Time("v1.Time"), "byte": Bytes("[]uint8")}.get(form, STRING)
    if kind == "boolean":
        return BOOL
    if kind == "integer":
        return Number(form or "int64")
    if kind == "number":
        return Number("float64")
    if kind == "object":
        return MapShape(ANY)
    return ANY


def _go(name: str) -> str:
    """`v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`."""
    return ".".join(name.rsplit(".", 2)[1:])
