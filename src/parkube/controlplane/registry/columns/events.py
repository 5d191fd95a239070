"""`kubectl get events`, of either group's shape."""

from __future__ import annotations

from collections.abc import Callable

from parkube.controlplane.registry.columns.cells import NAME, at, column, since
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


def _first(*names: str) -> Callable[[Obj], str]:
    """The first of some fields that is there."""
    return lambda event: next((str(event[name]) for name in names if event.get(name)), "")


def _last_seen(event: Obj) -> str:
    series = event.get("series") or {}
    last = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")
    return since(last or event.get("eventTime") or _first_time(event))


def _first_time(event: Obj) -> str:
    return str(event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime") or "")


def _object(event: Obj) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    kind = str(about.get("kind") or "").lower()
    return f"{kind}/{about.get('name')}" if about.get("name") else kind


def _count(event: Obj) -> int:
    series = event.get("series") or {}
    return int(series.get("count") or event.get("count") or event.get("deprecatedCount") or 1)


def _source(event: Obj) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = source.get("component") or event.get("reportingComponent") or event.get("reportingController") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {host}" if host else str(component)


def _field(event: Obj) -> str:
    return str((event.get("involvedObject") or event.get("regarding") or {}).get("fieldPath") or "")


OLD_EVENT_COLUMNS: tuple[Column, ...] = (
    column("Last Seen", _last_seen),
    column("Type", at("type")),
    column("Reason", at("reason")),
    column("Object", _object),
    column("Subobject", _field, wide=True),
    column("Source", _source, wide=True),
    column("Message", lambda event: _first("message", "note")(event).strip()),
    column("First Seen", lambda event: since(_first_time(event)), wide=True),
    column("Count", _count, "integer", wide=True),
    NAME._replace(priority=1),
)
EVENT_COLUMNS = OLD_EVENT_COLUMNS
