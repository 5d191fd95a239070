"""Calls webhooks: by URL from this machine, or by a Service through whichever node its endpoint is on.

What is asked and what an answer means is not known here.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from functools import lru_cache
from urllib.parse import urlsplit

from parkube.controlplane.tunnel.reach import Reach
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.http import Dialer, HttpClient, tcp

_LONGEST = 3 * 1024 * 1024


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    """Trusts the bundle (base64 of PEM); where it is empty, what this machine trusts. Raises ValueError."""
    try:
        pem = base64.b64decode(bundle).decode()
        return ssl.create_default_context(cadata=pem or None)
    except (binascii.Error, ssl.SSLError) as error:
        raise ValueError(f"unable to load root certificates: {error}") from error


class Hooks:
    """`post` goes into `Webhooks.call`."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def post(self, client: Obj, body: bytes, timeout_s: float) -> bytes:
        """The answer's body. Raises OSError, TimeoutError, ValueError, ApiError."""
        dial, host, path = await self._target(client)
        separator = "&" if "?" in path else "?"
        caller = HttpClient(dial, host=host, max_idle=0)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            answer = await caller.request(
                "POST", f"{path}{separator}timeout={timeout_s:.0f}s", body=body, headers=headers, timeout=timeout_s
            )
        finally:
            await caller.close()
        if answer.status != 200:
            said = answer.body[:200].decode(errors="replace")
            raise ValueError(f"the server answered {answer.status}: {said}")
        if len(answer.body) > _LONGEST:
            raise ValueError("the answer is too long")
        return answer.body

    async def _target(self, client: Obj) -> tuple[Dialer, str, str]:
        context = _context(client.get("caBundle") or "")
        service = client.get("service")
        if service:
            host = f"{service['name']}.{service['namespace']}.svc"
            place = await self._reach.service(service["namespace"], service["name"], str(service.get("port") or 443))
            return self._reach.dialer(place, context, host), host, service.get("path") or "/"
        url = urlsplit(client.get("url") or "")
        name = url.hostname or ""
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return tcp(name, url.port or 443, context, name), url.netloc, path
