"""Keeps the catalogue in step with the definitions: rows come, change and go; objects go with their definition.

    created -> names free?  no -> NamesAccepted=False (asked again when another definition goes)
                            yes -> rows in the catalogue, Established=True
    deletionTimestamp set -> Terminating: no creations, objects deleted -> finalizer removed -> gone -> rows out

It decides nothing about objects.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence

import orjson

from parkube.controlplane.registry.crd import names
from parkube.controlplane.registry.crd.conversion import Call, WebhookConverter
from parkube.controlplane.registry.crd.definitions import FINALIZER
from parkube.controlplane.registry.crd.rows import all_rows, rows_of, stored_versions
from parkube.controlplane.registry.crd.strategy import CustomStrategy
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.options import ListOptions, WatchOptions
from parkube.controlplane.registry.resource import SYSTEM, Context, Converter, Resource
from parkube.controlplane.registry.watching import Subscription, WatchItem
from parkube.kubeapi.client import CRDS, GVR
from parkube.kubeapi.errors import ApiError, Conflict, NotFound, Obj
from parkube.kubeapi.objects import now_rfc3339

_RETRY_SECONDS = 1.0
_SORTED = orjson.OPT_SORT_KEYS


class CustomResources:
    """One per server; start it after the registry and before anybody is served."""

    def __init__(
        self, registry: Registry, *, clock: Callable[[], float], call: Call | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:  # fmt: skip
        """`call` asks conversion webhooks."""
        self._registry, self._clock, self.call, self._new_id = registry, clock, call, new_id
        self._served: dict[str, tuple[bytes, list[GVR]]] = {}
        self._refused: set[str] = set()
        self._due: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._going: dict[str, asyncio.Task[None]] = {}
        self._worker: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """All definitions that exist are served when this returns."""
        row = self._row()
        listed = await self._registry.list(row, "", ListOptions())
        definitions = [stored.object() for stored in listed.items]
        for definition in sorted(definitions, key=lambda obj: obj["metadata"].get("creationTimestamp") or ""):
            await self.reconcile(definition["metadata"]["name"])
        options = WatchOptions(resource_version=str(listed.revision))
        self._subscription = self._registry.watch(row, "", options, self._changed)
        self._worker = asyncio.create_task(self._run(), name="custom resource definitions")

    async def stop(self) -> None:
        """End the background work; rows stay."""
        if self._subscription is not None:
            self._subscription.cancel()
        tasks = [task for task in (self._worker, *self._going.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _row(self) -> Resource:
        row = self._registry.catalogue.get(CRDS)
        assert row is not None
        return row

    def _changed(self, items: Sequence[WatchItem]) -> None:
        for item in items:
            if item.stored is not None:
                self._enqueue(item.stored.name)

    def _enqueue(self, name: str) -> None:
        self._due[name] = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._due:
                name = next(iter(self._due))
                del self._due[name]
                try:
                    await self.reconcile(name)
                except ApiError:
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._enqueue, name)

    # --- one definition ----------------------------------------------------------------------------------------

    async def reconcile(self, name: str) -> None:
        """Bring the catalogue and the definition's status to what the definition says now."""
        try:
            definition = (await self._registry.get(self._row(), "", name)).object()
        except NotFound:
            self._forget(name)
            return
        going = "deletionTimestamp" in definition["metadata"]
        reason, message = names.conflict(definition, self._registry.catalogue)
        if reason and name not in self._served:
            self._refused.add(name)
        else:
            self._refused.discard(name)
            self._serve(name, definition, everything=going)
        if going:
            self._terminate(name)
            return
        now = now_rfc3339(self._clock)
        await self._write(name, lambda obj: names.with_status(obj, reason, message, now))

    def _serve(self, name: str, definition: Obj, *, everything: bool) -> None:
        """Rows for what is served; `everything`: also for versions that are not, so that their objects can go."""
        hidden = everything and not any(version.get("served") for version in definition["spec"]["versions"])
        mark = orjson.dumps([definition["spec"], sorted(stored_versions(definition)), hidden], option=_SORTED)
        before, known = self._served.get(name, (b"", []))
        if before == mark:
            return
        converter = self._converter(definition)
        rows = rows_of(definition, converter) or (all_rows(definition, converter) if everything else [])
        for row in rows:
            self._registry.catalogue.add(row)
        for gvr in set(known) - {row.gvr for row in rows}:
            self._registry.catalogue.remove(gvr)
        self._served[name] = (mark, [row.gvr for row in rows])

    def _converter(self, definition: Obj) -> Converter | None:
        conversion = definition["spec"].get("conversion") or {}
        if conversion.get("strategy") != "Webhook":
            return None
        return WebhookConverter(conversion, self.call, self._new_id)

    def _forget(self, name: str) -> None:
        for gvr in self._served.pop(name, (b"", []))[1]:
            self._registry.catalogue.remove(gvr)
        self._refused.discard(name)
        task = self._going.pop(name, None)
        if task is not None:
            task.cancel()
        for other in self._refused:
            self._enqueue(other)  # the names that went may be the ones it wants

    async def _write(self, name: str, change: Callable[[Obj], Obj]) -> None:
        try:
            await self._registry.mutate(self._row(), "", name, change, Context(SYSTEM), "status")
        except NotFound:
            pass

    # --- the end of a definition -------------------------------------------------------------------------------

    def _terminate(self, name: str) -> None:
        rows = [row for gvr in self._served.get(name, (b"", []))[1] if (row := self._registry.catalogue.get(gvr))]
        for row in rows:
            if isinstance(row.strategy, CustomStrategy):
                row.strategy.closed = True
        if name not in self._going:
            task = asyncio.create_task(self._clear_and_release(name, rows), name=f"delete {name}")
            self._going[name] = task

    async def _clear_and_release(self, name: str, rows: list[Resource]) -> None:
        try:
            now = now_rfc3339(self._clock)
            await self._write(name, lambda obj: names.with_termination(obj, now))
            if rows:  # by the version that is stored, where it is served: nothing has to be converted
                await self._clear(next((row for row in rows if row.gvr == row.stored_at), rows[0]))
            await self._registry.mutate(self._row(), "", name, _released, Context(SYSTEM))
        except (NotFound, Conflict):
            pass
        except ApiError:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._enqueue, name)
        finally:
            if self._going.get(name) is asyncio.current_task():
                del self._going[name]

    async def _clear(self, row: Resource) -> None:
        """Delete all objects; return when none is left, however long their finalizers take."""
        changed = asyncio.Event()
        subscription = self._registry.watch(
            row, "", WatchOptions(resource_version=str(self._registry.revision)), lambda items: changed.set()
        )
        try:
            while True:
                changed.clear()
                found = await self._registry.delete_collection(row, "", ListOptions(), {}, Context(SYSTEM))
                if not found.items or not (await self._registry.list(row, "", ListOptions(limit=1))).items:
                    return
                await changed.wait()
        finally:
            subscription.cancel()


def _released(obj: Obj) -> Obj:
    metadata = obj["metadata"]
    metadata["finalizers"] = [f for f in metadata.get("finalizers") or () if f != FINALIZER]
    return obj
