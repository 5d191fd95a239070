"""From a method and a path to what is asked: verb, resource, namespace, name, subresource. Pure; checks no rights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.client import GVR

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_METHODS = {"GET": "get", "HEAD": "get", "DELETE": "delete", **_VERBS}


class Target(NamedTuple):
    """What a request is about. `resource` is empty for paths like /version; `row` None when nothing is served there."""

    verb: str
    gvr: GVR
    row: Resource | None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""  # what follows the subresource, as in a proxy's path


_NOWHERE = GVR("", "", "")


def verb_of(method: str) -> str:
    """The verb of a path that is no resource: the method in lower case, HEAD as get."""
    return "get" if method in ("GET", "HEAD") else method.lower()


def target(method: str, path: str, query: Mapping[str, str], catalogue: Catalogue) -> Target | None:
    """What the request is about, None when the path is no resource's (discovery, health, mounts)."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watching = rest[0] == "watch" and len(rest) > 1  # the old prefix
    if watching:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and not (len(rest) == 3 and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource, *more = [*rest, "", "", ""][: max(3, len(rest))]
    gvr = GVR(group, version, resource)
    row = catalogue.get(gvr)
    if row is not None and resource == "namespaces" and name:
        namespace = name  # rights on one namespace may come from inside it
    verb = _METHODS.get(method, method.lower())
    if verb == "get" and not name:
        verb = "list"
    if verb in ("get", "list") and not subresource and (watching or query.get("watch") in ("true", "1")):
        verb = "watch"
    if verb == "delete" and not name:
        verb = "deletecollection"
    return Target(verb, gvr, row, namespace, name, subresource, "/".join(more))
