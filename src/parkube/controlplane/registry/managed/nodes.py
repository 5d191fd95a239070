"""What ownership must know of a schema: which values are one field, which are maps or lists of fields of their own.

One view over the shapes of built-in kinds and the schemas of custom resources. Nodes are made as far as they are
walked, and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import orjson

from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.schemas.shapes import ListShape, MapShape, ObjectShape, Shape
from parkube.kubeapi.errors import Obj

LEAF, MAP, LIST, DEDUCED = "leaf", "map", "list", "deduced"
_KEY_DEFAULTS = {"protocol": "TCP"}  # of list keys in built-in kinds, which the published definitions leave out
_PRESERVE = "x-kubernetes-preserve-unknown-fields"

Make = Callable[[], "Node"]


class NoKey(Exception):
    """An item of a list has no key; the message says which."""


class Node:
    """One place in a schema. `kind`: LEAF (owned as a whole), MAP, LIST (by keys, or a set), DEDUCED (any value)."""

    __slots__ = ("_element", "_fields", "defaults", "keys", "kind", "struct")

    def __init__(
        self, kind: str, fields: dict[str, Node | Make] | None = None, element: Node | Make | None = None,
        keys: tuple[str, ...] = (), defaults: Obj | None = None,
    ) -> None:  # fmt: skip
        self.kind, self.keys, self.defaults = kind, keys, defaults or {}
        self.struct = fields is not None
        self._fields = fields or {}
        self._element = element

    def field(self, name: str) -> Node:
        """What lies at a field or key of a map; where the schema says nothing, any value may."""
        found = self._fields.get(name)
        if found is None:
            return self.element
        if not isinstance(found, Node):
            found = self._fields[name] = found()
        return found

    @property
    def element(self) -> Node:
        """A list's items, or a map's values."""
        if self._element is None:
            return ANYTHING
        if not isinstance(self._element, Node):
            self._element = self._element()
        return self._element

    def named(self, name: str) -> bool:
        """Whether the schema names the field."""
        return name in self._fields

    def takes(self, name: str) -> bool:
        """Whether a field of that name may be there at all."""
        return name in self._fields or self._element is not None

    def kind_for(self, value: Any) -> str:
        """How `value` is owned here; a value of another type than the schema's is one field."""
        if isinstance(value, dict):
            return MAP if self.kind in (MAP, DEDUCED) else LEAF
        return LIST if self.kind == LIST and isinstance(value, list) else LEAF

    def item_key(self, item: Any) -> str:
        """The path element of a list's item. Raises NoKey."""
        if not self.keys:
            return f"v:{orjson.dumps(item).decode()}"
        if not isinstance(item, dict):
            raise NoKey("associative list with keys may not have non-map elements")
        found = {}
        for key in self.keys:
            value = item.get(key, self.defaults.get(key))
            if value is None:
                text = f'associative list with keys has an element that omits key field "{key}"'
                raise NoKey(f"{text} (and doesn't have default value)")
            found[key] = value
        if len(found) == 1 and value.__class__ is str:
            return _named(key, value)
        return f"k:{orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()}"


@lru_cache(maxsize=4096)  # names of containers, types of conditions: few, and written again and again
def _named(key: str, value: str) -> str:
    return f"k:{orjson.dumps({key: value}).decode()}"


ANYTHING = Node(DEDUCED)
ONE = Node(LEAF)
_of_shape: dict[int, tuple[Shape, Node]] = {}
_of_schema: dict[int, tuple[Obj, Node]] = {}


def node_of(row: Resource) -> Node:
    """The root of a row's schema."""
    if row.schema is None:
        shape = schemas.shape(row)
        return ANYTHING if shape is None else shape_node(shape)
    found = _of_schema.get(id(row.schema))
    if found is None or found[0] is not row.schema:
        if len(_of_schema) > 500:
            _of_schema.clear()
        found = _of_schema[id(row.schema)] = (row.schema, _custom(row.schema, root=True))
    return found[1]


def shape_node(shape: Shape) -> Node:
    """The node of a built-in kind's shape."""
    found = _of_shape.get(id(shape))
    if found is None:
        found = _of_shape[id(shape)] = (shape, _from_shape(shape))
    return found[1]


def _from_shape(shape: Shape) -> Node:
    if shape.map_type == "atomic":
        return ONE
    if isinstance(shape, ObjectShape):
        if shape.open_:
            return ANYTHING
        return Node(MAP, {name: partial(shape_node, below) for name, below in shape.fields.items()})
    if isinstance(shape, MapShape):
        return Node(MAP, element=partial(shape_node, shape.items))
    if isinstance(shape, ListShape):
        if shape.list_type not in ("map", "set"):
            return ONE
        defaults = {key: _KEY_DEFAULTS[key] for key in shape.list_keys if key in _KEY_DEFAULTS}
        return Node(LIST, element=partial(shape_node, shape.items), keys=shape.list_keys, defaults=defaults)
    return ANYTHING if type(shape) is Shape else ONE


def _meta() -> Node:
    shape = schemas.object_meta()
    return shape_node(shape)


def _custom(schema: Obj, *, root: bool = False) -> Node:
    """The node of a custom resource's schema."""
    kind = schema.get("type")
    if schema.get("x-kubernetes-map-type") == "atomic" or schema.get("x-kubernetes-int-or-string"):
        return ONE
    if kind == "array":
        return _custom_list(schema)
    if kind in ("string", "integer", "number", "boolean"):
        return ONE
    properties: Obj = schema.get("properties") or {}
    fields: dict[str, Node | Make] = {
        name: partial(_custom, below) for name, below in properties.items() if isinstance(below, dict)
    }
    additional = schema.get("additionalProperties")
    element: Node | Make | None = None
    if isinstance(additional, dict):
        element = partial(_custom, additional)
    elif additional or schema.get(_PRESERVE) or (not properties and kind != "object"):
        element = ANYTHING
    if root or schema.get("x-kubernetes-embedded-resource"):
        fields |= {"apiVersion": ONE, "kind": ONE, "metadata": _meta}
    return Node(MAP, fields, element)


def _custom_list(schema: Obj) -> Node:
    items: Obj = schema.get("items") or {}
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set":
        return Node(LIST, element=partial(_custom, items))
    if kind != "map":
        return ONE
    properties: Obj = items.get("properties") or {}
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    defaults = {key: properties[key]["default"] for key in keys if "default" in (properties.get(key) or {})}
    return Node(LIST, element=partial(_custom, items), keys=keys, defaults=defaults)
