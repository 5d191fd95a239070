"""Pools of cluster IPs and node ports: who holds what, and what is free. Pure; fed by the events of Services."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from random import Random

_PENDING_SECONDS = 60.0  # how long a place is kept for a Service whose creation has not been seen to succeed


class PoolFull(Exception):
    """Everything is taken."""


class Taken(Exception):
    """Somebody else holds it."""


class Pool:
    """The integers first..last; each held by one owner. Dynamic ones come from above `reserved` while there are any."""

    def __init__(self, first: int, last: int, random: Random, clock: Callable[[], float], reserved: int = 0) -> None:
        self.first, self.last, self._random, self._clock = first, last, random, clock
        self._reserved = min(reserved, last - first)
        self._held: dict[int, str] = {}
        self._pending: dict[int, tuple[str, float]] = {}

    def __contains__(self, value: int) -> bool:
        return self.first <= value <= self.last

    def holder(self, value: int) -> str:
        """Who holds it, or is about to; empty: nobody."""
        pending = self._pending.get(value)
        if pending is not None and pending[1] <= self._clock():
            del self._pending[value]
            pending = None
        return self._held.get(value) or (pending[0] if pending else "")

    def reserve(self, value: int, owner: str, *, keep: bool = True) -> None:
        """Take this very one, for now; only ask, without `keep`. Raises `Taken`."""
        if self.holder(value) not in ("", owner):
            raise Taken
        if keep:
            self._pending[value] = (owner, self._clock() + _PENDING_SECONDS)

    def pick(self, owner: str, *, keep: bool = True) -> int:
        """Reserve a free one; only look, without `keep`. Raises `PoolFull`."""
        low = self.first + self._reserved
        for _ in range(16):
            value = self._random.randint(low, self.last)
            if not self.holder(value):
                break
        else:
            value = next((v for v in (*range(low, self.last + 1), *range(self.first, low)) if not self.holder(v)), -1)
            if value < 0:
                raise PoolFull
        self.reserve(value, owner, keep=keep)
        return value

    def hold(self, value: int, owner: str) -> None:
        """An object that exists has it."""
        if value in self:
            self._held[value] = owner
            self._pending.pop(value, None)

    def release(self, value: int, owner: str) -> None:
        """Its owner no longer has it."""
        if self._held.get(value) == owner:
            del self._held[value]


def ip_pool(cidr: str, random: Random, clock: Callable[[], float]) -> Pool:
    """The usable addresses of the service range; its lower part is left to those who ask for an address by name."""
    network = ipaddress.ip_network(cidr)
    first, last = int(network.network_address) + 1, int(network.broadcast_address) - (network.version == 4)
    size = last - first + 1
    return Pool(first, last, random, clock, reserved=min(max(16, size // 16), 256) if size > 16 else 1)


def port_pool(ports: tuple[int, int], random: Random, clock: Callable[[], float]) -> Pool:
    """The node ports; the lowest 86 of the usual range are left to those who ask by number."""
    first, last = ports
    size = last - first + 1
    return Pool(first, last, random, clock, reserved=min(max(16, size // 32), 128) if size > 16 else 0)
