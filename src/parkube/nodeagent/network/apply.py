"""Puts the rules and the few sysctls they need into the kernel, through short-lived children."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from parkube.nodeagent.network.rules import TABLE

log = logging.getLogger(__name__)
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",
}


class NetworkFault(Exception):
    """The kernel or `nft` refused; the text is its own words."""


class Nftables:
    """Applies a ruleset when it differs from the last one applied."""

    def __init__(self) -> None:
        self._applied = ""

    async def apply(self, text: str) -> bool:
        """True when it was applied now. Raises `NetworkFault`; then nothing has changed."""
        if text == self._applied:
            return False
        await _nft(text)
        self._applied = text
        return True

    async def remove(self) -> None:
        """Take our table away."""
        await _nft(f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\n")
        self._applied = ""


async def _nft(text: str) -> None:
    try:
        child = await asyncio.create_subprocess_exec(
            "nft", "-f", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NetworkFault("no nft: install the package nftables") from error
    _, stderr = await child.communicate(text.encode())
    if child.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines()
        raise NetworkFault(f"nft: {lines[0] if lines else child.returncode}")


def set_sysctls(proc: Path = Path("/proc/sys")) -> None:
    """Forwarding, and NodePorts on 127.0.0.1; what the machine does not let us set is logged."""
    for name, value in _SYSCTLS.items():
        path = proc / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            log.warning("%s cannot be set: %s", name.replace("/", "."), error.strerror)
