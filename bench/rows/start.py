"""Server ready after its first start: keys made, /readyz ok, and a first `kubectl get nodes` answered."""

from __future__ import annotations

import time

from bench.figures import Figure
from bench.measure import median
from bench.servers import LoopbackServer, folder, kubectl, processes


def measure(quick: bool) -> list[Figure]:
    """The median of five starts, each from an empty folder."""
    both = [_start() for _ in range(2 if quick else 5)]
    whole, ready = median([b[0] for b in both]), median([b[1] for b in both])
    note = f"the median of {len(both)} first starts, each with key generation, /readyz and a first `kubectl get nodes`"
    return [
        Figure("server ready after start", whole, "s", 2.5, k3s=3.4, note=note),
        Figure("of which until /readyz", ready, "s"),
    ]


def _start() -> tuple[float, float]:
    with folder() as place, processes(place) as running:
        server = LoopbackServer(place, running)
        began = time.monotonic()
        server.start()
        server.ready()
        ready = time.monotonic() - began
        kubectl(server.kubeconfig, "get", "nodes")
        return time.monotonic() - began, ready
