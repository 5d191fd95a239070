"""Query parameters into options of the registry. Pure; a bad value is named."""

from __future__ import annotations

from typing import Any

import orjson

from parkube.controlplane.apiserver.http import Request
from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.controlplane.registry.resource import Context
from parkube.kubeapi.errors import ApiError, BadRequest, Cause, Invalid, Obj, invalid
from parkube.kubeapi.selectors import FieldSelector, LabelSelector

_VALIDATION = ("", "Ignore", "Warn", "Strict")
_MANAGER_MOST = 128


def _integer(request: Request, name: str) -> int:
    text = request.query.get(name, "")
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'unable to decode parameter "{name}": "{text}" is not an integer') from None


def list_options(request: Request) -> ListOptions:
    """The options of a list or deletecollection."""
    query = request.query
    limit = _integer(request, "limit")
    if limit < 0:
        raise Invalid("limit: Invalid value: must be non-negative", causes=[Cause("FieldValueInvalid", "", "limit")])
    return ListOptions(
        label_selector=LabelSelector.parse(query.get("labelSelector", "")),
        field_selector=FieldSelector.parse(query.get("fieldSelector", "")),
        limit=limit,
        continue_=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
    )


def watch_options(request: Request, name: str = "") -> WatchOptions:
    """The options of a watch; `name` narrows it to one object."""
    query = request.query
    field_selector = query.get("fieldSelector", "")
    if name:
        field_selector = ",".join(part for part in (field_selector, f"metadata.name={name}") if part)
    initial = request.flag("sendInitialEvents") if "sendInitialEvents" in query else None
    if "sendInitialEvents" in query and query.get("resourceVersionMatch") != "NotOlderThan":
        raise Invalid(
            "resourceVersionMatch: Invalid value: sendInitialEvents requires resourceVersionMatch=NotOlderThan",
            causes=[Cause("FieldValueForbidden", "sendInitialEvents requires NotOlderThan", "resourceVersionMatch")],
        )
    return WatchOptions(
        label_selector=LabelSelector.parse(query.get("labelSelector", "")),
        field_selector=FieldSelector.parse(field_selector),
        resource_version=query.get("resourceVersion", ""),
        bookmarks=request.flag("allowWatchBookmarks"),
        send_initial_events=initial,
    )


def context(request: Request) -> Context:
    """Who asks and how, for the registry."""
    query = request.query
    manager = query.get("fieldManager", "")
    if len(manager) > _MANAGER_MOST:
        words = f"Too long: may not be more than {_MANAGER_MOST} bytes"
        raise _of_options(request, Cause("FieldValueTooLong", words, "fieldManager"))
    if not manager.isprintable():
        words = f"Invalid value: {orjson.dumps(manager).decode()}: should only contain printable characters"
        raise _of_options(request, Cause("FieldValueInvalid", words, "fieldManager"))
    return Context(
        user=request.user,
        dry_run=_dry_run(query.get("dryRun", "")),
        field_manager=manager or _agent(request),
        field_validation=_field_validation(query.get("fieldValidation", "")),
    )


def _of_options(request: Request, cause: Cause) -> ApiError:
    kind = {"POST": "CreateOptions", "PUT": "UpdateOptions", "DELETE": "DeleteOptions"}.get(request.method)
    return invalid(kind or "PatchOptions", "meta.k8s.io", "", [cause])


def _agent(request: Request) -> str:
    """What a client that names no manager is called: its User-Agent up to the version."""
    name = "".join(c for c in request.headers.get("user-agent", "").partition("/")[0] if c.isprintable())
    return name[:_MANAGER_MOST] or "unknown"


def force(request: Request, *, apply: bool) -> bool:
    """Whether an apply takes fields from their managers. Raises Invalid for what only apply knows, or needs."""
    if apply and not request.query.get("fieldManager"):
        words = "Required value: is required for apply patch"
        raise _of_options(request, Cause("FieldValueRequired", words, "fieldManager"))
    if "force" in request.query and not apply:
        words = "Forbidden: may not be specified for non-apply patch"
        raise _of_options(request, Cause("FieldValueForbidden", words, "force"))
    return request.flag("force")


def delete_options(request: Request, body: Any) -> Obj:
    """The DeleteOptions of the body, else of the query."""
    if body is not None and not isinstance(body, dict):
        raise BadRequest("the body of a DELETE is a DeleteOptions object")
    options: Obj = dict(body or {})
    query = request.query
    for name in ("gracePeriodSeconds",):
        if name in query and name not in options:
            options[name] = _integer(request, name)
    if "propagationPolicy" in query and "propagationPolicy" not in options:
        options["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query and "propagationPolicy" not in options:
        options["propagationPolicy"] = "Orphan" if request.flag("orphanDependents") else "Background"
    grace = options.get("gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool) or grace < 0):
        raise BadRequest(f"gracePeriodSeconds is a number of seconds, 0 or more, not {grace!r}")
    policy = options.get("propagationPolicy")
    if policy not in (None, "Orphan", "Background", "Foreground"):
        raise Invalid(
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{policy}": '
            'supported values: "Background", "Foreground", "Orphan"',
            causes=[Cause("FieldValueNotSupported", f'Unsupported value: "{policy}"', "propagationPolicy")],
        )
    return options


def delete_context(request: Request, options: Obj) -> Context:
    """The context of a DELETE: its dryRun may stand in the body."""
    dry = options.get("dryRun") or ([request.query["dryRun"]] if "dryRun" in request.query else [])
    return Context(user=request.user, dry_run=_dry_run(dry[0] if isinstance(dry, list) and dry else ""))


def _dry_run(value: Any) -> bool:
    if value not in ("", "All"):
        raise Invalid(
            f'dryRun: Unsupported value: "{value}": supported values: "All"',
            causes=[Cause("FieldValueNotSupported", f'Unsupported value: "{value}"', "dryRun")],
        )
    return bool(value == "All")


def _field_validation(value: str) -> str:
    if value not in _VALIDATION:
        raise Invalid(
            f'fieldValidation: Unsupported value: "{value}": supported values: "", "Ignore", "Warn", "Strict"',
            causes=[Cause("FieldValueNotSupported", f'Unsupported value: "{value}"', "fieldValidation")],
        )
    return value
