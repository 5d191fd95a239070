"""Forgets tracked UDP flows that lead where they no longer should: a program that reads them as JSON, acts and ends.

    python -m parkube.nodeagent.network.flows   < [["10.43.0.9", 53, "10.42.2.3"], …]     address, port, backend

A process of its own, because the netlink library is bigger than the agent may become.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from parkube.nodeagent.network.apply import run_child
from parkube.nodeagent.network.rules import Stale


class Flow(NamedTuple):
    """A tracked flow: whom the client addressed, and who answers."""

    address: str
    port: int
    answers: str


async def forget(stale: Sequence[Stale]) -> None:
    """Have them forgotten. Raises `NetworkFault`."""
    if stale:
        await run_child([sys.executable, "-m", __name__], json.dumps([list(one) for one in stale]), "")


def concerns(flow: Flow, stale: Sequence[Stale]) -> bool:
    """Whether one of the orders is about this flow."""
    return any(
        flow.port == port
        and ip in ("", flow.address)
        and (flow.answers == backend if backend else flow.answers == flow.address)
        for ip, port, backend in stale
    )


def act(connect: Any, tuples: Any, stale: Sequence[Stale]) -> int:
    """Delete what is concerned; how many there were. A socket of the library's is good for one request."""
    concerned = []
    with connect() as tracker:
        for entry in tracker.dump():
            there = tuples.from_netlink(socket.AF_INET, entry.get_attr("CTA_TUPLE_ORIG"))
            back = tuples.from_netlink(socket.AF_INET, entry.get_attr("CTA_TUPLE_REPLY"))
            if there.proto == socket.IPPROTO_UDP and concerns(Flow(there.daddr, there.dport, back.saddr), stale):
                concerned.append(there)
    for there in concerned:
        with connect() as tracker, contextlib.suppress(Exception):  # it may have ended by itself
            tracker.entry("del", tuple_orig=there)
    return len(concerned)


def main() -> int:
    """Read, act, print how many; a fault is one line on stderr."""
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

    try:
        print(act(NFCTSocket, NFCTAttrTuple, [Stale(*one) for one in json.load(sys.stdin)]))
    except Exception as error:
        print(f"tracked flows cannot be forgotten: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
