"""Service account tokens for projected volumes, asked of the API and renewed at four fifths of their life.

With no network the token that lies in the volume already goes on being used.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from parkube.kubeapi.client import SERVICEACCOUNTS, Client
from parkube.kubeapi.errors import ApiError, Obj
from parkube.nodeagent.plan.status import unix_seconds
from parkube.nodeagent.volumes.project import MountFault

_SHARE = 0.8


class _Token(NamedTuple):
    text: str
    renew_at: float


class Tokens:
    """Tokens by pod, audience and lifetime."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client, self._clock = client, clock
        self._tokens: dict[str, dict[tuple[str, int], _Token]] = {}

    async def fetch(self, pod: Obj, volume_path: Callable[[Obj], Path]) -> float:
        """Have fresh tokens for all of the pod's volumes; when to come again (0: never). Raises `MountFault`."""
        held = self._tokens.setdefault(pod["metadata"]["uid"], {})
        again = 0.0
        for volume in pod["spec"].get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                wanted = source.get("serviceAccountToken")
                if not wanted:
                    continue
                key = (wanted.get("audience") or "", int(wanted.get("expirationSeconds") or 3600))
                if key not in held or self._clock() >= held[key].renew_at:
                    held[key] = await self._request(pod, *key, volume_path(volume) / wanted["path"])
                again = min(again or held[key].renew_at, held[key].renew_at)
        return again

    async def _request(self, pod: Obj, audience: str, seconds: int, before: Path) -> _Token:
        meta = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": meta["name"], "uid": meta["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound,
            },
        }  # fmt: skip
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            answer = await self._client.create(
                SERVICEACCOUNTS, request, meta["namespace"], name=account, subresource="token"
            )
        except (ApiError, OSError) as error:
            if before.exists():
                return _Token(before.read_text(), self._clock() + 60)
            raise MountFault(f"failed to fetch token: {error}") from error
        now = self._clock()
        expires = unix_seconds(answer["status"].get("expirationTimestamp")) or now + seconds
        life = max(expires - now, 60.0)
        return _Token(answer["status"]["token"], now + life * (_SHARE - 0.05 * random.random()))

    def get(self, uid: str, audience: str, seconds: int) -> str:
        """A token that `fetch` got. Raises `MountFault`."""
        found = self._tokens.get(uid, {}).get((audience, seconds))
        if found is None:
            raise MountFault("no service account token yet")
        return found.text

    def release(self, uid: str) -> None:
        """The pod is gone."""
        self._tokens.pop(uid, None)
