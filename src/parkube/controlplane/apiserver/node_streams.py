"""`pods/log`, `exec`, `attach` and `portforward`: carried to the pod's node through its tunnel."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qsl

from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.apiserver.special import Raw
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Resource
from parkube.controlplane.tunnel import pods as targets
from parkube.controlplane.tunnel import relay
from parkube.controlplane.tunnel.answers import Answer
from parkube.controlplane.tunnel.tunnels import Tunnels
from parkube.kubeapi.client import GVR, PODS
from parkube.kubeapi.errors import BadRequest

_TARGETS = {"exec": targets.exec_target, "attach": targets.attach_target, "portforward": targets.forward_target}


def handlers(registry: Registry, tunnels: Tunnels) -> dict[tuple[GVR, str], Raw]:
    """The handlers of these subresources."""

    async def log(request: Request, row: Resource, namespace: str, name: str) -> Response | None:
        pod = (await registry.get(row, namespace, name)).object()
        target = targets.log_target(pod, parse_qsl(request.raw_query, keep_blank_values=True))
        if request.headers.get("upgrade", "").lower() == "websocket":
            relay.pass_through(tunnels, target.node, "GET", target.path, request.headers.items(), request.hijack)
            return None
        return await send(request, await relay.fetch(tunnels, target.node, target.path))

    def upgraded(kind: str) -> Raw:
        async def handle(request: Request, row: Resource, namespace: str, name: str) -> Response | None:
            pod = (await registry.get(row, namespace, name)).object()
            target = _TARGETS[kind](pod, parse_qsl(request.raw_query, keep_blank_values=True))
            if not request.headers.get("upgrade"):
                raise BadRequest("you must specify an Upgrade header: WebSocket or SPDY/3.1")
            relay.pass_through(
                tunnels, target.node, request.method, target.path, request.headers.items(), request.hijack
            )
            return None

        return handle

    return {(PODS, "log"): log, **{(PODS, kind): upgraded(kind) for kind in _TARGETS}}


async def send(request: Request, answer: Answer) -> Response | None:
    """An answer of the tunnel's as one of ours; chunks go out at the client's pace."""
    chunks = answer.chunks
    if chunks is None:
        return Response(answer.status, answer.body, answer.content_type, answer.headers)
    stream = request.stream(answer.status, answer.content_type, answer.headers)
    task = asyncio.current_task()
    assert task is not None
    stream.on_close(task.cancel)  # a log that is followed may be silent for hours after its reader left
    try:
        with contextlib.suppress(ConnectionResetError):
            async for chunk in chunks:
                stream.write(chunk)
                await stream.drain()
    except asyncio.CancelledError:
        if not stream.closed:
            raise
        task.uncancel()
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]
    stream.end()
    return None
