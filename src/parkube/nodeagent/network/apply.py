"""Puts the rules and the few sysctls they need into the kernel, through short-lived children."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from parkube.nodeagent.network.rules import TABLE, Table, change, whole

log = logging.getLogger(__name__)
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",
}


class NetworkFault(Exception):
    """The kernel or a tool refused; the text is its own words."""


class Nftables:
    """Brings the kernel's table to what is wanted, by what differs from the last one applied."""

    def __init__(self) -> None:
        self._applied: Table | None = None

    async def apply(self, wanted: Table) -> bool:
        """True when something was written. Raises `NetworkFault`; then nothing has changed."""
        had = self._applied
        if had is None or had.fixed != wanted.fixed:
            await self._write(wanted, whole(wanted))
            return True
        text = change(had, wanted)
        if not text:
            return False
        try:
            await self._write(wanted, text)
        except NetworkFault as fault:  # somebody else wrote into our table
            log.warning("the Services' rules are written anew: %s", fault)
            await self._write(wanted, whole(wanted))
        return True

    async def _write(self, wanted: Table, text: str) -> None:
        self._applied = None
        await _nft(text)
        self._applied = wanted

    async def remove(self) -> None:
        """Take our table away."""
        await _nft(f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\n")
        self._applied = None


async def _nft(text: str) -> None:
    await run_child(["nft", "-f", "-"], text, "install the package nftables")


async def run_child(command: list[str], text: str, remedy: str) -> str:
    """Run a tool that reads `text`; what it printed. Raises `NetworkFault`."""
    try:
        child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NetworkFault(f"no {command[0]}: {remedy}") from error
    stdout, stderr = await child.communicate(text.encode())
    if child.returncode:
        lines = stderr.decode(errors="replace").strip().splitlines()
        raise NetworkFault(f"{Path(command[0]).name}: {lines[-1 if 'python' in command[0] else 0] if lines else ''}")
    return stdout.decode()


def set_sysctls(proc: Path = Path("/proc/sys")) -> None:
    """Forwarding, and NodePorts on 127.0.0.1; what the machine does not let us set is logged."""
    for name, value in _SYSCTLS.items():
        path = proc / name
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            log.warning("%s cannot be set: %s", name.replace("/", "."), error.strerror)
