"""Requests for what another API server serves: passed on to it in the name of who asked; and what is told of it.

The client was authenticated and authorised here as for any resource. The other server learns who it is from headers,
which it believes because our certificate is of the request-header CA. Whether it answers is `tunnel.extensions`'.
Source: Kubernetes documentation, "Configure the Aggregation Layer".
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.apiserver.node_streams import send
from parkube.controlplane.registry.resource import User
from parkube.controlplane.tunnel import relay
from parkube.controlplane.tunnel.answers import Answer
from parkube.controlplane.tunnel.extensions import Extension, Extensions
from parkube.kubeapi.errors import Obj, ServiceUnavailable

_OURS = frozenset((
    "authorization", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
))  # fmt: skip
_BETWEEN = frozenset((b"connection", b"content-length", b"content-type", b"keep-alive", b"transfer-encoding"))
_OTHERS_WORDS = ("x-remote-", "impersonate-")


class Aggregator:
    """Knows which paths are another server's, and asks that server."""

    def __init__(self, extensions: Extensions) -> None:
        self._extensions = extensions

    def of(self, path: str) -> Extension | None:
        """Whose the path is; None: ours."""
        if not self._extensions.by_version or not path.startswith("/apis/"):
            return None
        parts = path.split("/", 4)
        return self._extensions.by_version.get((parts[2], parts[3])) if len(parts) > 3 else None

    async def serve(self, request: Request, user: User, extension: Extension) -> Response | None:
        """The other server's answer, as it comes. Raises ServiceUnavailable when it cannot be had."""
        if not extension.available:
            raise ServiceUnavailable("service unavailable")
        dial = await self._extensions.dialer(extension)
        target, headers = request.target.decode("latin-1"), forwarded(request, user, extension.host)
        if "upgrade" in request.headers:
            headers.append(("upgrade", request.headers["upgrade"]))
            await relay.pass_upgrade(dial, request.method, target, headers, request.hijack)
            return None
        status, fields, chunks = await relay.exchange(dial, request.method, target, headers, request.body)
        kind = next((value for name, value in fields if name.lower() == b"content-type"), b"")
        rest = [(name, value) for name, value in fields if name.lower() not in _BETWEEN]
        if request.method == "HEAD" or status in (204, 304):
            await chunks.aclose()  # type: ignore[attr-defined]
            return Response(status, b"", kind, rest)
        return await send(request, Answer(status, b"", kind, rest, chunks))


def forwarded(request: Request, user: User, host: str) -> list[tuple[str, str]]:
    """The client's headers, and who it is; nobody else may say that."""
    kept = [
        (name, value)
        for name, value in request.headers.items()
        if name not in _OURS and not name.startswith(_OTHERS_WORDS)
    ]
    kept += [("host", host), ("x-remote-user", user.name)]
    if user.uid:
        kept.append(("x-remote-uid", user.uid))
    kept += [("x-remote-group", group) for group in user.groups]
    return kept + [(f"x-remote-extra-{quote(key, safe='')}", value) for key, values in user.extra for value in values]


def groups_of(extensions: Iterable[Extension]) -> dict[str, list[str]]:
    """The versions of each group that others serve."""
    found: dict[str, list[str]] = {}
    for one in extensions:
        found.setdefault(one.group, []).append(one.version)
    return found


def discovered(extension: Extension) -> Obj:
    """A version as aggregated discovery tells it; stale while the other server does not answer."""
    entries: dict[str, Obj] = {}
    for one in extension.resources:
        name, _, sub = str(one["name"]).partition("/")
        kind = {
            "group": one.get("group") or extension.group, "version": one.get("version") or extension.version,
            "kind": one.get("kind") or "",
        }  # fmt: skip
        if sub:
            if name in entries:
                told = {"subresource": sub, "responseKind": kind, "verbs": one.get("verbs") or []}
                entries[name].setdefault("subresources", []).append(told)
            continue
        entries[name] = {
            "resource": name, "responseKind": kind, "scope": "Namespaced" if one.get("namespaced") else "Cluster",
            "singularResource": one.get("singularName") or "", "verbs": one.get("verbs") or [],
        } | {key: one[key] for key in ("shortNames", "categories") if one.get(key)}  # fmt: skip
    freshness = "Current" if extension.available else "Stale"
    return {"version": extension.version, "resources": list(entries.values()), "freshness": freshness}
