"""One bridge as the town's network, and a network namespace a site with one cable to it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from scripts.demo.errors import DemoError


def run(*command: str | Path, check: bool = True, stdin: str | None = None) -> str:
    """Run a command; its output. Raises DemoError with its last words."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise DemoError(f"`{' '.join(words[:6])}` failed: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


class Network:
    """`prefix` names everything (at most 8 letters); `subnet` is the first three numbers of a /24."""

    def __init__(self, prefix: str, subnet: str) -> None:
        self.prefix, self.subnet = prefix, subnet
        self.bridge = f"{prefix}-br"

    def address(self, number: int) -> str:
        """The address of a site; 1 is the bridge, which is this machine."""
        return f"{self.subnet}.{number}"

    def netns(self, site: str) -> str:
        """The name of a site's namespace."""
        return f"{self.prefix}-{site}"

    def up(self) -> None:
        """Make the bridge, unless it is there."""
        if run("ip", "link", "show", self.bridge, check=False):
            return
        # With an address of its own: else it takes the lowest of its cables', and whoever knew it loses it for a while.
        hardware = ":".join(["02", "00", *(f"{int(number):02x}" for number in self.address(1).split("."))])
        run("ip", "link", "add", self.bridge, "address", hardware, "type", "bridge")
        run("ip", "address", "add", f"{self.address(1)}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def add_site(self, site: str, number: int) -> None:
        """Make a namespace with one cable to the bridge, unless it is there."""
        name = self.netns(site)
        if Path(f"/run/netns/{name}").exists():
            return
        inside = ["ip", "-n", name]
        run("ip", "netns", "add", name)
        run("ip", "link", "add", self._cable(number), "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", self._cable(number), "master", self.bridge, "up")
        run(*inside, "address", "add", f"{self.address(number)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run(*inside, "link", "set", device, "up")
        run(*inside, "route", "add", "default", "via", self.address(1))
        run("nsenter", f"--net=/run/netns/{name}", "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def cut(self, number: int, *, cut: bool = True) -> None:
        """Pull a site's cable, or plug it in again."""
        run("ip", "link", "set", self._cable(number), "down" if cut else "up")

    def down(self, sites: Sequence[str]) -> None:
        """Remove all of it."""
        for site in sites:
            if Path(f"/run/netns/{self.netns(site)}").exists():
                run("ip", "netns", "delete", self.netns(site), check=False)
        run("ip", "link", "delete", self.bridge, check=False)

    def _cable(self, number: int) -> str:
        return f"{self.prefix}-c{number}"
