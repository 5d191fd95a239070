"""The rules of `metadata` that hold for every kind: who sets what, names, labels, what an update may not touch. Pure.

Wording of faults as the API's own (`k8s.io/apimachinery` validation), since clients and people match on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import BadRequest, Cause, Obj
from parkube.kubeapi.objects import rfc3339

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words by accident
_GENERATED_BASE = 58
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_MAX_ANNOTATIONS = 256 * 1024

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NAME_RULES = {
    "subdomain": (_SUBDOMAIN, 253, _SUBDOMAIN_RULE),
    "label": (_LABEL, 63, _LABEL_RULE),
    "label1035": (_LABEL_1035, 63, _LABEL_1035_RULE),
}


def prepare(obj: Obj, row: Resource, namespace: str) -> Obj:
    """Check type and namespace of what came in, fill in what the path says, and return `metadata`. Raises
    BadRequest."""
    kind, version = obj.setdefault("kind", row.kind), obj.setdefault("apiVersion", row.api_version)
    if kind != row.kind or version != row.api_version:
        raise BadRequest(f"the object provided is a {version} {kind}; this resource takes {row.api_version} {row.kind}")
    metadata: Any = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    given = metadata.get("namespace")
    if not row.namespaced:
        metadata.pop("namespace", None)
    elif not namespace:
        raise BadRequest("an empty namespace may not be set during creation")
    elif given and given != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    else:
        metadata["namespace"] = namespace
    return metadata


def stamp(metadata: Obj, now: float, uid: str) -> None:
    """What the server sets on a new object, and what a creator may not."""
    for field in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "managedFields"):
        metadata.pop(field, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = rfc3339(now)


def generated_name(base: str, random_below: Callable[[int], int]) -> str:
    """A name from `generateName`."""
    return base[:_GENERATED_BASE] + "".join(_ALPHABET[random_below(len(_ALPHABET))] for _ in range(5))


def carry_over(new: Obj, old: Obj) -> None:
    """Put back what no update may change. `generation` is the strategy's."""
    for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "name"):
        value = old.get(field)
        if value is None:
            new.pop(field, None)
        else:
            new[field] = value
    new.pop("selfLink", None)
    if old.get("managedFields"):
        new["managedFields"] = old["managedFields"]
    else:
        new.pop("managedFields", None)


def faults(obj: Obj, old: Obj | None, row: Resource) -> list[Cause]:
    """Every fault of `metadata`. On an update only what changed is looked at."""
    metadata = obj["metadata"]
    before: Obj = (old or {}).get("metadata") or {}
    found: list[Cause] = []
    if old is None:
        found += name_faults(metadata, row.strategy.name_rule)
    if metadata.get("labels") and metadata["labels"] != before.get("labels"):
        found += label_faults(metadata["labels"], "metadata.labels")
    if metadata.get("annotations") and metadata["annotations"] != before.get("annotations"):
        found += _annotation_faults(metadata["annotations"])
    if metadata.get("ownerReferences") and metadata["ownerReferences"] != before.get("ownerReferences"):
        found += _owner_faults(metadata["ownerReferences"])
    if metadata.get("finalizers") != before.get("finalizers"):
        found += _finalizer_faults(metadata, before)
    return found


def name_faults(metadata: Obj, rule: str) -> list[Cause]:
    """Faults of `metadata.name` by one of the rules `subdomain`, `label`, `label1035`, `path`."""
    name = metadata.get("name")
    if not name:
        return [Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")]
    if not isinstance(name, str):
        return [_invalid("metadata.name", name, "must be a string")]
    if name in (".", "..") or "/" in name or "%" in name:
        return [_invalid("metadata.name", name, "may not be '.' or '..' and may not contain '/' or '%'")]
    if rule not in NAME_RULES:
        return []
    pattern, longest, words = NAME_RULES[rule]
    found = []
    if len(name) > longest:
        found.append(_invalid("metadata.name", name, f"must be no more than {longest} characters"))
    if not pattern.fullmatch(name):
        found.append(_invalid("metadata.name", name, words))
    return found


def label_faults(labels: Any, field: str) -> list[Cause]:
    """Faults of a map of labels: `metadata.labels`, a selector's, a template's."""
    if not isinstance(labels, dict):
        return [_invalid(field, labels, "must be an object of strings")]
    found = []
    for key, value in labels.items():
        found += [_invalid(field, key, words) for words in _key_faults(key)]
        if not isinstance(value, str):
            found.append(_invalid(field, value, "must be a string"))
            continue
        if len(value) > 63:
            found.append(_invalid(field, value, "must be no more than 63 characters"))
        if not _LABEL_VALUE.fullmatch(value):
            found.append(_invalid(field, value, _VALUE_RULE))
    return found


def _key_faults(key: str) -> list[str]:
    prefix, slash, name = key.rpartition("/")
    found = []
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        found.append(f"prefix part {_SUBDOMAIN_RULE}" if prefix else "prefix part must be non-empty")
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 characters")
    elif not _QUALIFIED.fullmatch(name):
        found.append(_QUALIFIED_RULE)
    return found


def _annotation_faults(annotations: Any) -> list[Cause]:
    field = "metadata.annotations"
    if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
        return [_invalid(field, annotations, "must be an object of strings")]
    found = [_invalid(field, key, words) for key in annotations for words in _key_faults(key.lower())]
    if sum(len(key) + len(value) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        found.append(Cause("FieldValueTooLong", f"Too long: may not be more than {_MAX_ANNOTATIONS} bytes", field))
    return found


def _owner_faults(references: Any) -> list[Cause]:
    found = []
    controllers = 0
    for at, reference in enumerate(references):
        path = f"metadata.ownerReferences[{at}]"
        for part in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(part):
                found.append(_invalid(f"{path}.{part}", reference.get(part) or "", "must not be empty"))
        controllers += bool(reference.get("controller"))
    if controllers > 1:
        words = f"Only one reference can have Controller set to true. Found {controllers}"
        found.append(_invalid("metadata.ownerReferences", controllers, words))
    return found


def _finalizer_faults(metadata: Obj, before: Obj) -> list[Cause]:
    field = "metadata.finalizers"
    now: list[str] = metadata.get("finalizers") or []
    found = [_invalid(field, item, words) for item in now for words in _key_faults(item)]
    added = [item for item in now if item not in (before.get("finalizers") or ())]
    if before.get("deletionTimestamp") and added:
        quoted = ", ".join(f'"{item}"' for item in added)
        found.append(Cause(
            "FieldValueForbidden",
            "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
            f"[]string{{{quoted}}}", field,
        ))  # fmt: skip
    return found


def _invalid(field: str, value: Any, words: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {words}", field)
