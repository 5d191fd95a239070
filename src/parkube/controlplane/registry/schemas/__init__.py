"""Schemas at work: is this object of the form its kind has? Types, unknown fields and required ones, with exact paths.

`decode` is what the registry calls on every object that comes in, before defaulting. Built-in kinds are checked by
compiled shapes, made when first used; a row with a schema of its own (a custom resource) by `structural`.
Defaults, enums and rules across fields belong to strategies.
"""

from __future__ import annotations

from parkube.controlplane.registry.resource import Context, Resource
from parkube.controlplane.registry.schemas import generated
from parkube.controlplane.registry.schemas.compile import Compiler
from parkube.controlplane.registry.schemas.shapes import Findings, Shape
from parkube.controlplane.registry.schemas.structural import Structural
from parkube.kubeapi.errors import BadRequest, Cause, Obj

__all__ = [
    "Findings",
    "Shape",
    "Structural",
    "decode",
    "decode_as",
    "object_meta",
    "shape",
    "shape_of_gvk",
    "structural",
]

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_compiler = Compiler()
_names: dict[tuple[str, str, str], str] = {}
_structural: dict[int, tuple[Obj, Structural]] = {}


def shape_of_gvk(group: str, version: str, kind: str) -> Shape | None:
    """The shape of a built-in kind, listed or not in the catalogue (Scale, Eviction, DeleteOptions…)."""
    if not _names:
        _names.update(generated.names())
    name = _names.get((group, version, kind))
    if name is None:
        return None
    return _compiler.get(name) or _compiler.compile(name, generated.definitions())


def structural(schema: Obj) -> Structural:
    """A custom resource's schema (`openAPIV3Schema`), compiled once as long as this very dict lives."""
    found = _structural.get(id(schema))
    if found is None or found[0] is not schema:
        if len(_structural) > 500:
            _structural.clear()
        found = _structural[id(schema)] = (schema, Structural(schema))
    return found[1]


def shape(resource: Resource) -> Shape | None:
    """The row's shape: for decoding, and for the patch keys of strategic merge. None for a custom resource."""
    if resource.schema is not None:
        return None
    return shape_of_gvk(resource.gvr.group, resource.gvr.version, resource.kind)


def object_meta() -> Shape:
    """The shape of every kind's `metadata`."""
    return _compiler.get(_OBJECT_META) or _compiler.compile(_OBJECT_META, generated.definitions())


def decode(resource: Resource, obj: Obj, context: Context) -> list[Cause]:
    """Bring `obj` into its kind's form, in place: nulls and unknown fields go, quantities become canonical.

    Returns the required fields that are missing, for the caller to join with the strategy's faults (always empty for
    custom resources, whose strategy validates values). Unknown fields: `Strict` refuses, `Warn` (the default) adds to
    `context.warnings`, `Ignore` is silent. Raises `BadRequest` naming all wrong types, or under Strict all unknown
    fields.
    """
    if resource.schema is None:
        return decode_as((resource.gvr.group, resource.gvr.version, resource.kind), obj, context)
    found = Findings()
    _clean_metadata(obj, resource.kind, found)
    found.unknown += structural(resource.schema).prune(obj)
    _tell(resource.gvr.version, resource.kind, found, context)
    return []


def decode_as(gvk: tuple[str, str, str], obj: Obj, context: Context) -> list[Cause]:
    """`decode` for a built-in (group, version, kind) that no row has: the body of a subresource, a review."""
    known = shape_of_gvk(*gvk)
    if known is None or (known.fast(obj) and not context.duplicates):
        return []
    found = Findings()
    known.clean(obj, "", "", gvk[2], found)
    _tell(gvk[1], gvk[2], found, context)
    return found.missing


def _clean_metadata(obj: Obj, kind: str, found: Findings) -> None:
    known = object_meta()
    metadata = obj.get("metadata")
    if metadata is not None and not known.fast(metadata):
        known.clean(metadata, "metadata", "metadata", kind, found)


def _tell(version: str, kind: str, found: Findings, context: Context) -> None:
    if found.mistyped:
        words = [cause.message for cause in found.mistyped]
        raise _cannot(version, kind, ", ".join(words), found.mistyped)
    unknown = found.unknown
    if (unknown or context.duplicates) and context.field_validation != "Ignore":
        words = [f'unknown field "{path}"' for path in unknown]
        if context.field_validation == "Strict":
            causes = [Cause("FieldValueInvalid", word, path) for word, path in zip(words, unknown, strict=True)]
            raise _cannot(version, kind, "strict decoding error: " + ", ".join(_ordered(context, words)), causes)
        context.warnings.extend(words + context.duplicates)


def _ordered(context: Context, unknown: list[str]) -> list[str]:
    """All faults of a strict reading as the API tells them: those of YAML's parser in one, before the others."""
    found = context.duplicates
    if found and found[0].startswith("line "):
        return ["yaml: unmarshal errors:\n  " + "\n  ".join(found), *unknown]
    return unknown + found


def _cannot(version: str, kind: str, words: str, causes: list[Cause]) -> BadRequest:
    return BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {words}', causes=causes)
