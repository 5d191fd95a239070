"""The operator's view of the platform: its operator API over HTTP. Knows URLs and codes, decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx

from parkube.parking.operator.errors import PlatformAway, PlatformRefused
from parkube.parking.operator.status import Cycle

Obj = dict[str, Any]


class Platform:
    """One platform. `token` is the operator's; every call raises PlatformAway or PlatformRefused."""

    def __init__(self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, timeout=15, headers={"Authorization": f"Bearer {token}"}, transport=transport, trust_env=False
        )

    async def put_garage(self, name: str, body: Obj) -> None:
        """Tell the platform what the Garage says."""
        await self._ask("PUT", f"/api/v1/operator/garages/{name}", body)

    async def new_token(self, name: str) -> str:
        """A new secret for the garage's link; the one before it works until this one was used."""
        return str((await self._ask("POST", f"/api/v1/operator/garages/{name}/token"))["token"])

    async def verify(self, name: str) -> Cycle:
        """Run one synthetic gate cycle. A platform that does not answer is a cycle that failed at `platform`."""
        try:
            found = await self._ask("POST", f"/api/v1/operator/garages/{name}/verify")
        except (PlatformAway, PlatformRefused) as error:
            return Cycle(False, now(), 0, "platform", str(error))
        return Cycle(
            bool(found["ok"]), str(found["at"]), int(found.get("duration_ms") or 0), found.get("step") or "",
            found.get("reason") or "",
        )  # fmt: skip

    async def seen(self, name: str) -> Obj:
        """What the platform knows of the garage now, as status fields; empty when it knows nothing."""
        try:
            fleet = await self._ask("GET", "/api/v1/operator/fleet")
        except (PlatformAway, PlatformRefused):
            return {}
        row: Obj = next((row for row in fleet["garages"] if row["id"] == name), {})
        fields = (("free_bays", "freeBays"), ("app_version", "appVersion"), ("last_seen", "lastSeen"))
        return {theirs: row[ours] for ours, theirs in fields if row.get(ours) is not None}

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: Obj | None = None) -> Obj:
        try:
            answer = await self._http.request(method, path, json=body)
            found: Obj = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise PlatformAway(f"the platform does not answer: {error or type(error).__name__}") from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise PlatformAway(f"the platform cannot now: {found.get('detail', answer.status_code)}")
        if answer.status_code >= 400:
            raise PlatformRefused(f"the platform refuses: {found.get('detail', answer.status_code)}")
        return found


def now() -> str:
    """RFC 3339 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
