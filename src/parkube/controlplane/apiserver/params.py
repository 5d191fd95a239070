"""Query parameters into options of the registry. Pure; every bad value is named, as the API names them.

Source: Kubernetes API reference, "Query parameters"; wording of `meta/v1` validation of options.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs

import orjson

from parkube.controlplane.apiserver.http import Request
from parkube.controlplane.apiserver.protobuf.tables import fields_of, message_of
from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.controlplane.registry.resource import Context
from parkube.kubeapi.errors import BadRequest, Cause, Obj, invalid
from parkube.kubeapi.selectors import FieldSelector, LabelSelector

_VALIDATION = ("", "Ignore", "Strict", "Warn")
_POLICIES = ("Foreground", "Background", "Orphan")
_MANAGER_MOST = 128
_KINDS = {"GET": "ListOptions", "POST": "CreateOptions", "PUT": "UpdateOptions", "DELETE": "DeleteOptions"}
_EXACT, _NEWER = "Exact", "NotOlderThan"


def _refuse(request: Request, faults: list[Cause], kind: str = "") -> None:
    """Raises Invalid when there are any."""
    if faults:
        raise invalid(kind or _KINDS.get(request.method, "PatchOptions"), "meta.k8s.io", "", faults)


def _forbidden(field: str, words: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {words}", field)


def _unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    listed = ", ".join(f'"{one}"' for one in supported)
    shown = orjson.dumps(value).decode()
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {listed}", field)


def _integer(request: Request, name: str) -> int:
    text = request.query.get(name, "")
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"strconv.ParseInt: parsing {orjson.dumps(text).decode()}: invalid syntax") from None


def list_options(request: Request) -> ListOptions:
    """The options of a list or deletecollection."""
    query = request.query
    _refuse(request, _list_faults(query), "ListOptions")
    return ListOptions(
        label_selector=LabelSelector.parse(query.get("labelSelector", "")),
        field_selector=FieldSelector.parse(query.get("fieldSelector", "")),
        limit=max(0, _integer(request, "limit")),
        continue_=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
    )


def _list_faults(query: dict[str, str]) -> list[Cause]:
    match, revision = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    field, found = "resourceVersionMatch", []
    if match:
        if not revision:
            found.append(_forbidden(field, f"{field} is forbidden unless resourceVersion is provided"))
        if query.get("continue"):
            found.append(_forbidden(field, f"{field} is forbidden when continue is provided"))
        if match not in (_EXACT, _NEWER):
            found.append(_unsupported(field, match, (_EXACT, _NEWER, "")))
        if match == _EXACT and revision == "0":
            found.append(_forbidden(field, f'{field} "exact" is forbidden for resourceVersion "0"'))
    if "sendInitialEvents" in query:
        found.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return found


def watch_options(request: Request, name: str = "") -> WatchOptions:
    """The options of a watch; `name` narrows it to one object."""
    query = request.query
    _refuse(request, _watch_faults(query))
    field_selector = query.get("fieldSelector", "")
    if name:
        field_selector = ",".join(part for part in (field_selector, f"metadata.name={name}") if part)
    return WatchOptions(
        label_selector=LabelSelector.parse(query.get("labelSelector", "")),
        field_selector=FieldSelector.parse(field_selector),
        resource_version=query.get("resourceVersion", ""),
        bookmarks=request.flag("allowWatchBookmarks"),
        send_initial_events=request.flag("sendInitialEvents") if "sendInitialEvents" in query else None,
    )


def _watch_faults(query: dict[str, str]) -> list[Cause]:
    match, field, found = query.get("resourceVersionMatch", ""), "resourceVersionMatch", []
    initial = "sendInitialEvents" in query
    if initial and match != _NEWER:
        found.append(_forbidden(field, f"sendInitialEvents requires setting {field} to {_NEWER}"))
    if match:
        if not initial:
            found.append(_forbidden(field, f"{field} is forbidden for watch unless sendInitialEvents is provided"))
        if match != _NEWER:
            found.append(_unsupported(field, match, (_NEWER,)))
        if query.get("continue"):
            found.append(_forbidden(field, f"{field} is forbidden when continue is provided"))
    return found


def context(request: Request) -> Context:
    """Who asks and how, for the registry."""
    query = request.query
    manager, validation = query.get("fieldManager", ""), query.get("fieldValidation", "")
    found = _manager_faults(manager)
    if query.get("dryRun", "") not in ("", "All"):
        found.append(_unsupported("dryRun", query["dryRun"], ("All",)))
    if validation not in _VALIDATION:
        found.append(_unsupported("fieldValidation", validation, _VALIDATION))
    _refuse(request, found)
    return Context(
        user=request.user,
        dry_run=query.get("dryRun") == "All",
        field_manager=manager or _agent(request),
        field_validation=validation,
    )


def _manager_faults(manager: str) -> list[Cause]:
    if len(manager) > _MANAGER_MOST:
        return [Cause("FieldValueTooLong", f"Too long: may not be more than {_MANAGER_MOST} bytes", "fieldManager")]
    if not manager.isprintable():
        words = f"Invalid value: {orjson.dumps(manager).decode()}: should only contain printable characters"
        return [Cause("FieldValueInvalid", words, "fieldManager")]
    return []


def _agent(request: Request) -> str:
    """What a client that names no manager is called: its User-Agent up to the version."""
    name = "".join(c for c in request.headers.get("user-agent", "").partition("/")[0] if c.isprintable())
    return name[:_MANAGER_MOST] or "unknown"


def force(request: Request, *, apply: bool) -> bool:
    """Whether an apply takes fields from their managers. Raises Invalid for what only apply knows, or needs."""
    if apply and not request.query.get("fieldManager"):
        words = "Required value: is required for apply patch"
        _refuse(request, [Cause("FieldValueRequired", words, "fieldManager")])
    if "force" in request.query and not apply:
        _refuse(request, [_forbidden("force", "may not be specified for non-apply patch")])
    return request.flag("force")


def delete_options(request: Request, body: Any) -> Obj:
    """The DeleteOptions of the body, else of the query."""
    if body is not None and not isinstance(body, dict):
        raise BadRequest("the body of a DELETE is a DeleteOptions object")
    options: Obj = dict(body or {})
    query = request.query
    if "gracePeriodSeconds" in query and "gracePeriodSeconds" not in options:
        options["gracePeriodSeconds"] = _integer(request, "gracePeriodSeconds")
    if "propagationPolicy" in query and "propagationPolicy" not in options:
        options["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query and "orphanDependents" not in options:
        options["orphanDependents"] = request.flag("orphanDependents")
    if "dryRun" in query and "dryRun" not in options:
        options["dryRun"] = [query["dryRun"]]
    if "ignoreStoreReadErrorWithClusterBreakingPotential" in options:
        del options["ignoreStoreReadErrorWithClusterBreakingPotential"]  # every stored object can be read here
    _refuse(request, _delete_faults(options))
    return options


def _delete_faults(options: Obj) -> list[Cause]:
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    dry, grace, found = options.get("dryRun") or [], options.get("gracePeriodSeconds"), []
    wrong = (
        grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)),
        policy is not None and not isinstance(policy, str),
        orphan is not None and not isinstance(orphan, bool),
        not isinstance(dry, list),
        not isinstance(options.get("preconditions") or {}, dict),
    )
    if any(wrong):
        raise BadRequest("the body of the request is no DeleteOptions: a field is of another type than it should be")
    if policy is not None and orphan is not None:
        words = "orphanDependents and deletionPropagation cannot be both set"
        words = f"Invalid value: {orjson.dumps(policy).decode()}: {words}"
        found.append(Cause("FieldValueInvalid", words, "propagationPolicy"))
    elif policy is not None and policy not in _POLICIES:
        found.append(_unsupported("propagationPolicy", policy, (*_POLICIES, "nil")))
    found += [_unsupported("dryRun", value, ("All",)) for value in dry if value not in ("All", "")]
    return found


def connect_options(request: Request, api_version: str, kind: str) -> Obj:
    """The options of a stream or a proxied request (`PodExecOptions` and its like) as an object: each parameter in
    its field's type, as the query says it. What is no field of the kind is left out. Raises `BadRequest`."""
    asked = parse_qs(request.raw_query, keep_blank_values=True)
    options: Obj = {"kind": kind, "apiVersion": api_version}
    message = message_of(api_version, kind)
    for field in fields_of(message).values() if message else ():
        if field.name in asked:
            values = [_typed(field.type, text) for text in asked[field.name]]
            options[field.name] = values if field.mark else values[0]
    return options


def _typed(kind: str, text: str) -> bool | int | str:
    """A parameter as its field's type: a flag counts as set unless it says otherwise."""
    if kind == "b":
        return text.lower() not in ("0", "false")
    if kind != "i":
        return text
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"strconv.ParseInt: parsing {orjson.dumps(text).decode()}: invalid syntax") from None


def delete_context(request: Request, options: Obj) -> Context:
    """The context of a DELETE: its dryRun may stand in the body."""
    return Context(user=request.user, dry_run="All" in (options.get("dryRun") or ()))
