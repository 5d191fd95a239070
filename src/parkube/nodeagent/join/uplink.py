"""The agent's one connection to the server: dialled, upgraded to the mux, watched over, dialled again with back-off.

               dial ok, 101                     lost, silent, or told to reconnect
    away ----------------------> connected -----------------------------------------> away
      ^  refused, unreachable        |  streams: ours by `dial`, the server's by `serve`
      +---- back-off, jittered <-----+

Waiting times grow from about a second to half a minute and are random over their whole length, so that thousands of
agents do not come back at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from typing import TypeVar

from parkube.kubeapi.mux import Mux, MuxError, Stream
from parkube.nodeagent.join.errors import JoinError
from parkube.nodeagent.join.identity import SERVER_NAME, Identity, certificate_fault, server_address

log = logging.getLogger(__name__)

UPGRADE = "parkube-mux"
DIAL_S = 20.0  # for TCP, TLS and the upgrade together
WATCH_S = 15.0  # silence after which the server is asked; after as much again it is taken for dead
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 30.0

P = TypeVar("P", bound=asyncio.Protocol)


class Uplink:
    """Keeps the connection up while `run` runs. `serve` makes the protocol for streams that the server opens."""

    def __init__(
        self,
        server: str,
        identity: Identity,
        serve: Callable[[], asyncio.Protocol],
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._host, self._port = server_address(server)
        self._context = identity.ssl_context()
        self._serve = serve
        self._rng = rng or random.Random()
        self._mux: Mux | None = None
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._listeners: list[Callable[[bool], None]] = []
        self._last_fault = ""
        self.local_address = ""  # of this machine towards the server, once it was reached
        self.server_address = ("", 0)  # the server's, as dialled and resolved

    @property
    def connected(self) -> bool:
        """Whether streams can be opened now."""
        return self._mux is not None and self._mux.alive

    @property
    def fault(self) -> str:
        """Why the last attempt failed, in one sentence; empty while connected."""
        return self._last_fault

    def on_change(self, listener: Callable[[bool], None]) -> None:
        """Call with True when the connection is up, with False when it is lost."""
        self._listeners.append(listener)

    async def wait_connected(self) -> None:
        """Return once the connection is up."""
        await self._up.wait()

    async def dial(self, factory: Callable[[], P]) -> tuple[Stream, P]:
        """A new stream to the server, as `loop.create_connection` would give one. Raises `ConnectionError` at once
        when the server is away: whoever dials has its own way of trying again."""
        if self._mux is None:
            raise ConnectionRefusedError(self._last_fault or "the server is not connected yet")
        protocol = factory()
        return self._mux.open(protocol), protocol

    def open(self, protocol: asyncio.Protocol) -> Stream:
        """As `dial`, without waiting and with a protocol that is there already."""
        if self._mux is None:
            raise ConnectionRefusedError(self._last_fault or "the server is not connected yet")
        return self._mux.open(protocol)

    def use(self, identity: Identity) -> None:
        """Take a renewed identity: the connection is dialled anew with it."""
        self._context = identity.ssl_context()
        if self._mux is not None:
            self._mux.close()

    async def run(self) -> None:
        """Dial, watch, dial again; until cancelled, which closes the connection."""
        wait = FIRST_WAIT_S
        try:
            while True:
                try:
                    await self._connect()
                except (OSError, JoinError, MuxError, TimeoutError) as exc:
                    self._note(exc)
                else:
                    wait = FIRST_WAIT_S
                    await self._watch()
                await asyncio.sleep(wait * self._rng.uniform(0.1, 1.0))
                wait = min(2 * wait, LONGEST_WAIT_S)
        finally:
            if self._mux is not None:
                self._mux.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        upgrade = _Upgrading()
        async with asyncio.timeout(DIAL_S):
            transport, _ = await loop.create_connection(
                lambda: upgrade, self._host, self._port, ssl=self._context, server_hostname=SERVER_NAME
            )
            try:
                rest = await upgrade.ask(f"{self._host}:{self._port}")
            except BaseException:
                transport.abort()
                raise
        mux = Mux(self._serve, dialled=True, on_lost=self._lost)
        self._down.clear()
        self.local_address = str((transport.get_extra_info("sockname") or ("",))[0])
        peer = transport.get_extra_info("peername") or ("", 0)
        self.server_address = (str(peer[0]), int(peer[1]))
        self._mux, self._last_fault = mux, ""
        mux.attach(transport, rest)
        if transport.is_closing():
            self._mux = None
            raise ConnectionResetError("the server closed the connection")
        self._up.set()
        log.info("connected to the server at %s:%d", self._host, self._port)
        self._tell(True)

    async def _watch(self) -> None:
        """Return when the connection is lost; ask a silent server, drop a dead one."""
        asked = False
        while True:
            try:
                async with asyncio.timeout(WATCH_S):
                    await self._down.wait()
                return
            except TimeoutError:
                pass
            mux = self._mux
            if mux is None:
                return
            if mux.heard:
                asked = False
            elif asked:
                log.warning("the server has fallen silent: the connection is dropped")
                mux.abort()
                continue
            if not (mux.heard and mux.spoke):
                mux.ping()
                asked = not mux.heard
            mux.heard = mux.spoke = False

    def _lost(self, exc: Exception | None) -> None:
        self._mux = None
        self._up.clear()
        self._down.set()
        self._last_fault = f"the connection to the server was lost{f': {exc}' if exc else ''}"
        log.info("%s", self._last_fault)
        self._tell(False)

    def _note(self, exc: Exception) -> None:
        where = f"https://{self._host}:{self._port}"
        if isinstance(exc, JoinError):
            text = str(exc)
        elif isinstance(exc, ssl.SSLCertVerificationError):
            text = certificate_fault(exc, where)
        elif isinstance(exc, TimeoutError):
            text = f"the server at {where} cannot be reached: no answer in {DIAL_S:.0f} s"
        else:
            text = f"the server at {where} cannot be reached: {getattr(exc, 'strerror', '') or exc}"
        if text != self._last_fault:  # said once, not at every attempt
            log.warning("%s", text)
        self._last_fault = text

    def _tell(self, connected: bool) -> None:
        for listener in self._listeners:
            listener(connected)


class _Upgrading(asyncio.Protocol):
    """Reads the answer to the upgrade; what comes after it belongs to the mux."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def ask(self, host: str) -> bytes:
        """Ask for the tunnel; what was received beyond the answer. Raises `JoinError`, `ConnectionError`."""
        assert self._transport is not None
        lines = (
            "GET /v1-parkube/tunnel HTTP/1.1",
            f"Host: {host}",
            "Connection: Upgrade",
            f"Upgrade: {UPGRADE}",
            "",
            "",
        )
        self._transport.write("\r\n".join(lines).encode())
        head = await self._answer
        status = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if status[1:2] != ["101"]:
            raise JoinError(f"the server refuses the tunnel: {' '.join(status[1:])}")
        return self._buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._answer.done():
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if separator:
                self._buffer = rest
                self._answer.set_result(head)
            elif len(self._buffer) > 65536:
                self._answer.set_exception(ConnectionResetError("the answer has no end"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))
