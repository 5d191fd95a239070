"""Hollow nodes whose lease renewals are timed as they see them; `kill -USR1` prints what came since the last time.

    python -m bench.crowd --server https://… --token-file … --count 1000

It prints `ready …` as the hollow nodes do, and for each signal one JSON line: renewals, p50, p99 and worst, in ms.
"""

from __future__ import annotations

import json
import signal
import sys
import time

from bench.measure import percentile
from parkube.kubeapi.client import GVR, LEASES
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.http import Dialer
from parkube.kubeapi.remote import RemoteClient
from parkube.nodeagent.main import hollow

_taken: list[float] = []


class TimedClient(RemoteClient):
    """Keeps how long each renewal of a lease took, from the call to the parsed answer."""

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        """See `Client`."""
        if gvr != LEASES:
            return await super().update(gvr, obj, subresource=subresource)
        began = time.perf_counter()
        answer = await super().update(gvr, obj, subresource=subresource)
        _taken.append(time.perf_counter() - began)
        return answer


def timed_client(dial: Dialer) -> RemoteClient:
    """A node's client that keeps the time."""
    return TimedClient(dial, user_agent="parkube-hollow")


def _tell(_number: int, _frame: object) -> None:
    taken = list(_taken)
    _taken.clear()
    said: dict[str, float] = {"renewals": len(taken)}
    if taken:
        said |= {name: percentile(taken, part) * 1000 for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    sys.exit(hollow.main(client=timed_client))
