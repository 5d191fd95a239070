"""What is of no use after a while: Events after an hour, certificate requests an hour after their end, or after a day.

Without this the store would only grow. It reads whole lists, but seldom, and page by page.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.runner import Env, in_flight
from parkube.kubeapi.client import CSRS, EVENTS, GVR
from parkube.kubeapi.compact import epoch
from parkube.kubeapi.errors import ApiError, NotFound, Obj

log = logging.getLogger(__name__)
_PERIOD_S, _PAGE = 300.0, 500
EVENT_S, DONE_S, PENDING_S = 3600.0, 3600.0, 24 * 3600.0


def event_ends(event: Obj) -> float:
    """When an Event may go, s since 1970."""
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), series.get("lastObservedTime"), event.get("eventTime"))
    last = max(epoch(t) for t in (*times, event["metadata"].get("creationTimestamp")))
    return last + EVENT_S


def request_ends(csr: Obj) -> float:
    """When a CertificateSigningRequest may go, s since 1970."""
    made, status = epoch(csr["metadata"].get("creationTimestamp")), csr.get("status") or {}
    decided = [c for c in status.get("conditions") or () if c.get("type") in ("Approved", "Denied", "Failed")]
    if not decided:
        return made + PENDING_S
    return max(epoch(c.get("lastUpdateTime")) or made for c in decided) + DONE_S


class Expiry:
    """Looks every five minutes."""

    name: ClassVar[str] = "expiry"
    inputs: ClassVar[tuple[GVR, ...]] = (EVENTS, CSRS)
    outputs: ClassVar[tuple[GVR, ...]] = (EVENTS, CSRS)

    def __init__(self, env: Env) -> None:
        self._client, self._clock = env.client, env.clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            for gvr, ends in ((EVENTS, event_ends), (CSRS, request_ends)):
                try:
                    continue_ = "first"
                    while continue_:
                        page = await self._client.list(gvr, limit=_PAGE, continue_=continue_.removeprefix("first"))
                        now = self._clock()
                        old = [o["metadata"] for o in page.get("items") or () if ends(o) <= now]
                        await in_flight([partial(self._drop, gvr, m) for m in old], 8)
                        continue_ = (page.get("metadata") or {}).get("continue") or ""
                except (ApiError, OSError) as error:
                    log.warning("old %s stay for now: %s", gvr.resource, error)

    async def _drop(self, gvr: GVR, metadata: Obj) -> None:
        preconditions = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        try:
            options = {"preconditions": preconditions}
            await self._client.delete(gvr, metadata["name"], metadata.get("namespace", ""), options=options)
        except NotFound:
            return
