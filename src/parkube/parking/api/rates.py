"""Rate limits: how often one address may call, most strictly where something is guessed or sent. In memory.

A bucket for each caller and each kind of call fills by the second; an empty one is 429 with Retry-After. Several
processes have several buckets: the limit that guards accounts, the lock-out, is in the database.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from parkube.parking.api.problems import problem
from parkube.parking.services.platform import Platform

_MOST_CALLERS: Final = 50_000
_OPERATOR: Final = "/api/v1/operator/"
"""Its token cannot be guessed, and it tells of thousands of garages at once."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many a second after that."""

    burst: int
    per_s: float


LOGIN: Final = Rate(20, 0.2)
WEBHOOK: Final = Rate(500, 50)


class RateLimit:
    """Refuses what comes too often. `every` is the limit for all calls, None for none."""

    def __init__(self, app: ASGIApp, every: Rate | None = None) -> None:
        self._app, self._every = app, every
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        kind, rate = _kind(scope["path"], self._every)
        wait_s = 0.0
        if rate is not None:
            platform: Platform = scope["app"].state.platform
            caller = scope["client"][0] if scope.get("client") else ""
            wait_s = self._take((caller, kind), rate, platform.clock().timestamp())
        if wait_s > 0:
            said = "that was too often, wait a moment"
            headers = {"Retry-After": str(int(wait_s) + 1)}
            await problem(429, "too_many", said, (), headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _take(self, key: tuple[str, str], rate: Rate, now: float) -> float:
        """Takes one from a bucket. Returns how long to wait for it, 0 where it was there."""
        left, since = self._buckets.pop(key, (float(rate.burst), now))
        left = min(float(rate.burst), left + max(0.0, now - since) * rate.per_s)
        taken = left >= 1
        self._buckets[key] = (left - 1 if taken else left, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - left) / rate.per_s


def _kind(path: str, every: Rate | None) -> tuple[str, Rate | None]:
    if path.startswith(("/api/v1/driver/login", "/api/v1/staff/")):
        return "login", LOGIN
    if path.startswith("/api/v1/provider/"):
        return "webhook", WEBHOOK
    if path.startswith(_OPERATOR):
        return "operator", None
    return "every", every
