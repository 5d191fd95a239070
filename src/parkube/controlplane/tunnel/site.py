"""Everything this package serves outside the Kubernetes API, behind one door: `/cacerts`, `/v1-parkube/…`, `/v2/…`.

The API server asks `owns(path)`, authenticates as always (anonymous is allowed here), and calls `handle`; only
`GET /v1-parkube/tunnel` is not answered here, since it needs the raw connection: that is `Tunnels.adopt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parkube.controlplane.pki import Pki
from parkube.controlplane.tunnel.answers import Answer, Ask
from parkube.controlplane.tunnel.joining import Joining
from parkube.controlplane.tunnel.mirror import Mirror
from parkube.controlplane.tunnel.tunnels import node_of
from parkube.kubeapi.client import Client
from parkube.kubeapi.errors import Forbidden, MethodNotAllowed, NotFound

TUNNEL_PATH = "/v1-parkube/tunnel"


def owns(path: str) -> bool:
    """Whether the path is served here."""
    return path == "/cacerts" or path.startswith(("/v1-parkube/", "/v2/")) or path == "/v2"


class Site:
    """The handlers, put together."""

    def __init__(self, pki: Pki, client: Client, images_dir: Path, settings: Mapping[str, Any]) -> None:
        self.joining = Joining(pki, client, settings)
        self.mirror = Mirror(images_dir)

    async def handle(self, ask: Ask) -> Answer:
        """Answer one request. Raises an `ApiError`."""
        reading = ask.method in ("GET", "HEAD")
        if ask.path == "/cacerts" and reading:
            return self.joining.cacerts()
        if ask.path == "/v1-parkube/join":
            if ask.method != "POST":
                raise MethodNotAllowed("join with POST")
            return await self.joining.join(ask)
        if ask.path == "/v2" or ask.path.startswith("/v2/"):
            if not (node_of(ask.user) or "system:masters" in ask.user.groups):
                raise Forbidden("only nodes of this cluster may pull images from here")
            if not reading:
                raise MethodNotAllowed("this image registry is read-only")
            return await self.mirror.handle(ask)
        raise NotFound(f"nothing is served at {ask.path}")
