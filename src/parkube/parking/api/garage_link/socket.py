"""The garage link's WebSocket: frames in and out. What they mean is decided in the services.

A frame that cannot be stored closes the link without an acknowledgement: the garage then sends it again.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect

from parkube.parking.api.garage_link.frames import Event, Events, FromGarage, Hello, Result, Status
from parkube.parking.domain.errors import Denied, ParkingError, Unavailable
from parkube.parking.domain.garages import GateEvent
from parkube.parking.domain.times import rfc3339
from parkube.parking.services import arriving, fleet, journal, news
from parkube.parking.services.links import Connection, Outcome
from parkube.parking.services.platform import Platform

router = APIRouter()
_log = logging.getLogger(__name__)
HELLO_WITHIN_S: Final = 10.0
QUIET_FOR_S: Final = 60.0
_BAD_FRAME, _REPLACED, _TRY_AGAIN = 1008, 4000, 1013


@router.websocket("/api/v1/garage/link")
async def link(socket: WebSocket) -> None:
    """One garage, from its hello until it leaves."""
    platform: Platform = socket.app.state.platform
    kind, _, token = socket.headers.get("authorization", "").partition(" ")
    await socket.accept()
    try:
        hello = await _frame(socket, HELLO_WITHIN_S)
        if not isinstance(hello, Hello):
            raise Denied("the first frame is not hello")
        if kind.lower() != "bearer":
            raise Denied("the link needs the garage's token")
        await fleet.check_token(platform, hello.garage, token.strip())
    except (TimeoutError, ParkingError, ValidationError, WebSocketDisconnect) as error:
        await _close(socket, _BAD_FRAME, _said(error))
        return
    connection = Connection(hello.garage, _sender(socket), _closer(socket), platform.clock())
    try:
        await _serve(platform, socket, connection, hello)
    except WebSocketDisconnect:
        pass
    except TimeoutError:
        await _close(socket, _TRY_AGAIN, "nothing was heard for too long")
    except (ParkingError, ValidationError) as error:
        _log.warning("garage %s: %s", connection.garage_id, _said(error))
        await _close(socket, _TRY_AGAIN if isinstance(error, Unavailable) else _BAD_FRAME, _said(error))
    finally:
        if platform.links.gone(connection):
            news.garage(platform, connection.garage_id)


async def _serve(platform: Platform, socket: WebSocket, connection: Connection, hello: Hello) -> None:
    acked = await journal.hello(
        platform, hello.garage, hello.last_seq, hello.app_version, hello.boot_id, hello.journal_id
    )
    connection.last_heard = platform.clock()
    key = base64.b64encode(platform.signer.public_key).decode()
    welcome = {
        "type": "welcome",
        "now": rfc3339(platform.clock()),
        "keys": [{"kid": platform.signer.kid, "public_key_b64": key}],
        "acked_seq": acked,
    }
    await connection.send(welcome)
    before = platform.links.open(connection)
    if before is not None:
        await before.close("a newer link of this garage took over")
    news.garage(platform, connection.garage_id)
    await arriving.arrived(platform, connection, None if hello.clock is None else _clock(hello.clock))
    while True:
        frame = await _frame(socket, QUIET_FOR_S)
        if isinstance(frame, Events):
            received = platform.clock()
            events = [_event(connection.garage_id, one, received) for one in frame.events]
            seq = await journal.receive(platform, connection, events)
            connection.last_heard = received
            await connection.send({"type": "ack", "seq": seq})
        elif isinstance(frame, Result):
            duration = None if frame.duration_ms is None else round(frame.duration_ms)
            platform.links.answer(frame.command, Outcome(frame.ok, frame.step or None, frame.reason or None, duration))
        elif isinstance(frame, Status):
            changed = connection.devices != frame.devices
            connection.devices = dict(frame.devices)
            await journal.seen(platform, connection)
            if changed:
                news.fleet(platform, connection.garage_id)


async def _frame(socket: WebSocket, within_s: float) -> Hello | Events | Result | Status:
    # Not wait_for: in Python 3.11 it forgets a cancellation that comes together with the frame.
    async with asyncio.timeout(within_s):
        text = await socket.receive_text()
    return FromGarage.validate_json(text)


def _event(garage_id: str, one: Event, received: datetime) -> GateEvent:
    return GateEvent(
        garage_id=garage_id,
        journal=0,
        seq=one.seq,
        at=_moment(one.at, received),
        received_at=received,
        kind=one.kind,
        gate=one.gate or None,
        jti=one.jti,
        booking_id=one.booking,
        command_id=one.command,
        detail=one.detail,
    )


def _clock(said: str | float) -> datetime | None:
    unreadable = datetime.min.replace(tzinfo=UTC)
    moment = _moment(said, unreadable)
    return None if moment == unreadable else moment


def _moment(at: str | float, received: datetime) -> datetime:
    # A time nobody can read must not hold up the journal: then it happened when we heard of it.
    try:
        moment = datetime.fromtimestamp(at, UTC) if isinstance(at, (int, float)) else datetime.fromisoformat(at)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return received


def _sender(socket: WebSocket) -> Any:
    turn = asyncio.Lock()

    async def send(frame: Mapping[str, Any]) -> None:
        try:
            async with turn:
                await socket.send_text(orjson.dumps(frame).decode())
        except (RuntimeError, WebSocketDisconnect, OSError) as error:
            raise Unavailable("the garage's link is gone", code="offline") from error

    return send


def _closer(socket: WebSocket) -> Any:
    async def close(reason: str) -> None:
        await _close(socket, _REPLACED, reason)

    return close


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    try:
        await socket.close(code, reason[:120])
    except (RuntimeError, OSError, WebSocketDisconnect):
        pass


def _said(error: BaseException) -> str:
    if isinstance(error, ParkingError):
        return error.message
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"a frame cannot be read: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return "no hello came" if isinstance(error, TimeoutError) else "the link ended"
