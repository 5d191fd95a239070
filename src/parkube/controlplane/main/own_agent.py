"""The server's own node: an agent in a process of its own, started again when it dies. Knows only its command line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence

from parkube.controlplane.main.config import ServerConfig

log = logging.getLogger(__name__)

FIRST, LONGEST = 1.0, 60.0  # seconds before it is started again
GRACE = 20.0  # seconds it has to end by itself


def command(config: ServerConfig) -> list[str]:
    """The agent's command line."""
    line = [
        sys.executable, "-m", "parkube.cli", "agent", "--server-node",
        "--server", f"https://127.0.0.1:{config.https_listen_port}",
        "--token-file", str(config.server_dir / "node-token"),
        "--data-dir", str(config.data_dir),
        "--config-dir", str(config.write_kubeconfig.parent),
        "--cluster-cidr", config.cluster_cidr, "--service-cidr", config.service_cidr,
    ]  # fmt: skip
    if config.node_name:
        line += ["--node-name", config.node_name]
    if config.node_ip:
        line += ["--node-ip", config.node_ip]
    for label in config.node_label:
        line += ["--node-label", label]
    for taint in config.node_taint:
        line += ["--node-taint", taint]
    return [*line, *config.agent_arguments]


async def supervise(line: Sequence[str]) -> None:
    """Keep it running until cancelled; then end it, containers stay."""
    delay = FIRST
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        process = await asyncio.create_subprocess_exec(*line, stdin=asyncio.subprocess.DEVNULL)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        delay = FIRST if loop.time() - started > LONGEST else min(delay * 2, LONGEST)
        log.warning("the server's own agent ended with code %d; it is started again in %.0f s", code, delay)
        await asyncio.sleep(delay)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
