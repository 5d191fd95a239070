"""Many hollow nodes in one process, for scale tests: real agents, joined and connected as any; their pods are played.

Each has its own certificate, connection, watches, lease and folder; none has containers, rules or an image mirror.

    python -m parkube.nodeagent.main.hollow --server https://… --token-file … --count 1000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from parkube.kubeapi.http import Dialer
from parkube.kubeapi.remote import RemoteClient
from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.join import JoinError, Uplink, join
from parkube.nodeagent.join.errors import Unreachable
from parkube.nodeagent.main.agent import Agent, Surroundings
from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.network.cni import pod_cidr_for
from parkube.nodeagent.network.rules import Backend, Rules, table
from parkube.nodeagent.runtime.hollow import HollowRuntime
from parkube.nodeagent.streams import StreamServer
from parkube.nodeagent.sync.node_object import Machine

MACHINE = Machine(4, 4 << 30, 32 << 30, "", "", "hollow", "Hollow Linux", "amd64")
_JOINING = 4  # joins under way at once: each makes its key in a child process


def node_name(prefix: str, number: int) -> str:
    """`hollow-0007`."""
    return f"{prefix}-{number:04d}"


MakeClient = Callable[[Dialer], RemoteClient]


def plain_client(dial: Dialer) -> RemoteClient:
    """A node's client; measurements hand in one that keeps the time."""
    return RemoteClient(dial, user_agent="parkube-hollow")


class Crowd:
    """Runs the nodes and counts them."""

    def __init__(
        self, config: AgentConfig, count: int, prefix: str, first: int = 0, client: MakeClient = plain_client
    ) -> None:
        self._config, self._names = config, [node_name(prefix, first + i) for i in range(count)]
        self._client = client
        self._gate = asyncio.Semaphore(_JOINING)
        self.agents: dict[str, Agent] = {}
        self.runtimes: dict[str, HollowRuntime] = {}
        self.registered = 0

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Until cancelled; `ready` is called once all nodes are registered."""
        async with asyncio.TaskGroup() as group:
            for name in self._names:
                group.create_task(self._node(name, group))
            while self.registered < len(self._names):
                await asyncio.sleep(0.1)
            gc.collect()
            gc.freeze()
            ready()

    async def _node(self, name: str, group: asyncio.TaskGroup) -> None:
        config = replace(self._config, node_name=name, data_dir=self._config.data_dir / name, hollow=True)
        async with self._gate:
            identity = await _patient(lambda: join(
                server=config.server, token=config.token, node=name, tls_dir=config.tls_dir,
                password_file=config.data_dir / "password",
            ))  # fmt: skip
        runtime = self.runtimes[name] = HollowRuntime(third=len(self.runtimes))
        streams = StreamServer(runtime)
        uplink = Uplink(config.server, identity, streams)
        client = self._client(uplink.dial)

        async def apply(rules: Rules) -> None:
            table(rules)

        def api_server() -> Backend | None:
            return Backend(*uplink.server_address) if uplink.server_address[0] else None

        around = Surroundings(
            client=client, runtime=runtime, connected=lambda: uplink.connected, api_server=api_server, apply=apply,
            host_ips=(_address(name),), pod_cidr=pod_cidr_for(name, config.cluster_cidr),
            service_cidr=config.service_cidr, slices=False, machine=MACHINE,
        )  # fmt: skip
        agent = self.agents[name] = Agent(config, around, checkpoint=Checkpoint(config.checkpoint_dir))
        streams.pages = agent.pages()
        uplink.on_change(agent.reconnected)
        group.create_task(uplink.run())
        await uplink.wait_connected()
        await asyncio.sleep(random.random() * 0.2)
        group.create_task(agent.run())
        await agent.node.registered.wait()
        self.registered += 1


T = TypeVar("T")


async def _patient(job: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await job()
        except Unreachable:
            await asyncio.sleep(random.uniform(0.5, 3))


def _address(name: str) -> str:
    number = int(name.rpartition("-")[2] or 0)
    return f"172.{16 + number // 65536 % 16}.{number // 256 % 256}.{number % 256}"


def main(argv: Sequence[str] | None = None, client: MakeClient = plain_client) -> int:
    """The command line; prints `ready <count> <seconds>` when all are registered."""
    parser = argparse.ArgumentParser(prog="hollow", description="many hollow nodes in one process")
    parser.add_argument("--server", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--prefix", default="hollow")
    parser.add_argument("--node-label", action="append", default=[])
    parser.add_argument("--data-dir", type=Path, default=Path("/dev/shm/parkube-hollow"))
    options = parser.parse_args(argv)
    config = AgentConfig(
        server=options.server, token=options.token_file.read_text().strip(), node_name="hollow",
        data_dir=options.data_dir, node_labels=tuple(options.node_label), resolv_conf="/dev/null",
    )  # fmt: skip
    code = 0
    with contextlib.suppress(KeyboardInterrupt), _runner() as runner:
        try:
            runner.run(_run(Crowd(config, options.count, options.prefix, options.first, client)))
        except* JoinError as faults:
            print(faults.exceptions[0], file=sys.stderr)
            code = 1
    return code


def _runner() -> asyncio.Runner:
    """uvloop where it is installed: thousands of TLS connections cost a sixth of the memory."""
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def _run(crowd: Crowd) -> None:
    begun = time.monotonic()
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(
        crowd.run(lambda: print(f"ready {crowd.registered} {time.monotonic() - begun:.1f}", flush=True))
    )
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    sys.exit(main())
