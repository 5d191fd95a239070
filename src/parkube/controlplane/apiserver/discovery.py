"""What is served, told in the forms of old and new clients: /api, /apis, group versions, and aggregated discovery v2.

Made from the catalogue when first asked for and kept as bytes until the catalogue changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from parkube.controlplane.apiserver.aggregating import discovered, groups_of
from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.apiserver.negotiation import PLAIN, PROTOBUF, Form, accepted, encode, form
from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.kinds.subresources import subresource as speaks
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.tunnel.extensions import Extension
from parkube.kubeapi.errors import NotAcceptable, Obj

_AGGREGATED = ("v2", "v2beta1")
_DISCOVERY = ("APIGroupDiscoveryList", "apidiscovery.k8s.io")  # the `as` and `g` of its media type


class Discovery:
    """Answers discovery requests; `address` is what clients of any network are told to dial. `others`: the group
    versions that other servers serve; what they say of their own resources is theirs to answer."""

    def __init__(
        self, catalogue: Catalogue, address: str = "", others: Callable[[], Iterable[Extension]] = tuple
    ) -> None:
        self._catalogue = catalogue
        self._address = address
        self._others = others
        self._kept: dict[tuple[str, str], tuple[bytes, bytes]] = {}
        catalogue.on_change(lambda what, row: self.changed())

    def changed(self) -> None:
        """What is kept holds no longer."""
        self._kept.clear()

    def handle(self, request: Request) -> Response | None:
        """The answer for a discovery path; None for any other."""
        parts = request.path.strip("/").split("/")
        if parts[0] not in ("api", "apis") or len(parts) > (2 if parts[0] == "api" else 3):
            return None
        version, shape = _form(request, aggregated=len(parts) == 1)
        key = (request.path, version or shape.content_type.decode())
        kept = self._kept.get(key)
        if kept is None:
            value = self._make(parts, version)
            if value is None:
                return None
            body = encode(value, shape)
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
            kept = self._kept[key] = (body, tag)
        body, tag = kept
        kind = shape.content_type
        if version:
            kind = b"application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList" % version.encode()
        headers = [(b"ETag", tag), (b"Vary", b"Accept")]
        if request.headers.get("if-none-match", "") == tag.decode():
            return Response(304, b"", kind, headers)
        return Response(200, body, kind, headers)

    def _make(self, parts: list[str], version: str) -> Obj | None:
        core = parts[0] == "api"
        if version:
            return self._list_all(core, version)
        if len(parts) == 1:
            return self._versions() if core else self._groups()
        group = "" if core else parts[1]
        if not core and len(parts) == 2:
            known = self._names().get(group)
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, known)} if known else None
        rows = self._by_group().get(group, {}).get(parts[-1])
        if rows is None:
            return None
        group_version = f"{group}/{parts[-1]}" if group else parts[-1]
        listed = [entry for row in rows for entry in _entries(row)]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}

    def _by_group(self) -> dict[str, dict[str, list[Resource]]]:
        """Group -> version -> rows, groups in the catalogue's order, a group's versions by preference."""
        groups: dict[str, dict[str, list[Resource]]] = {}
        for row in self._catalogue:
            groups.setdefault(row.gvr.group, {}).setdefault(row.gvr.version, []).append(row)
        return {g: dict(sorted(v.items(), key=lambda pair: _rank(pair[0]))) for g, v in groups.items()}

    def _names(self) -> dict[str, list[str]]:
        """Group -> its versions by preference, those of others too."""
        found = {group: list(versions) for group, versions in self._by_group().items()}
        for group, versions in groups_of(self._others()).items():
            found[group] = sorted({*found.get(group, ()), *versions}, key=_rank)
        return found

    def _versions(self) -> Obj:
        return {
            "kind": "APIVersions", "apiVersion": "v1", "versions": list(self._by_group().get("", {"v1": []})),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}],
        }  # fmt: skip

    def _groups(self) -> Obj:
        groups = [_group(name, versions) for name, versions in self._names().items() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def _list_all(self, core: bool, version: str) -> Obj:
        rows, others = self._by_group(), {(one.group, one.version): one for one in self._others()}

        def told(group: str, version: str) -> Obj:
            if (group, version) in others:
                return discovered(others[group, version])
            resources = [_discovered(row) for row in rows[group][version]]
            return {"version": version, "resources": resources, "freshness": "Current"}

        items = [
            {
                "metadata": {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None},
                "versions": [told(name, v) for v in versions],
            }
            for name, versions in self._names().items()
            if (name == "") == core
        ]
        return {
            "kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {},
            "items": items,
        }  # fmt: skip


def _form(request: Request, *, aggregated: bool) -> tuple[str, Form]:
    """The version of the aggregated form, "" for the plain one, and how it is written: the first that the client
    accepts and can be given. Raises NotAcceptable."""
    for media in accepted(request.headers.get("accept", "")):
        plain = media.type in ("application/json", "application/*", "*/*")
        if not media.as_:
            if plain or media.type in (PROTOBUF, "application/yaml", "text/yaml"):
                return "", form(media.raw)
        elif aggregated and plain and media[1:3] == _DISCOVERY and media.version in _AGGREGATED:
            return media.version, PLAIN
    raise NotAcceptable(
        f"only the following media types are accepted: application/json, application/yaml, {PROTOBUF}"
        + ", application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" * aggregated
    )


def _rank(version: str) -> tuple[int, int, int, str]:
    """Order of versions: stable first, then beta, then alpha; higher numbers first."""
    major, stage, minor = 0, 3, 0
    text = version[1:]
    for index, name in enumerate(("", "beta", "alpha")):
        head, sep, tail = text.partition(name) if name else (text, "", "")
        if head.isdigit() and (not name or sep) and (not tail or tail.isdigit()):
            major, stage, minor = int(head), index, int(tail or 0)
            break
    return (stage, -major, -minor, version)


def _group(name: str, versions: list[str]) -> Obj:
    listed = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _entries(row: Resource) -> list[Obj]:
    """A row and its subresources as APIResources."""
    first: dict[str, Any] = {
        "name": row.gvr.resource, "singularName": row.singular, "namespaced": row.namespaced, "kind": row.kind,
        "verbs": list(row.verbs),
    }  # fmt: skip
    if row.short_names:
        first["shortNames"] = list(row.short_names)
    if row.categories:
        first["categories"] = list(row.categories)
    if not row.virtual:
        first["storageVersionHash"] = hashlib.sha256(row.prefix.encode()).hexdigest()[:12]
    entries = [first]
    for name in row.subresources:
        about = speaks(row, name)
        entry: dict[str, Any] = {
            "name": f"{row.gvr.resource}/{name}", "singularName": "", "namespaced": row.namespaced,
            "kind": about.kind, "verbs": list(about.verbs),
        }  # fmt: skip
        if about.group or about.version:
            entry["group"], entry["version"] = about.group, about.version
        entries.append(entry)
    return entries


def _discovered(row: Resource) -> Obj:
    """A row as aggregated discovery tells it."""
    gvr = row.gvr
    entry: dict[str, Any] = {
        "resource": gvr.resource, "responseKind": {"group": gvr.group, "version": gvr.version, "kind": row.kind},
        "scope": "Namespaced" if row.namespaced else "Cluster", "singularResource": row.singular,
        "verbs": list(row.verbs),
    }  # fmt: skip
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    subresources = []
    for name in row.subresources:
        about = speaks(row, name)
        group, version = (about.group, about.version) if about.version else (gvr.group, gvr.version)
        kind = {"group": group, "version": version, "kind": about.kind}
        subresources.append({"subresource": name, "responseKind": kind, "verbs": list(about.verbs)})
    if subresources:
        entry["subresources"] = subresources
    return entry
