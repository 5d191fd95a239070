"""The client's side of a log over WebSocket: what it says is not heard, its end is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from parkube.nodeagent.streams import websocket
from parkube.nodeagent.streams.errors import StreamFault


class Listener(asyncio.Protocol):
    """Answers pings; `gone` is called when the client has ended. `ready` is set while the connection takes more."""

    def __init__(self, client: asyncio.Transport, gone: Callable[[], object]) -> None:
        self._client, self._gone = client, gone
        self._reader = websocket.Reader()
        self.ready = asyncio.Event()
        self.ready.set()

    def data_received(self, data: bytes) -> None:
        try:
            for opcode, payload in self._reader.feed(data):
                if opcode == websocket.PING:
                    self._client.write(websocket.frame(websocket.PONG, payload))
                elif opcode == websocket.CLOSE:
                    self._end()
        except StreamFault:
            self._end()

    def _end(self) -> None:
        self._gone()
        self._client.close()

    def eof_received(self) -> bool:
        self._gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready.set()
        self._gone()

    def pause_writing(self) -> None:
        self.ready.clear()

    def resume_writing(self) -> None:
        self.ready.set()
