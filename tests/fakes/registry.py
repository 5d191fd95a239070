"""A registry on the memory store with the built-in kinds, a clock that is told the time, and uids that count."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.resource import Admission, Resource
from parkube.controlplane.storage.memory import MemoryStore
from parkube.controlplane.storage.port import Store
from parkube.kubeapi.client import GVR

NOON = 1_700_000_000.0


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


async def make_registry(
    store: Store | None = None, admissions: Sequence[Admission] = (), clock: Clock | None = None
) -> Registry:
    """Started; close it."""
    uids = itertools.count(1)
    if store is None:
        store = MemoryStore()
        await store.start()
    registry = Registry(
        store, builtin_catalogue(), admissions, clock=clock or Clock(), new_uid=lambda: f"uid-{next(uids)}"
    )
    await registry.start()
    return registry


def row(registry: Registry, gvr: GVR) -> Resource:
    """The row served at `gvr`."""
    found = registry.catalogue.get(gvr)
    assert found is not None
    return found
