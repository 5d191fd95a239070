"""The API's client inside the server's own process: the same verbs and rules, without HTTP and JSON in between.

Objects that a watch hands out are shared by all who watch: they are to be read, not changed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from parkube.controlplane.apiserver import patching
from parkube.controlplane.apiserver.special import Special
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.controlplane.registry.resource import SYSTEM, Context, Resource, User
from parkube.controlplane.registry.watching import WatchItem
from parkube.kubeapi.client import GVR, PatchType, WatchEvent
from parkube.kubeapi.errors import NotFound, Obj, from_status
from parkube.kubeapi.objects import copy
from parkube.kubeapi.selectors import FieldSelector, LabelSelector

MANAGER = "parkube"  # whom managedFields name for what the server itself writes
OVERFLOW = 200_000  # events that may wait for one reader before it is sent back to list again


class LocalClient:
    """Implements `kubeapi.client.Client` on the registry."""

    def __init__(self, registry: Registry, special: Special | None = None, user: User = SYSTEM) -> None:
        self._registry = registry
        self._special = special or Special()
        self._user = user

    def _row(self, gvr: GVR) -> Resource:
        row = self._registry.catalogue.get(gvr)
        if row is None:
            raise NotFound("the server could not find the requested resource")
        return row

    def _ctx(self) -> Context:
        return Context(user=self._user, field_manager=MANAGER, field_validation="Ignore")

    async def get(self, gvr: GVR, name: str, namespace: str = "", *, subresource: str = "") -> Obj:
        """See `Client`."""
        row = self._row(gvr)
        if subresource == "scale":
            return await self._registry.get_scale(row, namespace, name)
        return (await self._registry.get(row, namespace, name)).object()

    async def list(
        self,
        gvr: GVR,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_: str = "",
    ) -> Obj:
        """See `Client`."""
        row = self._row(gvr)
        options = ListOptions(
            LabelSelector.parse(label_selector), FieldSelector.parse(field_selector), limit, continue_
        )
        found = await self._registry.list(row, namespace, options)
        metadata: Obj = {"resourceVersion": str(found.revision)}
        if found.continue_:
            metadata["continue"] = found.continue_
        items = [stored.object() for stored in found.items]
        return {"kind": row.list_kind, "apiVersion": row.api_version, "metadata": metadata, "items": items}

    async def create(self, gvr: GVR, obj: Obj, namespace: str = "", *, name: str = "", subresource: str = "") -> Obj:
        """See `Client`."""
        row = self._row(gvr)
        answer = self._special.create(row, subresource)
        if answer is not None:
            return await answer(row, namespace, name, obj, self._ctx())
        if not namespace and row.namespaced:
            namespace = (obj.get("metadata") or {}).get("namespace", "")
        return await self._registry.create(row, namespace, _typed(row, obj), self._ctx(), subresource)

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        """See `Client`."""
        row, metadata = self._row(gvr), obj["metadata"]
        namespace = metadata.get("namespace", "") if row.namespaced else ""
        if not subresource or subresource == "status":
            obj = _typed(row, obj)
        return await self._registry.update(row, namespace, metadata["name"], obj, self._ctx(), subresource)

    async def patch(
        self, gvr: GVR, name: str, patch: Obj | Sequence[Obj], namespace: str = "", *,
        kind: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Obj:  # fmt: skip
        """See `Client`."""
        row = self._row(gvr)
        if kind is PatchType.APPLY:
            config = patching.configuration(row, name, patch)
            return (await self._registry.apply(row, namespace, name, config, self._ctx(), subresource, force=True))[0]
        change = patching.change(row, patching.kind_of(kind.value, row), patch)
        return await self._registry.mutate(row, namespace, name, change, self._ctx(), subresource)

    async def delete(self, gvr: GVR, name: str, namespace: str = "", *, options: Obj | None = None) -> Obj:
        """See `Client`."""
        return await self._registry.delete(self._row(gvr), namespace, name, dict(options or {}), self._ctx())

    async def watch(
        self,
        gvr: GVR,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:
        """See `Client`. Lasts until the registry ends it or the reader stops."""
        waiting: deque[WatchItem] = deque()
        wake = asyncio.Event()

        def sink(items: Sequence[WatchItem]) -> None:
            waiting.extend(items)
            wake.set()

        options = WatchOptions(
            LabelSelector.parse(label_selector), FieldSelector.parse(field_selector), resource_version, bookmarks=True
        )
        subscription = self._registry.watch(self._row(gvr), namespace, options, sink)
        try:
            while True:
                if len(waiting) > OVERFLOW:
                    return
                if not waiting:
                    wake.clear()
                    await wake.wait()
                item = waiting.popleft()
                if item.type == "ERROR":
                    raise from_status(item.object())
                yield WatchEvent(item.type, item.object())
        finally:
            subscription.cancel()


def _typed(row: Resource, obj: Obj) -> Obj:
    """A copy that says its kind, as a client library's would; the registry takes over and changes what it is given."""
    typed: dict[str, Any] = {"apiVersion": row.api_version, "kind": row.kind}
    typed.update(copy(obj))
    return typed
