"""Whether the names of a definition are free in its group, and the conditions that say so. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import copy, set_condition


def conflict(definition: Obj, rows: Iterable[Resource]) -> tuple[str, str]:
    """Reason and message of the first clash with a row that is not the definition's own; empty when there is none."""
    own, spec = definition["metadata"]["name"], definition["spec"]
    others = [row for row in rows if row.gvr.group == spec["group"] and row.crd != own]
    plurals = {name for row in others for name in (row.gvr.resource, row.singular, *row.short_names)}
    kinds = {name for row in others for name in (row.kind, row.list_kind)}
    for reason, name in _wanted(spec["names"]):
        if name in (kinds if reason in ("KindConflict", "ListKindConflict") else plurals):
            return reason, f'"{name}" is already in use'
    return "", ""


def _wanted(names: Obj) -> Iterator[tuple[str, str]]:
    yield "PluralConflict", names["plural"]
    if names.get("singular"):
        yield "SingularConflict", names["singular"]
    for short in names.get("shortNames") or ():
        yield "ShortNamesConflict", short
    yield "KindConflict", names["kind"]
    if names.get("listKind"):
        yield "ListKindConflict", names["listKind"]


def with_status(definition: Obj, reason: str, message: str, now: str) -> Obj:
    """The definition with the status that follows from its names; `reason` is empty when they are free."""
    result = copy(definition)
    status = result.setdefault("status", {})
    conditions = status.setdefault("conditions", [])
    if reason:
        set_condition(conditions, "NamesAccepted", "False", reason, message, now)
        if not _is(conditions, "Established"):
            set_condition(conditions, "Established", "False", "NotAccepted", "not all names are accepted", now)
    else:
        set_condition(conditions, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        text = "the initial names have been accepted"
        set_condition(conditions, "Established", "True", "InitialNamesAccepted", text, now)
        status["acceptedNames"] = copy(definition["spec"]["names"])
    storage = next(version["name"] for version in definition["spec"]["versions"] if version.get("storage"))
    stored = status.setdefault("storedVersions", [])
    if storage not in stored:
        stored.append(storage)
    status.setdefault("acceptedNames", {"plural": "", "kind": ""})
    return result


def with_termination(definition: Obj, now: str) -> Obj:
    """The definition, marked as going."""
    result = copy(definition)
    conditions = result.setdefault("status", {}).setdefault("conditions", [])
    text = "CustomResource deletion is in progress"
    set_condition(conditions, "Terminating", "True", "InstanceDeletionInProgress", text, now)
    return result


def _is(conditions: list[Obj], kind: str) -> bool:
    return any(condition["type"] == kind and condition["status"] == "True" for condition in conditions)
