"""Event, in the core group and in events.k8s.io: one kind of object under two shapes."""

from __future__ import annotations

from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.client import EVENTS
from parkube.kubeapi.errors import Obj

_RENAMED = {  # core -> events.k8s.io
    "involvedObject": "regarding", "message": "note", "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp", "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount", "reportingComponent": "reportingController",
}  # fmt: skip
_BACK = {new: old for old, new in _RENAMED.items()}


def to_core(obj: Obj) -> Obj:
    """The events.k8s.io shape in the core one."""
    return {**{_BACK.get(key, key): value for key, value in obj.items()}, "apiVersion": "v1"}


def from_core(obj: Obj) -> Obj:
    """The core shape in the events.k8s.io one."""
    return {**{_RENAMED.get(key, key): value for key, value in obj.items()}, "apiVersion": "events.k8s.io/v1"}


_FIELDS = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "source", "type",
)  # fmt: skip


def core_rows() -> list[Resource]:
    """The row in the core group."""
    return [
        row("", "v1", "events", "Event", PlainStrategy(), short="ev", fields=tuple(label(path) for path in _FIELDS))
    ]


def rows() -> list[Resource]:
    """The row in events.k8s.io."""
    return [
        row(
            "events.k8s.io", "v1", "events", "Event", PlainStrategy(), short="ev", storage=EVENTS,
            to_storage=to_core, from_storage=from_core,
            fields=tuple(label(path.replace("involvedObject", "regarding")) for path in _FIELDS),
        )
    ]  # fmt: skip
