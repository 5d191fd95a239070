"""The operations of each row, once for OpenAPI v2 and v3: paths, verbs, bodies, answers and query parameters. Data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from parkube.controlplane.registry.kinds.subresources import subresource
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.errors import Obj

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
PATCH_TYPES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip


class Parameter(NamedTuple):
    """A query parameter."""

    name: str
    type: str
    description: str


def _patch_types(row: Resource) -> tuple[str, ...]:
    """Custom resources know no strategic merge; kubectl tries it wherever it is listed."""
    return tuple(one for one in PATCH_TYPES if not (row.crd and "strategic" in one))


class Operation(NamedTuple):
    """One method of one path; `body` and `answer` are names of definitions ("" for none, plain text)."""

    path: str
    method: str
    action: str
    id: str
    gvk: Obj
    body: str
    answer: str
    parameters: tuple[Parameter, ...]
    patch_types: tuple[str, ...] = PATCH_TYPES


_PRETTY = Parameter("pretty", "string", "If 'true', then the output is pretty printed.")
_DRY_RUN = Parameter(
    "dryRun", "string",
    "When present, indicates that modifications should not be persisted. Valid values are: - All: all dry run stages "
    "will be processed",
)  # fmt: skip
_WRITE = (
    _DRY_RUN,
    Parameter("fieldManager", "string", "A name associated with the actor or entity that is making these changes."),
    Parameter(
        "fieldValidation", "string",
        "What to do with unknown or duplicate fields: Ignore, Warn (the default) or Strict.",
    ),
)  # fmt: skip
_FORCE = Parameter("force", "boolean", 'Force is going to "force" Apply requests.')
_LIST = (
    Parameter("allowWatchBookmarks", "boolean", "Asks for watch events of type BOOKMARK."),
    Parameter("continue", "string", "The continue token of the page before."),
    Parameter("fieldSelector", "string", "A selector to restrict the list of returned objects by their fields."),
    Parameter("labelSelector", "string", "A selector to restrict the list of returned objects by their labels."),
    Parameter("limit", "integer", "The most objects to return for a list call."),
    Parameter("resourceVersion", "string", "What resource versions a request may be served from."),
    Parameter("resourceVersionMatch", "string", "How resourceVersion is applied to list calls."),
    Parameter("sendInitialEvents", "boolean", "Asks a watch to begin with what there is, then a bookmark."),
    Parameter("timeoutSeconds", "integer", "Timeout for the list/watch call."),
    Parameter("watch", "boolean", "Watch for changes to the described resources."),
)
_DELETE = (
    _DRY_RUN,
    Parameter("gracePeriodSeconds", "integer", "The duration in seconds before the object should be deleted."),
    Parameter("propagationPolicy", "string", "Whether and how garbage collection will be performed."),
)

_METHODS = {  # action -> HTTP method, query parameters
    "get": ("get", ()), "list": ("get", _LIST), "post": ("post", _WRITE), "put": ("put", _WRITE),
    "patch": ("patch", (*_WRITE, _FORCE)), "delete": ("delete", _DELETE), "deletecollection": ("delete", _LIST),
}  # fmt: skip
_VERBS = {"get": "get", "list": "list", "create": "post", "update": "put", "patch": "patch", "delete": "delete"}


class Names(NamedTuple):
    """Where definitions are found: by group, version and kind."""

    by_kind: dict[tuple[str, str, str], str]

    def of(self, group: str, version: str, kind: str) -> str:
        """The definition's name, or "" where none is published."""
        return self.by_kind.get((group, version, kind), "")


def operations(rows: Iterable[Resource], names: Names) -> Iterator[Operation]:
    """Every operation of `rows`."""
    for row in rows:
        yield from _of_row(row, names)


def _of_row(row: Resource, names: Names) -> Iterator[Operation]:
    group, version, _ = row.gvr
    kind, kinds = names.of(group, version, row.kind), names.of(group, version, row.list_kind)
    gvk = {"group": group, "kind": row.kind, "version": version}
    where = row.gvr.prefix + ("/namespaces/{namespace}" if row.namespaced else "") + f"/{row.gvr.resource}"
    about = (row, "", gvk)
    if "list" in row.verbs:
        yield _operation("list", where, about, "", kinds)
        if row.namespaced:
            yield _operation("list", f"{row.gvr.prefix}/{row.gvr.resource}", about, "", kinds, "ForAllNamespaces")
    if "create" in row.verbs:
        yield _operation("post", where, about, kind, kind)
    if "deletecollection" in row.verbs:
        yield _operation("deletecollection", where, about, META + "DeleteOptions", META + "Status")
    if row.virtual:
        return
    one = where + "/{name}"
    yield _operation("get", one, about, "", kind)
    for verb, body in (("update", kind), ("patch", META + "Patch")):
        if verb in row.verbs:
            yield _operation(_VERBS[verb], one, about, body, kind)
    if "delete" in row.verbs:
        yield _operation("delete", one, about, META + "DeleteOptions", META + "Status")
    for name in row.subresources:
        yield from _of_subresource(row, name, one, names)


def _of_subresource(row: Resource, name: str, one: str, names: Names) -> Iterator[Operation]:
    sub = subresource(row, name)
    group, version = (sub.group, sub.version) if sub.version else row.gvr[:2]
    kind = names.of(group, version, sub.kind)
    gvk = {"group": group, "kind": sub.kind, "version": version}
    for verb in sub.verbs:
        body = {"get": "", "patch": META + "Patch"}.get(verb, kind)
        yield _operation(_VERBS[verb], f"{one}/{name}", (row, name, gvk), body, "" if name == "log" else kind)


def _operation(
    action: str, path: str, about: tuple[Resource, str, Obj], body: str, answer: str, more: str = ""
) -> Operation:
    row, sub, gvk = about
    method, parameters = _METHODS[action]
    words = {"get": "read", "put": "replace", "post": "create", "deletecollection": "deleteCollection"}
    group = "".join(part.capitalize() for part in row.gvr.group.removesuffix(".k8s.io").split(".")) or "Core"
    scope = "Namespaced" if row.namespaced and not more else ""
    ident = f"{words.get(action, action)}{group}{row.gvr.version.capitalize()}{scope}{row.kind}{sub.capitalize()}{more}"
    extra = (_PRETTY,) if not parameters else ()
    word = "connect" if sub in ("exec", "attach", "portforward") else action
    return Operation(path, method, word, ident, gvk, body, answer, (*parameters, *extra), _patch_types(row))
