"""The ports to what stands at a gate: a relay and a scanner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Relay(Protocol):
    """Coils of relay boards. Every method raises DeviceError when the board does not answer in time."""

    async def pulse(self, coil: int, pulse_ms: int) -> None:
        """Close the coil; returns as soon as the board has answered; it opens again after `pulse_ms` milliseconds."""
        ...

    async def write(self, coil: int, on: bool) -> None:
        """Set a coil."""
        ...

    async def read(self, coil: int) -> bool:
        """Read a coil back from the board."""
        ...

    async def close(self) -> None: ...


OnCode = Callable[[str], Awaitable[tuple[bool, str]]]
"""What to do with a code that was shown: (passes, reason)."""


class Scanner(Protocol):
    """A scanner that shows what it read, and signals the answer."""

    @property
    def alive(self) -> bool:
        """Whether it answered lately."""
        ...

    async def answers(self) -> bool:
        """Whether it answers now."""
        ...

    async def run(self, on_code: OnCode) -> None:
        """Serve until cancelled; reconnects by itself."""
        ...
