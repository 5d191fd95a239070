"""The server's own node: an agent like any other, in a process of its own, joined through this server's address.

It is started when the server answers, started again with back-off when it ends, and ended with the server. Containers
are neither process's children and run on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
STEADY_S = 60.0  # an agent that ran this long starts with a fresh back-off
PATIENCE_S = 10.0  # for its end, before it is killed


def command(server_url: str, node_token: Path, data_dir: Path, options: Sequence[str]) -> list[str]:
    """The command line of the server's own agent. The config file and environment are the server's, so it gets none."""
    program = [sys.executable, "-m", "parkube.cli", "agent", "--config", os.devnull, "--server-node"]
    return [*program, "--server", server_url, "--token-file", str(node_token), "--data-dir", str(data_dir), *options]


async def keep_running(
    argv: Sequence[str],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run the agent again and again until cancelled, which ends it."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PARKUBE_")}
    wait = FIRST_WAIT_S
    while True:
        began = clock()
        child = await asyncio.create_subprocess_exec(*argv, env=environment)
        try:
            code = await child.wait()
        finally:
            if child.returncode is None:
                await _end(child)
        if clock() - began > STEADY_S:
            wait = FIRST_WAIT_S
        log.warning("this server's own node has stopped (exit code %s); it is started again in %.0f s", code, wait)
        await sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)


async def _end(child: asyncio.subprocess.Process) -> None:
    try:
        child.terminate()
        async with asyncio.timeout(PATIENCE_S):
            await child.wait()
    except ProcessLookupError:
        pass
    except TimeoutError:
        child.kill()
        await child.wait()
