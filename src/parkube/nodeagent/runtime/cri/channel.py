"""One gRPC connection over a unix socket, moving plain dicts. It retries nothing and knows no method."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from parkube.nodeagent.runtime.cri.messages import CODEC
from parkube.nodeagent.runtime.cri.wire import Message, WireError
from parkube.nodeagent.runtime.port import NoSuchContainer, RuntimeFault


class _DictCodec(CodecBase):
    """Message types are names in the tables."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return CODEC.encode(message_type, message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return CODEC.decode(message_type, data)


class UnixChannel:
    """Calls by path and message names. Connects on first use and again after a break."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._channel = Channel(path=str(socket), codec=_DictCodec())

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    async def call(
        self,
        path: str,
        request_type: str,
        request: Message,
        reply_type: str = "Empty",
        *,
        timeout_s: float = 120.0,
        metadata: dict[str, str] | None = None,
    ) -> Message:
        """One request and its answer. Raises `RuntimeFault`, `NoSuchContainer`, `TimeoutError`."""
        method: Any = UnaryUnaryMethod(self._channel, path, cast(Any, request_type), cast(Any, reply_type))
        try:
            return cast(Message, await method(request, timeout=timeout_s, metadata=metadata))
        except GRPCError as error:
            raise self._fault(error, path) from error
        except (OSError, ProtocolError, StreamTerminatedError, WireError) as error:
            raise RuntimeFault(f"the container runtime at {self._socket} does not answer: {error}") from error

    async def stream(self, path: str, request_type: str, request: Message, reply_type: str) -> AsyncIterator[Message]:
        """One request and many answers, until the other side ends it. Raises `RuntimeFault`."""
        method: Any = UnaryStreamMethod(self._channel, path, cast(Any, request_type), cast(Any, reply_type))
        try:
            async with method.open() as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    yield message
        except GRPCError as error:
            raise self._fault(error, path) from error
        except (OSError, ProtocolError, StreamTerminatedError, WireError) as error:
            raise RuntimeFault(f"the container runtime at {self._socket} does not answer: {error}") from error

    def _fault(self, error: GRPCError, path: str) -> Exception:
        message = error.message or f"{path.rsplit('/', 1)[-1]}: {error.status.name}"
        if error.status is Status.NOT_FOUND:
            return NoSuchContainer(message)
        if error.status is Status.DEADLINE_EXCEEDED:
            return TimeoutError(message)
        return RuntimeFault(message)


async def answers(socket: Path) -> bool:
    """Whether somebody accepts connections there."""
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True
