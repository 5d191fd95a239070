"""Whether the names of a definition are free in its group, and the conditions that say so. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import copy, set_condition

APPROVED = "api-approved.kubernetes.io"
_PROTECTED = re.compile(r"(.*\.)?(k8s|kubernetes)\.io\Z")
_WHY = "https://github.com/kubernetes/enhancements/pull/1111"


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


def approval(definition: Obj) -> tuple[str, str]:
    """Whether a group of Kubernetes' own may have this definition: the reason of its condition, and its message; empty
    for any other group. Source: KEP-1111."""
    if not _PROTECTED.match(definition["spec"].get("group") or ""):
        return "", ""
    said = (definition["metadata"].get("annotations") or {}).get(APPROVED) or ""
    must, see = f'protected groups must have approval annotation "{APPROVED}"', f"see {_WHY}"
    if not said:
        return "MissingAnnotation", f"{must}, {see}"
    if said.startswith("unapproved"):
        return "UnapprovedAnnotation", f'not approved: "{said}"'
    if re.match(r"[a-z][a-z0-9+.-]*://[^/]", said, re.IGNORECASE):
        return "ApprovedAnnotation", f"approved in {said}"
    return "InvalidAnnotation", f'{must} with either a URL or a reason starting with "unapproved", {see}'


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
    why, text = approval(definition)
    if why:
        good = "True" if why == "ApprovedAnnotation" else "False"
        set_condition(conditions, "KubernetesAPIApprovalPolicyConformant", good, why, text, now)
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
