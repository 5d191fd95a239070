"""Where a camera at the garage pushes the plates it reads: POST /plates, JSON, on the garage's own network.

    Authorization: Bearer <cameraToken>        {"gate": "entry", "plate": "AB-12-CD", "read_at"?: RFC 3339}
    200 {"opened": true, "reason": ""}   401 another token   422 what cannot be read, every fault of it

Carries, never decides. A camera reads the same plate many times while it stands there: once answered, the same again
within a few seconds is the same answer and opens nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from parkube.parking.domain.errors import Invalid
from parkube.parking.domain.plates import plate

OnPlate = Callable[[str, str], Awaitable[tuple[bool, str]]]
"""What to do with a plate at a gate: (passes, reason)."""
MOST_BYTES: Final = 16 * 1024
SAME_WITHIN_S: Final = 10.0
WITHIN_S: Final = 5.0
_STATUS: Final = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed",
    413: "Content Too Large", 422: "Unprocessable Content",
}  # fmt: skip


class Camera:
    """The listener's side of all cameras of a garage. `gates`: those that there are."""

    def __init__(self, token: str, gates: frozenset[str], on_plate: OnPlate, monotonic: Callable[[], float]) -> None:
        self._token, self._gates, self._on_plate, self._monotonic = token, gates, on_plate, monotonic
        self._answered: dict[tuple[str, str], tuple[float, tuple[bool, str]]] = {}

    async def pushed(self, authorization: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """One push: (status, body)."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            return 401, {"reason": "this is not the cameras' token"}
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return 400, {"reason": "the body is not JSON"}
        faults, gate, normal = self._read(message)
        if faults:
            return 422, {"reason": "; ".join(faults), "faults": faults}
        ok, reason = await self._once(gate, normal)
        return 200, {"opened": ok, "reason": reason}

    def _read(self, message: Any) -> tuple[list[str], str, str]:
        if not isinstance(message, dict):
            return ["the body is not an object"], "", ""
        faults, normal = [], ""
        gate = message.get("gate")
        if gate not in list(self._gates):
            faults.append(f"gate: one of {', '.join(sorted(self._gates))}")
        try:
            normal = plate(str(message.get("plate") or "")).normal
        except Invalid as error:
            faults += [f"{field}: {text}" for field, text in error.faults]
        return faults, str(gate), normal

    async def _once(self, gate: str, normal: str) -> tuple[bool, str]:
        now = self._monotonic()
        self._answered = {key: known for key, known in self._answered.items() if now - known[0] < SAME_WITHIN_S}
        known = self._answered.get((gate, normal))
        if known is not None:
            return known[1]
        self._answered[gate, normal] = (now, (False, "being decided"))
        answer = await self._on_plate(gate, normal)
        self._answered[gate, normal] = (now, answer)
        return answer


async def serve_camera(port: int, camera: Camera) -> asyncio.Server:
    """Listen for cameras until closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                status, body = await _exchange(reader, camera)
                data = json.dumps(body).encode()
                head = f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: application/json\r\nConnection: close\r\n"
                writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, "", port, limit=MOST_BYTES)


async def _exchange(reader: asyncio.StreamReader, camera: Camera) -> tuple[int, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, _, rest = head[0].partition(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if rest.partition(" ")[0].partition("?")[0] != "/plates":
        return 404, {"reason": "cameras push to /plates"}
    if method != "POST":
        return 405, {"reason": "cameras push by POST"}
    length = headers.get("content-length", "")
    if not length.isdigit():
        return 400, {"reason": "a Content-Length is needed"}
    if int(length) > MOST_BYTES:
        return 413, {"reason": f"at most {MOST_BYTES} bytes"}
    return await camera.pushed(headers.get("authorization", ""), await reader.readexactly(int(length)))
