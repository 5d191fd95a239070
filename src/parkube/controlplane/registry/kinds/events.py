"""Event, in the core group and in events.k8s.io: one kind of object under two shapes."""

from __future__ import annotations

from parkube.controlplane.registry.columns.events import EVENT_COLUMNS, OLD_EVENT_COLUMNS
from parkube.controlplane.registry.kinds import faults
from parkube.controlplane.registry.kinds.base import PlainStrategy
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import FieldLabel, Resource
from parkube.kubeapi.client import EVENTS
from parkube.kubeapi.errors import Cause, Obj

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
    "reason", "reportingComponent", "type",
)  # fmt: skip


def _source(event: Obj) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    return str(source.get("component") or event.get("reportingComponent") or event.get("reportingController") or "")


def _new_name(path: str) -> str:
    """What events.k8s.io calls a field of the core group's events."""
    return {"reportingComponent": "reportingController"}.get(path, path.replace("involvedObject", "regarding"))


_SOURCE = FieldLabel("source", _source)


class EventStrategy(PlainStrategy):
    """An event lies in the namespace of what it is about. `about` names that field."""

    def __init__(self, about: str, strict: bool = False) -> None:
        self._about, self._strict = about, strict

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        found: list[Cause] = []
        about, namespace = obj.get(self._about) or {}, obj["metadata"].get("namespace")
        home = about.get("namespace") or "default"
        if namespace != home and not (not about.get("namespace") and namespace in ("default", "kube-system")):
            words = "does not match event.namespace"
            found.append(faults.invalid(f"{self._about}.namespace", about.get("namespace") or "", words))
        if not self._strict or old is not None:
            return found
        for key in ("eventTime", "reportingController", "reportingInstance", "action", "reason"):
            if not obj.get(key):
                found.append(faults.required(key))
        if obj.get("type") not in ("Normal", "Warning"):
            found.append(faults.invalid("type", obj.get("type") or "", "has invalid value: must be Normal or Warning"))
        return found


def core_rows() -> list[Resource]:
    """The row in the core group."""
    return [
        row(
            "", "v1", "events", "Event", EventStrategy("involvedObject"), short="ev", columns=OLD_EVENT_COLUMNS,
            fields=(*(label(path) for path in _FIELDS), _SOURCE),
        )
    ]  # fmt: skip


def rows() -> list[Resource]:
    """The row in events.k8s.io."""
    return [
        row(
            "events.k8s.io", "v1", "events", "Event", EventStrategy("regarding", strict=True), short="ev",
            storage=EVENTS, columns=EVENT_COLUMNS,
            to_storage=to_core, from_storage=from_core,
            stored_fields={_new_name(path): path for path in _FIELDS},
        )
    ]  # fmt: skip
