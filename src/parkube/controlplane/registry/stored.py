"""An object as the watch cache holds it: exact-size JSON bytes and the few things that are looked for.

Stored bytes start with apiVersion, kind and metadata, in that order, and without `metadata.resourceVersion`; it is
spliced in as metadata's first field when the revision is known. Nothing here knows the store.
"""

from __future__ import annotations

from sys import intern
from typing import Any

import orjson

from parkube.controlplane.registry.resource import FieldLabel
from parkube.kubeapi.errors import BadRequest, Obj

_METADATA = b'"metadata":{'
_NOT_STORED = ("selfLink", "resourceVersion")
_NO_LABELS: dict[str, str] = {}
_SHARED_LABELS_MAX = 20_000
_shared_labels: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}


class Stored:
    """One object at one revision. `value` is its JSON with `metadata.resourceVersion`; treat all as read only."""

    __slots__ = ("fields", "key", "labels", "name", "namespace", "revision", "value")

    def __init__(
        self, key: str, namespace: str, name: str, revision: int, value: bytes,
        labels: dict[str, str], fields: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.key, self.namespace, self.name = key, namespace, name
        self.revision, self.value = revision, value
        self.labels, self.fields = labels, fields

    def object(self) -> Obj:
        """A fresh copy as a dict: change it at will."""
        obj: Obj = orjson.loads(self.value)
        return obj

    def with_value(self, value: bytes) -> Stored:
        """The same object in other bytes: another version of its kind."""
        return Stored(self.key, self.namespace, self.name, self.revision, value, self.labels, self.fields)

    def at(self, revision: int) -> Stored:
        """The same state under another revision: what a DELETED event carries."""
        value = resplice(self.value, revision)
        return Stored(self.key, self.namespace, self.name, revision, value, self.labels, self.fields)

    def __repr__(self) -> str:
        return f"Stored({self.key}@{self.revision})"


def encode(obj: Obj) -> bytes:
    """The bytes to store; drops what is not stored from `obj` itself. Raises BadRequest for what JSON cannot hold."""
    metadata = obj.get("metadata") or {}
    for name in _NOT_STORED:
        metadata.pop(name, None)
    first: Obj = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    first.update(obj)
    try:
        return orjson.dumps(first)
    except TypeError as error:
        raise BadRequest(f"the object cannot be written as JSON: {error}") from None


def splice(value: bytes, revision: int) -> bytes:
    """Stored bytes with their `metadata.resourceVersion`, in a buffer of exactly that size."""
    at = value.find(_METADATA) + len(_METADATA)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def unsplice(value: bytes) -> bytes:
    """Stored bytes of spliced ones."""
    at = value.find(_METADATA) + len(_METADATA)
    return value[:at] + value[value.index(b",", at) + 1 :]


def resplice(value: bytes, revision: int) -> bytes:
    """Spliced bytes with another revision: what a DELETED event carries."""
    return splice(unsplice(value), revision)


def share(labels: dict[str, str] | None) -> dict[str, str]:
    """One dict for all objects with these labels: pods of one controller mostly."""
    if not labels:
        return _NO_LABELS
    items = tuple(labels.items())
    found = _shared_labels.get(items)
    if found is None:
        if len(_shared_labels) > _SHARED_LABELS_MAX:
            _shared_labels.clear()
        found = _shared_labels[items] = dict(items)
    return found


def fields_of(obj: Obj, labels: tuple[FieldLabel, ...]) -> tuple[str, ...]:
    """The values of the fields that selectors may ask for, in the row's order."""
    return tuple([_text(label.of(obj)) for label in labels]) if labels else ()


def _text(value: Any) -> str:
    return intern(value if isinstance(value, str) else "" if value is None else str(value))
