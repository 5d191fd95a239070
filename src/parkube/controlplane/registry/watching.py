"""Watch items and subscriptions: what one watcher is told, encoded once however many are told. No cache, no store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import orjson

from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.registry.stored import Stored
from parkube.kubeapi.errors import ApiError, Obj


class WatchItem:
    """One event of a watch. `type` is ADDED, MODIFIED, DELETED, BOOKMARK, or ERROR (the last one; a Status)."""

    __slots__ = ("_line", "_object", "_other", "previous", "resource", "revision", "stored", "type")

    def __init__(
        self, type: str, resource: Resource, revision: int,
        stored: Stored | None = None, previous: Stored | None = None, object: Obj | None = None,
    ) -> None:  # fmt: skip
        self.type, self.resource, self.revision = type, resource, revision
        self.stored, self.previous = stored, previous
        self._object = object
        self._line: bytes | None = None
        self._other: tuple[Callable[[WatchItem], bytes], bytes] | None = None

    def object(self) -> Obj:
        """The object as a dict, decoded once and shared by all who ask: copy it before changing it."""
        if self._object is None:
            assert self.stored is not None
            obj = self.stored.object()
            convert = self.resource.from_storage
            self._object = convert(obj) if convert else obj
        return self._object

    def value(self) -> bytes:
        """The object's JSON."""
        if self.stored is not None and self.resource.from_storage is None:
            return self.stored.value
        return orjson.dumps(self.object())

    def line(self) -> bytes:
        """The event as a line of a watch stream, encoded once."""
        if self._line is None:
            self._line = b'{"type":"%b","object":%b}\n' % (self.type.encode(), self.value())
        return self._line

    def once(self, encode: Callable[[WatchItem], bytes]) -> bytes:
        """The event as `encode` writes it, done once for all who ask for the same encoding."""
        if self._other is None or self._other[0] is not encode:
            self._other = (encode, encode(self))
        return self._other[1]


def bookmark(resource: Resource, revision: int, *, initial_events_end: bool = False) -> WatchItem:
    """All up to `revision` has been told; marked when it ends the initial events."""
    metadata: Obj = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    return WatchItem("BOOKMARK", resource, revision, object=obj)


def failure(resource: Resource, revision: int, error: ApiError) -> WatchItem:
    """The end of a watch that cannot go on."""
    return WatchItem("ERROR", resource, revision, object=error.status())


Sink = Callable[[Sequence[WatchItem]], None]
"""Called on the event loop, at most once a tick, with items in revision order; must not block or raise."""


class Subscription(Protocol):
    """A running watch."""

    def cancel(self) -> None:
        """No more items from now on."""

    def bookmark(self) -> WatchItem:
        """Where the watch stands: all that the sink has not been told yet comes after it."""
        ...
