"""What agents use beside the Kubernetes API: joining, the tunnel and the image mirror, mounted into the app."""

from __future__ import annotations

from parkube.controlplane.apiserver.app import App
from parkube.controlplane.apiserver.http import Request, Response
from parkube.controlplane.apiserver.node_streams import send
from parkube.controlplane.tunnel.answers import Ask
from parkube.controlplane.tunnel.site import TUNNEL_PATH, Site
from parkube.controlplane.tunnel.tunnels import UPGRADE, Tunnels
from parkube.kubeapi.errors import BadRequest


def mount_site(app: App, site: Site, tunnels: Tunnels) -> None:
    """Put it in; these handlers decide by themselves who may."""

    async def handle(request: Request) -> Response | None:
        ask = Ask(request.method, request.path, request.query, request.headers, request.body, request.user)
        return await send(request, await site.handle(ask))

    async def tunnel(request: Request) -> Response | None:
        if request.headers.get("upgrade", "").lower() != UPGRADE:
            raise BadRequest(f"this path is for tunnels: ask with Upgrade: {UPGRADE}")
        tunnels.adopt(request.user, request.hijack)
        return None

    app.mount(TUNNEL_PATH, tunnel, public=True)
    for path in ("/cacerts", "/v1-parkube/", "/v2", "/v2/"):
        app.mount(path, handle, public=True)
