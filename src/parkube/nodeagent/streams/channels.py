"""WebSocket subprotocols of streams: how a channel's number and bytes are put into a message, and which are spoken.

    channel.k8s.io, v4, v5     binary: one byte, the channel's number, then its bytes
    base64.channel.k8s.io      text: one digit, the channel's number, then its bytes in Base64
    binary.k8s.io              binary: a log's bytes as they are; base64.binary.k8s.io: text, in Base64

A client that offers no subprotocol is spoken to in the oldest. Pure.
Source: Kubernetes, WebSocket subprotocols of remotecommand, port-forward and logs (RFC 6455, 1.9).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from parkube.nodeagent.streams import websocket


class Framing(NamedTuple):
    """`text`: Base64 in text messages; `plain`: a fault is told in words, and success not at all."""

    text: bool = False
    plain: bool = False

    def pack(self, channel: int, payload: bytes) -> bytes:
        """The frame that carries a channel's bytes."""
        if self.text:
            return websocket.frame(websocket.TEXT, b"%d%b" % (channel, b64encode(payload)))
        return websocket.frame(websocket.BINARY, bytes((channel,)) + payload)

    def unpack(self, message: bytes) -> tuple[int, bytes] | None:
        """Channel and bytes of a client's message; None when it says nothing."""
        if not message:
            return None
        if not self.text:
            return message[0], message[1:]
        try:
            return message[0] - ord("0"), b64decode(message[1:], validate=True)
        except (Error, ValueError):
            return None


REMOTE: Mapping[str, Framing] = {
    "v5.channel.k8s.io": Framing(), "v4.channel.k8s.io": Framing(), "v4.base64.channel.k8s.io": Framing(text=True),
    "channel.k8s.io": Framing(plain=True), "base64.channel.k8s.io": Framing(text=True, plain=True),
    "": Framing(plain=True),
}  # fmt: skip
FORWARD: Mapping[str, Framing] = {
    "v4.channel.k8s.io": Framing(), "v4.base64.channel.k8s.io": Framing(text=True), "portforward.k8s.io": Framing(),
    "": Framing(),
}  # fmt: skip
LOGS: Mapping[str, Framing] = {
    "binary.k8s.io": Framing(), "base64.binary.k8s.io": Framing(text=True), "": Framing(),
}  # fmt: skip


def choose(spoken: Mapping[str, Framing], offered: Sequence[str]) -> str | None:
    """The best subprotocol that both know; None when there is none."""
    names = [name for name in offered if name] or [""]
    return next((name for name in spoken if name in names), None)


def log_frame(framing: Framing, chunk: bytes) -> bytes:
    """A log's bytes, which have no channel."""
    if framing.text:
        return websocket.frame(websocket.TEXT, b64encode(chunk))
    return websocket.frame(websocket.BINARY, chunk)
