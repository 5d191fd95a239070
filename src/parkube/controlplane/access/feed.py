"""Keeps indices in step with the registry: a list, then every event after it, in this process. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.controlplane.registry.watching import Subscription, WatchItem
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj


def _never(namespace: str, name: str) -> bool:
    return False


class Route(NamedTuple):
    """Where one resource's objects go.

    `settled(namespace, name)` true: an update of that object cannot matter, so it is not even decoded.
    """

    gvr: GVR
    put: Callable[[Obj], None]
    drop: Callable[[Obj], None]
    settled: Callable[[str, str], bool] = _never


class Feed:
    """Runs routes until `stop`."""

    def __init__(self, registry: Registry, routes: Sequence[Route]) -> None:
        self._registry, self._routes = registry, list(routes)
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Everything that exists has been put when this returns; events follow as they happen."""
        for route in self._routes:
            resource = self._registry.catalogue.get(route.gvr)
            if resource is None:
                continue
            listed = await self._registry.list(resource, "", ListOptions())
            for stored in listed.items:
                route.put(stored.object())
            options = WatchOptions(resource_version=str(listed.revision))
            self._subscriptions.append(self._registry.watch(resource, "", options, _sink(route)))

    def stop(self) -> None:
        """No more events."""
        for subscription in self._subscriptions:
            subscription.cancel()
        self._subscriptions.clear()


def _sink(route: Route) -> Callable[[Sequence[WatchItem]], None]:
    put, drop, settled = route.put, route.drop, route.settled

    def sink(items: Sequence[WatchItem]) -> None:
        for item in items:
            if item.type == "DELETED":
                drop(item.object())
            elif item.type == "ADDED" or (
                item.type == "MODIFIED" and item.stored and not settled(item.stored.namespace, item.stored.name)
            ):
                put(item.object())

    return sink
