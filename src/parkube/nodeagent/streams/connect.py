"""`CONNECT host:port`: a TCP connection from this node for the server, which cannot dial into the node's networks.

Passes bytes; knows no protocol above and asks nobody: only the API server opens streams, after its own access rules.
Source: RFC 9110, 9.3.6.
"""

from __future__ import annotations

import asyncio
import os

from parkube.kubeapi.errors import BadRequest, ServiceUnavailable
from parkube.kubeapi.splice import Splice

CONNECT_S = 10.0
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def authority(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises `BadRequest`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadRequest(f'"{text}" is no address and port')
    return host.removeprefix("[").removesuffix("]"), int(port)


async def connect(text: str, transport: asyncio.Transport) -> asyncio.Protocol:
    """Connect and say so; the protocol that `transport` has from now on. Raises `BadRequest`, `ServiceUnavailable`."""
    host, port = authority(text)
    near, far = Splice(), Splice()
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().create_connection(lambda: far, host, port)
    except TimeoutError as error:
        raise ServiceUnavailable(f"error trying to reach {text}: no answer in {CONNECT_S:.0f} s") from error
    except OSError as error:
        raise ServiceUnavailable(f"error trying to reach {text}: {os.strerror(error.errno or 0)}") from error
    transport.write(ESTABLISHED)
    near.connection_made(transport)
    near.join(far)
    return near
