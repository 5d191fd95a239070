"""Runs the plug-ins in order, each only for the resources that it is about: a lease's renewal meets two of them."""

from __future__ import annotations

from collections.abc import Sequence

from parkube.controlplane.access.admission.plugin import Plugin
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj


class Chain(Plugin):
    """One `Admission` made of many."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = tuple(plugins)
        self._about: dict[tuple[str, GVR, str], tuple[Plugin, ...]] = {}

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises what the first plug-in raises that refuses."""
        for plugin in self._asked("admit", resource.gvr, operation):
            await plugin.admit(operation, resource, subresource, namespace, name, new, old, context)

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises what the first plug-in raises that refuses."""
        for plugin in self._asked("check", resource.gvr, operation):
            await plugin.check(operation, resource, subresource, namespace, name, new, old, context)

    def _asked(self, step: str, gvr: GVR, operation: str) -> tuple[Plugin, ...]:
        """The plug-ins that have something to say in this step about that resource."""
        key = (step, gvr, operation)
        found = self._about.get(key)
        if found is None:
            inert = getattr(Plugin, step)
            found = self._about[key] = tuple(
                p for p in self._plugins if getattr(type(p), step) is not inert and p.is_about(gvr, operation)
            )
        return found
