"""The one outbound socket to the platform: events up until acknowledged, commands down. Carries, never decides.

Messages are JSON text frames, each `{"type": …}`; docs/reference/platform.md lists them. Everything may come twice.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from parkube.parking.domain.site import Site
from parkube.parking.gate.app import Garage
from parkube.parking.gate.errors import GateError, JournalError
from parkube.parking.gate.journal import Entry

BATCH = 200
STATUS_S = 15.0
BACKOFF_S = (0.5, 30.0)


def rfc3339(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unix(text: str) -> float:
    """RFC 3339 as Unix seconds. Raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def event_message(entry: Entry) -> dict[str, Any]:
    """A journalled event as it goes over the link."""
    r = entry.record
    message: dict[str, Any] = {"seq": entry.seq, "at": rfc3339(entry.at), "kind": r.kind, "gate": r.gate}
    message.update({k: v for k, v in (("jti", r.jti), ("booking", r.booking), ("command", r.command)) if v})
    if r.detail:
        message["detail"] = dict(r.detail)
    return message


class Link:
    """The link of one garage; `run` keeps it up until cancelled."""

    def __init__(
        self, garage: Garage, boot_id: str, *, clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random, log: Callable[[str], None] = print,
        told_time: Callable[[float], bool] = lambda _now: False,
    ) -> None:  # fmt: skip
        self._garage, self._boot_id = garage, boot_id
        self._clock, self._jitter, self._log = clock, jitter, log
        self._told_time = told_time
        self._news = asyncio.Event()
        self._sent_seq = 0
        self.connected = False
        garage.on_record = self._news.set

    async def run(self) -> None:
        """Connect, serve, and connect again with jittered back-off."""
        parts = urlsplit(self._garage.config.platform_url)
        scheme = {"https": "wss", "http": "ws"}.get(parts.scheme, parts.scheme)
        url = urlunsplit((scheme, parts.netloc, parts.path + "/api/v1/garage/link", "", ""))
        headers = {"Authorization": f"Bearer {self._garage.config.token}"}
        delay, said = BACKOFF_S[0], ""
        while True:
            try:
                async with connect(
                    url, additional_headers=headers, open_timeout=10, ping_interval=15, ping_timeout=15, proxy=None
                ) as socket:
                    delay, said = BACKOFF_S[0], ""
                    await self._serve(socket)
            except (OSError, WebSocketException, TimeoutError) as error:
                if str(error) != said:
                    said = str(error)
                    self._log(f"the platform at {url} is away: {said}")
            except JournalError as error:
                # The gates may still say no, and why; what was not acknowledged comes again on the next link.
                self._log(f"the link is broken off: {error}")
            finally:
                self.connected = False
            await asyncio.sleep(delay * (0.5 + self._jitter()))
            delay = min(delay * 2, BACKOFF_S[1])

    async def _serve(self, socket: ClientConnection) -> None:
        journal = self._garage.journal
        await self._send(
            socket, type="hello", garage=self._garage.config.garage, app_version=self._garage.config.app_version,
            boot_id=self._boot_id, journal_id=journal.id, last_seq=journal.last_seq, clock=rfc3339(self._clock()),
        )  # fmt: skip
        senders: set[asyncio.Task[None]] = set()
        try:
            async for frame in socket:
                message = self._read(frame)
                kind = message.get("type")
                if kind == "welcome":
                    self._welcome(message)
                    if not senders:
                        senders |= {
                            asyncio.create_task(self._events(socket)),
                            asyncio.create_task(self._status(socket)),
                        }
                elif kind == "ack":
                    journal.acked(int(message.get("seq", 0)))
                elif kind == "command":
                    task = asyncio.create_task(self._command(socket, message))
                    senders.add(task)
                    task.add_done_callback(senders.discard)
        finally:
            for task in list(senders):
                task.cancel()
            await asyncio.gather(*senders, return_exceptions=True)

    def _welcome(self, message: dict[str, Any]) -> None:
        keys = {k["kid"]: k["public_key_b64"] for k in message.get("keys") or ()}
        self._garage.journal.remember("keys", json.dumps(keys))
        self._garage.lane.keys = decode_keys(keys)
        with contextlib.suppress(KeyError, ValueError):
            self._told_time(unix(str(message["now"])))
        acked = int(message.get("acked_seq", 0))
        self._garage.journal.acked(acked)
        # What the platform lost (a restored backup) is sent again, as far as the journal still has it.
        self._sent_seq = acked
        self.connected = True
        self._news.set()

    async def _events(self, socket: ClientConnection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while batch := self._garage.journal.after(self._sent_seq, BATCH):
                await self._send(socket, type="events", events=[event_message(entry) for entry in batch])
                self._sent_seq = batch[-1].seq

    async def _status(self, socket: ClientConnection) -> None:
        while True:
            await self._garage.watch_devices()
            await self._send(socket, type="status", devices=self._garage.devices())
            await asyncio.sleep(STATUS_S)

    async def _command(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        command, kind = str(message.get("id", "")), message.get("kind")
        answer: dict[str, Any]
        try:
            if kind == "open":
                ok, reason = await self._garage.open(
                    str(message.get("gate", "")), command, unix(str(message["expires_at"])),
                    message.get("booking"), message.get("jti"),
                )  # fmt: skip
                answer = {"ok": ok, "reason": reason}
            elif kind == "verify":
                if self._clock() >= unix(str(message["expires_at"])):
                    answer = {"ok": False, "step": "link", "reason": "expired"}
                else:
                    outcome = await self._garage.verify(command, str(message.get("grant", "")))
                    answer = {
                        "ok": outcome.ok, "step": outcome.step, "reason": outcome.reason,
                        "duration_ms": outcome.duration_ms,
                    }  # fmt: skip
            elif kind == "site":
                ok, reason = await self._garage.site(Site(str(message.get("state", ""))), command)
                answer = {"ok": ok, "reason": reason}
            elif kind == "passback_reset":
                ok, reason = await self._garage.reset_passback(str(message.get("jti") or "") or None)
                answer = {"ok": ok, "reason": reason}
            elif kind == "access":
                self._garage.allow(
                    str(message["jti"]), str(message["grant"]),
                    [(str(one["kind"]), str(one["value"])) for one in message["credentials"]],
                    unix(str(message["until"])),
                )  # fmt: skip
                answer = {"ok": True, "reason": ""}
            elif kind == "revoke":
                ok, reason = await self._garage.revoke(str(message.get("jti") or message.get("grant") or ""))
                answer = {"ok": ok, "reason": reason}
            else:
                answer = {"ok": False, "reason": f"the command {kind!r} is not known here"}
        except (KeyError, TypeError, ValueError, GateError) as error:
            answer = {"ok": False, "reason": f"the command cannot be read: {error}"}
        await self._send(socket, type="result", command=command, **answer)

    async def _send(self, socket: ClientConnection, **message: Any) -> None:
        await socket.send(json.dumps(message, separators=(",", ":")))

    @staticmethod
    def _read(frame: str | bytes) -> dict[str, Any]:
        try:
            message = json.loads(frame)
        except ValueError:
            return {}
        return message if isinstance(message, dict) else {}


def decode_keys(keys: dict[str, str]) -> dict[str, bytes]:
    """kid -> raw public key, from their base64 text (either alphabet)."""
    return {
        kid: base64.b64decode((text + "=" * (-len(text) % 4)).replace("-", "+").replace("_", "/"))
        for kid, text in keys.items()
    }
