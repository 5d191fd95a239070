"""The strategy of CustomResourceDefinition: what a definition may say, its defaults, and its finalizer.

Source: Kubernetes API reference, apiextensions.k8s.io/v1 CustomResourceDefinition.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from parkube.controlplane.registry.crd import names
from parkube.controlplane.registry.crd.conversion import conversion_faults
from parkube.controlplane.registry.crd.jsonpath import BadPath, compile_path
from parkube.controlplane.registry.crd.schema_rules import schema_faults
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.base import KindStrategy, child
from parkube.kubeapi.errors import Cause, Obj

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_LABEL_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_DOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_COLUMN_FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
_SELECTABLE, _MOST_SELECTABLE = ("string", "boolean", "integer"), 8
_SCALE_PATH = re.compile(r"(\.[A-Za-z_][-A-Za-z0-9_]*)+\Z")


class DefinitionStrategy(KindStrategy):
    """Rules over definitions. Whether their names are free is settled where they are served."""

    unconditional = False

    generation = True

    def default(self, obj: Obj) -> None:
        """Names that follow from the kind, and no conversion."""
        spec = child(obj, "spec")
        names = child(spec, "names")
        kind = names.get("kind") or ""
        if kind:
            names["singular"] = names.get("singular") or kind.lower()
            names["listKind"] = names.get("listKind") or f"{kind}List"
        conversion = child(spec, "conversion")
        conversion["strategy"] = conversion.get("strategy") or "None"
        service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
        if isinstance(service, dict) and service.get("port") is None:
            service["port"] = 443

    def linger(self, obj: Obj) -> bool:
        """When its deletion begins it gets the finalizer by which no object outlives its definition."""
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") and FINALIZER not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), FINALIZER]
        return False

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        """Every fault of the whole definition, its schemas included."""
        if subresource == "status" or (old is not None and obj.get("spec") == old.get("spec")):
            return []
        spec = obj.get("spec") or {}
        found = list(_identity(obj, spec))
        found += _names(spec.get("names") or {})
        found += _versions(spec.get("versions") or [])
        if old is not None:
            found += _changes(spec, old)
        return found


def _identity(obj: Obj, spec: Obj) -> Iterator[Cause]:
    group, plural = spec.get("group") or "", (spec.get("names") or {}).get("plural") or ""
    name = (obj.get("metadata") or {}).get("name") or ""
    if name != f"{plural}.{group}":
        yield faults.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield faults.required("spec.group")
    elif not _DOMAIN.match(group):
        yield faults.invalid("spec.group", group, _DOMAIN_TEXT)
    elif "." not in group:
        yield faults.invalid("spec.group", group, "should be a domain with at least one dot")
    else:
        reason, text = names.approval(obj)
        at = f"metadata.annotations[{names.APPROVED}]"
        if reason == "MissingAnnotation":
            yield faults.required(at, text)
        elif reason == "InvalidAnnotation":
            yield faults.invalid(at, obj["metadata"]["annotations"][names.APPROVED], text)
    scope = spec.get("scope")
    if not scope:
        yield faults.required("spec.scope")
    elif scope not in ("Cluster", "Namespaced"):
        yield faults.unsupported("spec.scope", scope, ("Cluster", "Namespaced"))
    if spec.get("preserveUnknownFields"):
        yield faults.invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema")
    yield from conversion_faults(spec.get("conversion") or {}, "spec.conversion")


def _names(given: Obj) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind"):
        value, path = given.get(key) or "", f"spec.names.{key}"
        mixed = key in ("kind", "listKind")
        if not value:
            yield faults.required(path)
        elif not _LABEL.match(value.lower() if mixed else value):
            prefix = "may have mixed case, but should otherwise match: " if mixed else ""
            yield faults.invalid(path, value, prefix + _LABEL_TEXT)
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        yield faults.invalid("spec.names.listKind", given["listKind"], "kind and listKind may not be the same")
    for key in ("shortNames", "categories"):
        for index, value in enumerate(given.get(key) or ()):
            if not _LABEL.match(value):
                yield faults.invalid(f"spec.names.{key}[{index}]", value, _LABEL_TEXT)


def _versions(versions: list[Obj]) -> Iterator[Cause]:
    if not versions:
        yield faults.required("spec.versions", "must have at least one version")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        if not _LABEL.match(name):
            yield faults.invalid(f"{path}.name", name, _LABEL_TEXT)
        if name in seen:
            yield faults.duplicate(f"{path}.name", name)
        seen.add(name)
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield faults.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        else:
            yield from schema_faults(schema, f"{path}.schema.openAPIV3Schema")
        yield from _columns(version.get("additionalPrinterColumns") or [], f"{path}.additionalPrinterColumns")
        yield from _subresources(version.get("subresources") or {}, f"{path}.subresources")
        yield from _selectable(version.get("selectableFields") or [], schema or {}, f"{path}.selectableFields")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        names = [version.get("name") for version in versions if version.get("storage")]
        yield faults.invalid("spec.versions", names, "must have exactly one version marked as storage version")


def _selectable(fields: list[Obj], schema: Obj, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, field in enumerate(fields):
        at, value = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not value:
            yield faults.required(at)
            continue
        node: Any = schema
        for name in value.split(".")[1:] if value.startswith(".") else ["", ""]:
            inside = node if isinstance(node, dict) else {}
            node = (inside.get("properties") or {}).get(name) or inside.get("additionalProperties")
        if not isinstance(node, dict):
            yield faults.invalid(at, value, "is an invalid path: does not refer to a valid field")
            continue
        if value.startswith(".metadata"):
            yield faults.invalid(at, value, "must not point to fields in metadata")
        if node.get("type") not in _SELECTABLE:
            text = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."  # noqa: E501
            yield faults.invalid(at, value, text)
        if value in seen:
            yield faults.duplicate(at, value)
        seen.add(value)
    if len(seen) > _MOST_SELECTABLE:
        yield faults.too_many(path, len(seen), _MOST_SELECTABLE)


def _columns(columns: list[Obj], path: str) -> Iterator[Cause]:
    for index, column in enumerate(columns):
        at = f"{path}[{index}]"
        if not column.get("name"):
            yield faults.required(f"{at}.name")
        if not column.get("type"):
            yield faults.required(f"{at}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
        elif column["type"] not in _COLUMN_TYPES:
            yield faults.unsupported(f"{at}.type", column["type"], _COLUMN_TYPES)
        if column.get("format") and column["format"] not in _COLUMN_FORMATS:
            yield faults.unsupported(f"{at}.format", column["format"], _COLUMN_FORMATS)
        yield from _path(column.get("jsonPath") or "", f"{at}.jsonPath")


def _path(path: str, field: str) -> Iterator[Cause]:
    if not path:
        yield faults.required(field)
        return
    try:
        compile_path(path)
    except BadPath as error:
        yield faults.invalid(field, path, str(error))


def _subresources(subresources: Obj, path: str) -> Iterator[Cause]:
    scale = subresources.get("scale")
    if scale is None:
        return
    homes = {"specReplicasPath": (".spec.",), "statusReplicasPath": (".status.",), "labelSelectorPath": (".spec.", ".status.")}  # noqa: E501  # fmt: skip
    for key, allowed in homes.items():
        value, at = scale.get(key) or "", f"{path}.scale.{key}"
        if not value:
            if key != "labelSelectorPath":
                yield faults.required(at)
        elif not _SCALE_PATH.match(value):
            yield faults.invalid(at, value, "should be a json path without the array notation")
        elif not value.startswith(allowed):
            yield faults.invalid(at, value, f"should be a json path under {' or '.join(home[:-1] for home in allowed)}")


def _changes(spec: Obj, old: Obj) -> Iterator[Cause]:
    before = old["spec"]
    if spec.get("group") != before.get("group"):
        yield faults.immutable("spec.group", spec.get("group"))
    for key in ("plural", "kind"):
        if (spec.get("names") or {}).get(key) != before["names"].get(key):
            yield faults.immutable(f"spec.names.{key}", (spec.get("names") or {}).get(key))
    if spec.get("scope") != before.get("scope"):
        yield faults.immutable("spec.scope", spec.get("scope"))
    names = {version.get("name") for version in spec.get("versions") or ()}
    for index, version in enumerate((old.get("status") or {}).get("storedVersions") or ()):
        if version not in names:
            text = (
                f"missing from spec.versions; {version} was previously a storage version, and must remain in "
                "spec.versions until a storage migration ensures no data remains persisted in it"
            )
            yield faults.invalid(f"status.storedVersions[{index}]", version, text)
