"""The garage app's health page for its container's probes: 200 and a JSON line. Shows, changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping


async def serve_health(port: int, state: Callable[[], Mapping[str, bool]]) -> asyncio.Server:
    """Answer every GET with the state; 503 only when the journal is down, since a restart may mend that."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                await reader.readuntil(b"\r\n\r\n")
                found = dict(state())
                body = json.dumps(found).encode()
                line = b"200 OK" if found.get("journal", True) else b"503 Service Unavailable"
                writer.write(
                    b"HTTP/1.1 " + line + b"\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(answer, "", port)
