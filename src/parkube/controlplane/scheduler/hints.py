"""What may make a reason against every node go away, so that a pod is tried again when that happens. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from parkube.controlplane.scheduler.affinity import APART, KEPT_AWAY, TOGETHER
from parkube.controlplane.scheduler.queue import EVERYTHING, Happened
from parkube.controlplane.scheduler.rules import AFFINITY, CORDONED, PORTS
from parkube.controlplane.scheduler.spread import UNEVEN, UNLABELLED

_ROOM = frozenset({Happened.NODE, Happened.ROOM})
_AMONG_PODS = frozenset({Happened.NODE, Happened.ROOM, Happened.NEIGHBOUR, Happened.NAMESPACE})
_HELPS: dict[str, frozenset[Happened]] = {
    AFFINITY: frozenset({Happened.NODE}), CORDONED: frozenset({Happened.NODE}),
    UNLABELLED: frozenset({Happened.NODE}), PORTS: _ROOM,
    TOGETHER: _AMONG_PODS - {Happened.ROOM}, APART: _AMONG_PODS, KEPT_AWAY: _AMONG_PODS, UNEVEN: _AMONG_PODS,
}  # fmt: skip


def helps(against: Iterable[str]) -> frozenset[Happened]:
    """What may help a pod that these reasons keep from every node; anything, for a reason that is not known here."""
    found: set[Happened] = set()
    for reason in against:
        if reason in _HELPS:
            found |= _HELPS[reason]
        elif reason.startswith(("Insufficient ", "Too many pods")):
            found |= _ROOM
        elif reason.startswith("node(s) had untolerated"):
            found.add(Happened.NODE)
        else:
            return EVERYTHING
    return frozenset(found) or EVERYTHING
