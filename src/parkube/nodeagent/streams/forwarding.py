"""Port-forward over WebSocket, put into the runtime's SPDY streams; over SPDY it passes through (`remote.pass_spdy`).

    WebSocket channel   2i data and 2i+1 error of the i-th port; the first message of each is the port, little-endian
    SPDY streams        `error`, then `data`, with the headers `port` and `requestID`; an end is FLAG_FIN

Source: Kubernetes port-forward over WebSocket; the subprotocols are `channels.FORWARD`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from parkube.nodeagent.streams import spdy, websocket
from parkube.nodeagent.streams.channels import Framing
from parkube.nodeagent.streams.remote import Streams, Translator

SPDY_PROTOCOLS = ("portforward.k8s.io",)
_NONE = Streams(False, False, False, False)
_FRAMING = Framing()


class Forwarder(Translator):
    """Between a client's WebSocket and the runtime's SPDY connection; ends when every port has had its end."""

    def __init__(
        self, ports: Sequence[int], client: asyncio.Transport, greeting: bytes = b"", framing: Framing = _FRAMING
    ) -> None:
        super().__init__(_NONE, client, greeting, framing)
        self._ports, self._open = ports, set(range(len(ports)))

    def runtime_ready(self, transport: asyncio.Transport) -> None:
        """Open two streams for each port, and tell the client which channel is which port."""
        self._runtime = transport
        self.client.write(self._greeting)
        for number, port in enumerate(self._ports):
            for channel, kind in ((2 * number + 1, "error"), (2 * number, "data")):
                headers = {"streamtype": kind, "port": str(port), "requestid": str(number)}
                stream, packet = self._session.open(headers)
                self._stream_of[channel], self._channel_of[stream] = stream, channel
                transport.write(packet)
            for channel in (2 * number, 2 * number + 1):
                self._send(self._framing.pack(channel, port.to_bytes(2, "little")))
        self.ready.set_result(None)

    def runtime_data(self, data: bytes) -> None:
        """SPDY frames: to the client's channels."""
        for event in self._session.feed(data):
            if isinstance(event, bytes):
                if self._runtime is not None:
                    self._runtime.write(event)
                continue
            channel = self._channel_of.get(event.stream)
            if channel is None:
                continue
            if isinstance(event, spdy.Data) and event.payload:
                self._send(self._framing.pack(channel, event.payload))
            if (isinstance(event, spdy.Reset) or event.end) and not channel % 2:
                self._open.discard(channel // 2)
        if not self._open:
            self._close(1000)

    def runtime_lost(self, fault: str = "") -> None:
        """The runtime went away: so does the client's connection."""
        self._runtime = None
        self._close(1000, fault)

    def _message(self, message: websocket.Message) -> None:
        opcode, payload = message
        if opcode in (websocket.BINARY, websocket.TEXT):
            channel, body = self._framing.unpack(payload) or (-1, b"")
            stream = self._stream_of.get(channel)
            if stream is not None and not channel % 2 and body and self._runtime is not None:
                self._runtime.write(self._session.data(stream, body))
            return
        super()._message(message)
