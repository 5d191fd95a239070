"""Runs one server: makes its keys, opens its store, listens, and winds down in order. Knows no Kubernetes rule.

keys -> store -> caches -> rights -> listening -> controllers -> (own agent)       SIGTERM: the same way back
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Collection, Coroutine
from typing import Any

from parkube.controlplane import pki as pki_room
from parkube.controlplane.main import own_agent, own_role
from parkube.controlplane.main.assemble import Server, assemble, controller_options
from parkube.controlplane.main.config import ServerConfig
from parkube.controlplane.pki.ensure import default_sans
from parkube.controlplane.storage.memory import MemoryStore
from parkube.controlplane.storage.port import Store
from parkube.kubeapi.recorder import Recorder

log = logging.getLogger(__name__)

BACKLOG = 2048
GOODBYE, GOODBYES = 25.0, 2  # seconds that background work has to end, and how often it is told
GC_THRESHOLD = (10_000, 25, 25)  # what is kept is bytes without cycles: look for garbage seldom
HANDSHAKE = 30.0  # seconds


class StartError(Exception):
    """The server cannot start; the message is one sentence for the operator."""


async def run(config: ServerConfig, ready: asyncio.Event | None = None) -> None:
    """Run until a signal (or cancellation). `ready` is set when clients are answered. Raises StartError and kin."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, stop.set)
    _raise_file_limit()
    async with serving(config) as server:
        print(f"parkube server is ready at https://{own_address(config)}:{config.https_listen_port}", flush=True)
        if ready is not None:
            ready.set()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(_background(server))
            await stop.wait()


@contextlib.asynccontextmanager
async def serving(config: ServerConfig) -> AsyncIterator[Server]:
    """A server that answers clients; its controllers are not running yet."""
    asyncio.get_running_loop().set_exception_handler(_quiet)
    listener = _bind(config)
    own = own_address(config)
    sans = default_sans(config.service_cidr, config.cluster_domain, [own, config.node_ip], config.tls_san)
    pki = await asyncio.to_thread(
        pki_room.ensure, config.server_dir, sans=sans, token=config.token, agent_token=config.agent_token
    )
    store = _store(config)
    server = assemble(config, pki, store, own)
    async with contextlib.AsyncExitStack() as stack:
        await store.start()
        stack.push_async_callback(store.close)
        server.health.done("store")
        await server.registry.start()
        stack.push_async_callback(server.registry.close)
        await server.custom_resources.start()
        stack.push_async_callback(server.custom_resources.stop)
        server.health.done("caches")
        listening = await asyncio.get_running_loop().create_server(
            server.app.protocol, sock=listener, ssl=pki.server_ssl_context(), backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE,
        )  # fmt: skip
        stack.callback(listening.close)
        await server.access.start(server.registry)
        stack.push_async_callback(server.access.stop)
        server.health.done("rbac/bootstrap-roles")
        url = f"https://127.0.0.1:{config.https_listen_port}"
        pki.write_kubeconfig(config.write_kubeconfig, url, config.write_kubeconfig_mode)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        yield server
        server.tunnels.close()
        server.app.close()


@contextlib.asynccontextmanager
async def _background(server: Server) -> AsyncIterator[None]:
    """Everything that works by itself while the server runs."""
    jobs: list[Coroutine[Any, Any, None]] = [
        server.app.sweep(),
        server.tunnels.watch_over(),
        server.extensions.watch_over(),
        *_loops(server),
    ]
    if not server.config.disable_agent:
        jobs.append(own_agent.supervise(own_agent.command(server.config)))
        jobs.append(own_role.mark(server.client, own_role.own_name(server.config.node_name)))
    tasks = [asyncio.create_task(_guard(job)) for job in jobs]
    try:
        yield
    finally:
        await _end(tasks)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel all; a job that lets a cancellation pass is told again, and at last left behind."""
    for _ in range(GOODBYES):
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=GOODBYE)
        if not tasks:
            return
    log.error("left behind: %s", ", ".join(task.get_name() for task in tasks))


def _loops(server: Server) -> list[Coroutine[Any, Any, None]]:
    """Controllers and scheduler; they see the API through the client alone, and share their views of it."""
    from parkube.controlplane import controllers
    from parkube.controlplane.scheduler import Scheduler

    config, client = server.config, server.client
    if config.disable_controller_manager and config.disable_scheduler:
        return []
    views = controllers.Views(client)
    jobs: list[Coroutine[Any, Any, None]] = [views.run()]
    if not config.disable_controller_manager:
        jobs.append(controllers.run_all(client, controller_options(server), views=views))
    if not config.disable_scheduler:
        recorder = Recorder(client, "default-scheduler", clock=time.time)
        jobs += [recorder.run(), Scheduler(client, views, clock=time.time, recorder=recorder).run()]
    return jobs


async def _guard(job: Coroutine[Any, Any, None]) -> None:
    """A background job that dies is told, and does not take the server with it."""
    try:
        await job
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("a background job died")


def _store(config: ServerConfig) -> Store:
    if config.memory_store:
        return MemoryStore()
    from parkube.controlplane.storage.sqlite import SqliteStore

    config.database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return SqliteStore(config.database)


def _bind(config: ServerConfig) -> socket.socket:
    """Take the port before anything is made. Raises StartError."""
    family = socket.AF_INET6 if ":" in config.bind_address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((config.bind_address, config.https_listen_port))
    except OSError as error:
        sock.close()
        where = f"{config.bind_address}:{config.https_listen_port}"
        raise StartError(f"cannot listen on {where}: {error.strerror}; another program may hold that port") from None
    return sock


def _raise_file_limit() -> None:
    """Every agent is a connection: take as many files as the machine lets us have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def own_address(config: ServerConfig) -> str:
    """Where clients of this server's network reach it: as told, else the address of the default route."""
    if config.advertise_address or config.node_ip:
        return config.advertise_address or config.node_ip
    if config.bind_address not in ("", "0.0.0.0", "::"):
        return config.bind_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # documentation address: nothing is sent
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Broken handshakes and vanished clients are everyday; the rest is logged."""
    error = context.get("exception")
    if isinstance(error, (ssl.SSLError, ConnectionError, TimeoutError, BrokenPipeError)):
        log.debug("client: %s", error)
        return
    loop.default_exception_handler(context)
