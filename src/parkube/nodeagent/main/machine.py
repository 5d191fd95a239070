"""The runtime and the network of a real node made ready: containerd, images, CNI, addresses. Done once at start."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path

import orjson

from parkube.nodeagent.checkpoint.store import Checkpoint
from parkube.nodeagent.main.config import AgentConfig
from parkube.nodeagent.runtime.containerd import ContainerdPaths, ensure_containerd
from parkube.nodeagent.runtime.cri.runtime import CriRuntime
from parkube.nodeagent.runtime.pause import PAUSE_IMAGE, write_pause
from parkube.nodeagent.runtime.port import ImageFault, Runtime, RuntimeFault

log = logging.getLogger(__name__)
_KIND = "node"


def containerd_paths(config: AgentConfig) -> ContainerdPaths:
    """Where this agent's containerd lives."""
    return ContainerdPaths(config.containerd_dir, config.runtime_socket, config.registry_config_dir)


async def start_runtime(config: AgentConfig) -> CriRuntime:
    """containerd running, its pause image present. Raises `RuntimeFault`."""
    if not config.container_runtime_endpoint:
        await ensure_containerd(containerd_paths(config), config.snapshotter)
    runtime = CriRuntime(config.runtime_socket)
    await runtime.start()
    if not config.container_runtime_endpoint and await runtime.image(PAUSE_IMAGE) is None:
        tar = config.containerd_dir / "pause.tar"
        try:
            await asyncio.to_thread(write_pause, tar)
        except KeyError as error:
            raise RuntimeFault(f"no pause image is known for the architecture {error}") from error
        await runtime.import_image(tar)
        await _until_present(runtime, PAUSE_IMAGE)
    return runtime


async def _until_present(runtime: Runtime, reference: str) -> None:
    """containerd's CRI part learns of an import a moment later."""
    for _ in range(100):
        if await runtime.image(reference) is not None:
            return
        await asyncio.sleep(0.02)
    raise RuntimeFault(f"the image {reference} was imported, but containerd does not show it")


async def import_images(config: AgentConfig, runtime: Runtime) -> None:
    """Import `agent/images/*.tar`, each once for as long as it stays the same; a bad one is logged and left out."""
    marker = config.containerd_dir / "imported.json"
    try:
        done = dict(orjson.loads(marker.read_bytes()))
    except (OSError, ValueError, TypeError):
        done = {}
    for tar in sorted(config.images_dir.glob("*.tar")) if config.images_dir.is_dir() else []:
        state = tar.stat()
        mark = f"{state.st_size} {state.st_mtime_ns}"
        if done.get(tar.name) == mark:
            continue
        try:
            await runtime.import_image(tar)
        except ImageFault as fault:
            log.error("%s", fault)
            continue
        log.info("imported %s", tar)
        done[tar.name] = mark
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_bytes(orjson.dumps(done))


def source_address(host: str, port: int) -> str:
    """This machine's address on the way to the server; empty when there is none, or only the loopback."""
    for target in ((host, port or 1), ("192.0.2.1", 1)):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(target)
                address = str(probe.getsockname()[0])
        except OSError:
            continue
        if not address.startswith("127."):
            return address
    return ""


def remembered(checkpoint: Checkpoint, key: str, value: str) -> str:
    """`value`, kept; or, where it is empty, what was kept before."""
    if value:
        checkpoint.put(_KIND, key, orjson.dumps(value))
        return value
    kept = checkpoint.get(_KIND, key)
    try:
        return str(orjson.loads(kept)) if kept else ""
    except ValueError:
        return ""


async def mirror_port(config: AgentConfig, checkpoint: Checkpoint) -> int:
    """The port asked for, or the one of last time, so that containerd's files stay as they are."""
    return config.mirror_port or int(remembered(checkpoint, "mirror-port", "") or 0)


def rotate_logs(logs_dir: Path, limit_bytes: int = 10 * 1024 * 1024, keep: int = 5) -> list[Path]:
    """Move log files that are too big to numbered ones; the paths that must be reopened."""
    moved = []
    for path in logs_dir.glob("*/*/*.log"):
        try:
            if path.stat().st_size < limit_bytes:
                continue
            for number in range(keep - 1, 1, -1):
                older = path.with_name(f"{path.name}.{number - 1}")
                if older.exists():
                    older.rename(path.with_name(f"{path.name}.{number}"))
            path.rename(path.with_name(f"{path.name}.1"))
        except OSError as error:
            log.warning("the log %s cannot be rotated: %s", path, error.strerror)
            continue
        moved.append(path)
    return moved
