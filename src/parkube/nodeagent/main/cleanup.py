"""Takes a node's containers, containerd, mounts and rules away: what an agent that stops leaves running on purpose.

    python -m parkube.nodeagent.main.cleanup --data-dir /var/lib/parkube        (in the node's network namespace)

Its files stay, so that the node may come back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.main.machine import containerd_paths
from parkube.nodeagent.network import links
from parkube.nodeagent.network.apply import NetworkFault, Nftables
from parkube.nodeagent.network.cni import BRIDGE
from parkube.nodeagent.network.overlay import Links
from parkube.nodeagent.runtime.containerd import ensure_containerd, stop_containerd
from parkube.nodeagent.runtime.cri.channel import answers
from parkube.nodeagent.runtime.cri.runtime import CriRuntime
from parkube.nodeagent.runtime.port import RuntimeFault


async def clean(config: AgentConfig, *, network: bool = True) -> None:
    """Everything that runs or is mounted for this data directory; `network`: and this namespace's rules and bridge."""
    paths = containerd_paths(config)
    if paths.config.exists():
        with contextlib.suppress(RuntimeFault, TimeoutError, OSError):
            if not await answers(paths.socket):
                await ensure_containerd(paths)
            await _end_pods(CriRuntime(paths.socket))
        await stop_containerd(paths)
    for pid in _shims(str(paths.socket)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for mount in _mounts(str(config.data_dir.resolve())):
        await _run("umount", "-l", mount)
    if network:
        with contextlib.suppress(NetworkFault):
            await Nftables().remove()
        with contextlib.suppress(NetworkFault):
            await links.apply(Links())
        await _run("ip", "link", "delete", BRIDGE)


async def _end_pods(runtime: CriRuntime) -> None:
    await runtime.start()
    try:
        pods = await runtime.pods()
        await asyncio.gather(*(_end(runtime, sandbox.id) for pod in pods for sandbox in pod.sandboxes))
        for pod in pods:
            await runtime.forget_pod(pod.uid)
    finally:
        await runtime.close()


async def _end(runtime: CriRuntime, sandbox_id: str) -> None:
    with contextlib.suppress(RuntimeFault, TimeoutError):
        await runtime.stop_sandbox(sandbox_id)
        await runtime.remove_sandbox(sandbox_id)


def _shims(socket: str) -> list[int]:
    """Shims of this containerd alone, known by its socket in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if "containerd-shim" in words[0] and socket in words:
                    found.append(int(entry.name))
    return found


def _mounts(root: str) -> list[str]:
    """Mount points under a folder, innermost first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((p for p in points if p.startswith(root + "/")), key=len, reverse=True)


async def _run(*command: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await child.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="cleanup", description="end what a stopped agent left running")
    parser.add_argument("--data-dir", type=Path, default=Path("/var/lib/parkube"))
    options = parser.parse_args(argv)
    asyncio.run(clean(AgentConfig(server="", node_name="cleanup", data_dir=options.data_dir)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
