"""`parkube agent`: checks, joins, starts containerd, and runs until it is told to stop. Containers outlive it.

checks -> join (or the identity on disk) -> containerd, uplink, mirror -> address, pod CIDR, CNI -> pods, Services
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

from parkube.kubeapi.remote import RemoteClient
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.join import Identity, JoinError, Uplink, join, renew_when_due
from parkube.nodeagent.join.errors import Unreachable
from parkube.nodeagent.join.identity import load, server_address
from parkube.nodeagent.join.mirror import MirrorListener
from parkube.nodeagent.main import machine, preflight
from parkube.nodeagent.main.agent import Agent, Surroundings
from parkube.nodeagent.main.config import AgentConfig, ConfigError
from parkube.nodeagent.network import flows, links
from parkube.nodeagent.network.apply import Nftables, set_sysctls
from parkube.nodeagent.network.cni import pod_cidr_for, write_conflist
from parkube.nodeagent.network.dns.messages import answer
from parkube.nodeagent.network.dns.records import Directory
from parkube.nodeagent.network.dns.server import Answer, DnsServer, Forwarder
from parkube.nodeagent.network.rules import Backend, Entry, Rules, stale_udp, table
from parkube.nodeagent.runtime.containerd import ensure_containerd
from parkube.nodeagent.runtime.cri.channel import answers
from parkube.nodeagent.runtime.cri.runtime import CriRuntime
from parkube.nodeagent.runtime.port import RuntimeFault
from parkube.nodeagent.streams import StreamServer
from parkube.nodeagent.sync.eviction import read_signals
from parkube.nodeagent.sync.peers import PodNetwork

log = logging.getLogger(__name__)
_ROTATE_S = 60.0
_GUARD_S = 3.0


async def run(config: AgentConfig) -> None:
    """Run one real node. Raises `ConfigError`, `JoinError` or `RuntimeFault`, each one sentence."""
    _children_without_threads()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    preflight.check(own_runtime=not config.container_runtime_endpoint)
    config.agent_dir.mkdir(parents=True, exist_ok=True)
    with _only_one(config):
        await _until_stopped(config, stop)


@contextlib.contextmanager
def _only_one(config: AgentConfig) -> Iterator[None]:
    """Two agents on one data directory would undo each other's work."""
    with (config.agent_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"another agent is running with the data directory {config.data_dir}") from error
        yield


async def _until_stopped(config: AgentConfig, stop: asyncio.Event) -> None:
    identity = await _joined(config)
    try:
        async with asyncio.TaskGroup() as group:
            main = group.create_task(_run(config, identity))
            await stop.wait()
            main.cancel()
    except BaseExceptionGroup as faults:
        raise _first(faults) from faults


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    """The fault that a person is to read."""
    for fault in faults.exceptions:
        return _first(fault) if isinstance(fault, BaseExceptionGroup) else fault
    return faults


async def _joined(config: AgentConfig) -> Identity:
    """The node's identity; a node that was here before starts without the server, even with its certificate expired."""
    try:
        return await join(
            server=config.server, token=config.token, node=config.node_name, tls_dir=config.tls_dir,
            password_file=config.config_dir / "node" / "password",
        )  # fmt: skip
    except Unreachable as fault:
        kept = load(config.tls_dir)
        if kept is None or kept.node != config.node_name:
            raise
        log.warning("%s; the node goes on with what it was last told", fault)
        return kept


async def _run(config: AgentConfig, identity: Identity) -> None:
    checkpoint = Checkpoint(config.checkpoint_dir)
    async with contextlib.AsyncExitStack() as stack:
        uplink_streams = _LateStreams()
        uplink = Uplink(config.server, identity, uplink_streams)
        await stack.enter_async_context(_background(uplink.run()))
        mirror = MirrorListener(uplink.open)
        port = await _listen(mirror, config, checkpoint)
        stack.push_async_callback(mirror.stop)
        auths = write_registries(config, port)
        runtime = await machine.start_runtime(config)
        stack.push_async_callback(runtime.close)
        streams = StreamServer(runtime)
        uplink_streams.ready(streams)
        client = RemoteClient(uplink.dial, user_agent=f"parkube-agent/{config.node_name}")
        stack.push_async_callback(client.close)
        around = await _surroundings(config, identity, uplink, client, runtime, checkpoint, auths)
        agent = Agent(config, around, checkpoint=checkpoint)
        streams.pages = agent.pages()
        uplink.on_change(agent.reconnected)
        await stack.enter_async_context(_background(_renewing(config, identity, uplink)))
        await stack.enter_async_context(_background(_rotating(config, runtime)))
        await stack.enter_async_context(_background(_guarding(config)))
        gc.collect()
        gc.freeze()
        await _with_network(config, identity, agent, checkpoint, around)


async def _with_network(
    config: AgentConfig, identity: Identity, agent: Agent, checkpoint: Checkpoint, around: Surroundings
) -> None:
    """Run the agent. A new node asks for its pod CIDR before its first pod; a known one has it on disk."""
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.node.run())
        group.create_task(agent.recorder.run())
        cidr = around.pod_cidr
        if not cidr:
            cluster = _setting(identity, config, "cluster_cidr")
            cidr = await agent.node.find_pod_cidr() or pod_cidr_for(config.node_name, cluster)
            machine.remembered(checkpoint, "pod-cidr", cidr)
            agent.services.use_pod_cidr(cidr)
        network = PodNetwork(
            around.client, checkpoint, _setting(identity, config, "flannel_backend"), around.own_ips, links.apply
        )  # fmt: skip
        mtu = await network.start(cidr, next(iter(around.host_ips), ""))
        write_conflist(config.containerd_dir / "net.d", cidr, config.agent_dir / "cni", mtu)
        group.create_task(network.run())
        for address in around.own_ips:
            group.create_task(DnsServer(address, _names(config, around, agent)).run())
        agent.node.hurry()
        await machine.import_images(config, around.runtime)
        group.create_task(agent.services.run())
        group.create_task(agent.pods.run())
        group.create_task(agent.directories.run())
        if agent.evictor is not None:
            group.create_task(agent.evictor.run())
            group.create_task(agent.limits.run())


def _names(config: AgentConfig, around: Surroundings, agent: Agent) -> Answer:
    """Who answers the names of the cluster, and passes on all others."""
    services = agent.services
    directory = Directory(
        around.cluster_domain, config.node_name, services.services, services.slices_of, services.own_pods
    )  # fmt: skip
    above = Forwarder([ip for ip in agent.state.facts.nameservers if ip not in around.own_ips])

    async def names(query: bytes, tcp: bool) -> bytes | None:
        return await answer(query, directory, above, tcp=tcp)

    return names


def _setting(identity: Identity, config: AgentConfig, name: str) -> str:
    return str(identity.settings.get(name) or getattr(config, name))


async def _surroundings(
    config: AgentConfig, identity: Identity, uplink: Uplink, client: RemoteClient, runtime: CriRuntime,
    checkpoint: Checkpoint, auths: dict[str, dict[str, str]],
) -> Surroundings:  # fmt: skip
    set_sysctls()
    host, port = server_address(config.server)
    address = machine.remembered(checkpoint, "address", config.node_ip or machine.source_address(host, port))
    nftables = Nftables()

    served: list[Entry] = []

    async def apply(rules: Rules) -> None:
        await nftables.apply(table(rules))
        stale = stale_udp(served, rules.entries) if served else []
        served[:] = rules.entries
        await flows.forget(stale)

    def api_server() -> Backend | None:
        """The server as this agent reaches it; on the server's own machine, by an address that pods reach too."""
        ip, at = uplink.server_address
        ip = machine.remembered(checkpoint, "server", f"{ip}:{at}" if ip else "") or ""
        where, _, number = ip.rpartition(":")
        if not where:
            return None
        return Backend(address if where.startswith("127.") else where, int(number))

    return Surroundings(
        client=client, runtime=runtime, connected=lambda: uplink.connected, api_server=api_server, apply=apply,
        host_ips=(address,) if address else (), pod_cidr=machine.remembered(checkpoint, "pod-cidr", ""),
        service_cidr=_setting(identity, config, "service_cidr"), auths=auths,
        cluster_cidr=_setting(identity, config, "cluster_cidr"),
        cluster_domain=_setting(identity, config, "cluster_domain"),
        signals=lambda: read_signals(config.data_dir),
        own_ips=tuple(ip for ip in (_setting(identity, config, "cluster_dns"),) if ip),
    )  # fmt: skip


async def _listen(mirror: MirrorListener, config: AgentConfig, checkpoint: Checkpoint) -> int:
    wanted = await machine.mirror_port(config, checkpoint)
    try:
        port = await mirror.start(wanted)
    except JoinError:
        if config.mirror_port:
            raise
        port = await mirror.start(0)  # somebody else has last time's
    machine.remembered(checkpoint, "mirror-port", str(port))
    return port


def write_registries(config: AgentConfig, port: int) -> dict[str, dict[str, str]]:
    """containerd's hosts.toml files; the logins by host. Raises `RegistriesError`."""
    from parkube.nodeagent.join import registries

    found = registries.load(config.config_dir / "registries.yaml")
    registries.write(config.registry_config_dir, registries.hosts_files(found, port))
    return found.auths


async def _renewing(config: AgentConfig, identity: Identity, uplink: Uplink) -> None:
    """Keep the certificate good; one that has run out is asked for anew as soon as the server is there."""
    while not identity.valid(time.time()):
        await asyncio.sleep(15)
        with contextlib.suppress(JoinError):
            identity = await join(
                server=config.server, token=config.token, node=config.node_name, tls_dir=config.tls_dir,
                password_file=config.config_dir / "node" / "password",
            )  # fmt: skip
            uplink.use(identity)
    password = config.config_dir / "node" / "password"
    await renew_when_due(identity, config.server, password, uplink.use, token=config.token)


async def _guarding(config: AgentConfig) -> None:
    """Start our containerd again when it is gone; its containers do not notice."""
    while not config.container_runtime_endpoint:
        await asyncio.sleep(_GUARD_S)
        if not await answers(config.runtime_socket):
            log.warning("containerd is gone: it is started again")
            try:
                await ensure_containerd(machine.containerd_paths(config), config.snapshotter)
            except RuntimeFault as fault:
                log.error("%s", fault)


async def _rotating(config: AgentConfig, runtime: CriRuntime) -> None:
    while True:
        await asyncio.sleep(_ROTATE_S)
        moved = {str(path) for path in await asyncio.to_thread(machine.rotate_logs, config.logs_dir)}
        if moved:
            for pod in await runtime.pods():
                for container in pod.containers:
                    if container.log_path in moved:
                        await runtime.reopen_log(container.id)


@contextlib.asynccontextmanager
async def _background(job: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run beside the rest; its end with a fault is logged, not anybody's end."""
    task = asyncio.create_task(job)
    task.add_done_callback(_log_fault)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


def _log_fault(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s", task.exception(), exc_info=task.exception())


class _LateStreams:
    """The server may open streams before the runtime answers: those end at once."""

    def __init__(self) -> None:
        self._server: StreamServer | None = None

    def ready(self, server: StreamServer) -> None:
        """From now on streams are served."""
        self._server = server

    def __call__(self) -> asyncio.Protocol:
        return self._server() if self._server is not None else _Closed()


class _Closed(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _children_without_threads() -> None:
    """Python 3.11 waits for each child in a thread of its own; a pidfd does without."""
    if sys.version_info < (3, 12):
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.get_event_loop_policy().set_child_watcher(watcher)
