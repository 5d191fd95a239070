"""The `proxy` subresource of pods, Services and nodes: a client's HTTP request, made inside the cluster on its behalf.

    /api/v1/namespaces/<ns>/pods/[scheme:]<name>[:port]/proxy/<path>      any method, upgrades too
    /api/v1/namespaces/<ns>/services/[scheme:]<name>[:port]/proxy/<path>
    /api/v1/nodes/<name>[:port]/proxy/<path>                              without a port, or 10250: the node's agent

Where a name leads is `tunnel.reach`'s, what must change in an answer `tunnel.rewriting`'s. Certificates of what is
proxied are not checked, as with any Kubernetes: pods have none that this server could know.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from parkube.controlplane.apiserver.http import Header, Request, Response
from parkube.controlplane.apiserver.node_streams import send
from parkube.controlplane.apiserver.special import Raw
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.tunnel import relay, rewriting
from parkube.controlplane.tunnel.answers import Answer
from parkube.controlplane.tunnel.reach import Named, Reach, named
from parkube.controlplane.tunnel.tunnels import Tunnels
from parkube.kubeapi.client import GVR, NODES, PODS, SERVICES
from parkube.kubeapi.errors import BadRequest
from parkube.kubeapi.http import Dialer

AGENT_PORT = "10250"  # kubelet's, by which clients know a node's agent
_HOP = frozenset((
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length", "expect",
))  # fmt: skip
_KEPT_BACK = frozenset(("authorization", "accept-encoding"))
_MAX_PAGE = 8 * 1024 * 1024  # of HTML, which is read whole to be rewritten


def handlers(reach: Reach, tunnels: Tunnels) -> dict[tuple[GVR, str], Raw]:
    """The handlers of the three subresources."""
    finders = {PODS: reach.pod, SERVICES: reach.service}

    async def place(gvr: GVR, namespace: str, at: Named) -> Dialer:
        if gvr == NODES:
            if at.port in ("", AGENT_PORT):
                return partial(_to_agent, tunnels, at.name)
            if not at.port.isdigit():
                raise BadRequest(f'"{at.port}" is no port')
            found = await reach.node(at.name, int(at.port))
        else:
            found = await finders[gvr](namespace, at.name, at.port)
        return reach.dialer(found, _unchecked() if at.scheme == "https" else None)

    async def proxy(request: Request, row: Resource, namespace: str, name: str) -> Response | None:
        at = named(name)
        prefix, path = _split(request.target.partition(b"?")[0].decode("latin-1"), namespaced=bool(namespace))
        query = f"?{request.raw_query}" if request.raw_query else ""
        if not path and request.method in ("GET", "HEAD") and "upgrade" not in request.headers:
            return Response(
                301, b"", b"text/html; charset=utf-8", [(b"Location", f"{prefix}/{query}".encode("latin-1"))]
            )
        dial = await place(row.gvr, namespace, at)
        target = (path or "/") + query
        headers = _forwarded(request, prefix + path)
        if "upgrade" in request.headers:
            headers.append(("upgrade", request.headers["upgrade"]))
            await relay.pass_upgrade(dial, request.method, target, headers, request.hijack)
            return None
        status, fields, chunks = await relay.exchange(dial, request.method, target, headers, request.body)
        return await _answer(request, status, fields, chunks, prefix)

    return {(gvr, "proxy"): proxy for gvr in (PODS, SERVICES, NODES)}


async def _to_agent(tunnels: Tunnels, node: str, factory: Any) -> tuple[Any, Any]:
    protocol = factory()
    return tunnels.open(node, protocol), protocol


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _split(path: str, *, namespaced: bool) -> tuple[str, str]:
    """The path up to and with `proxy`, and what follows it, both as the client wrote them."""
    parts = path.split("/")
    at = 8 if namespaced else 6  # "", api, v1, (namespaces, <ns>,) <resource>, <name>, proxy
    rest = parts[at:]
    return "/".join(parts[:at]), "/" + "/".join(rest) if rest else ""


def _forwarded(request: Request, path: str) -> list[tuple[str, str]]:
    """The client's headers without those between it and us, and who forwards them."""
    kept = [(name, value) for name, value in request.headers.items() if name not in _HOP and name not in _KEPT_BACK]
    transport = request.connection.transport
    peer = (transport.get_extra_info("peername") if transport is not None else None) or ("",)
    before = request.headers.get("x-forwarded-for", "")
    kept = [(name, value) for name, value in kept if not name.startswith("x-forwarded-")]
    return [
        *kept, ("x-forwarded-for", ", ".join(text for text in (before, str(peer[0])) if text)),
        ("x-forwarded-host", request.headers.get("host", "")), ("x-forwarded-proto", "https"),
        ("x-forwarded-uri", path),
    ]  # fmt: skip


async def _answer(
    request: Request, status: int, fields: list[Header], chunks: AsyncIterator[bytes], prefix: str
) -> Response | None:
    host, content_type, headers = request.headers.get("host", ""), b"", []
    for name, value in fields:
        key = name.decode("latin-1").lower()
        if key == "content-type":
            content_type = value
        elif key == "location":
            headers.append((name, rewriting.link(value.decode("latin-1"), host, prefix).encode("latin-1")))
        elif key not in _HOP:
            headers.append((name, value))
    if request.method == "HEAD" or status in (204, 304):
        await chunks.aclose()  # type: ignore[attr-defined]
        return Response(status, b"", content_type, headers)
    if content_type.startswith(b"text/html"):
        html = b"".join([chunk async for chunk in chunks])
        if len(html) <= _MAX_PAGE:
            html = rewriting.page(html, host, prefix)
        return Response(status, html, content_type, headers)
    return await send(request, Answer(status, b"", content_type, headers, chunks))
