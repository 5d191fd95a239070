"""Says of each FlowSchema whether the priority level that it names exists: the condition `Dangling`. No request is
sorted here.

Source: Kubernetes API reference, FlowSchemaCondition.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, NamedTuple

from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.objects import find_condition, rfc3339, set_condition

_GROUP = "flowcontrol.apiserver.k8s.io"
FLOWSCHEMAS = GVR(_GROUP, "v1", "flowschemas")
PRIORITYLEVELS = GVR(_GROUP, "v1", "prioritylevelconfigurations")


class SchemaInfo(NamedTuple):
    """The level that a FlowSchema names, and what was said of that."""

    level: str
    said: str


def schema_info(obj: Obj) -> SchemaInfo:
    """The projection of a FlowSchema."""
    level = ((obj.get("spec") or {}).get("priorityLevelConfiguration") or {}).get("name") or ""
    return SchemaInfo(level, (find_condition(obj, "Dangling") or {}).get("message") or "")


def verdict(level: str, *, exists: bool) -> tuple[str, str, str]:
    """Status, reason and message of the condition."""
    words = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    if exists:
        return "False", "Found", f"{words} and it exists"
    return "True", "NotFound", f"{words} but there is no such object"


class FlowSchemaController(Reconciler):
    """A key is a FlowSchema's name."""

    name: ClassVar[str] = "flowschema-status"
    inputs: ClassVar[tuple[GVR, ...]] = (FLOWSCHEMAS, PRIORITYLEVELS)
    outputs: ClassVar[tuple[GVR, ...]] = (FLOWSCHEMAS,)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._schemas: Informer[SchemaInfo] = Informer(env.client, FLOWSCHEMAS, schema_info)
        self._levels: Informer[str] = Informer(env.client, PRIORITYLEVELS, lambda obj: str(obj["metadata"]["uid"]))
        self._schemas.subscribe(self._schema_changed)
        self._levels.subscribe(self._level_changed)

    def _schema_changed(self, kind: str, key: str, old: SchemaInfo | None, new: SchemaInfo | None) -> None:
        if new is not None and new != old:
            self.queue.add(key)

    def _level_changed(self, kind: str, key: str, old: str | None, new: str | None) -> None:
        if (old is None) is not (new is None):
            for name, info in self._schemas.items():
                if info.level == key:
                    self.queue.add(name)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in (self._schemas, self._levels):
                group.create_task(informer.run(), name="flow control")
            await asyncio.gather(self._schemas.synced(), self._levels.synced())
            await self.queue.run(self._reconcile, self.workers)

    async def reconcile(self, key: str) -> float | None:
        """Write the condition of one FlowSchema, when it is another than before."""
        info = self._schemas.get(key)
        if info is None:
            return None
        status, reason, message = verdict(info.level, exists=self._levels.get(info.level) is not None)
        if info.said == message:
            return None
        schema = await self.client.get(FLOWSCHEMAS, key)
        conditions = [dict(c) for c in (schema.get("status") or {}).get("conditions") or ()]
        set_condition(conditions, "Dangling", status, reason, message, rfc3339(self.clock()))
        fresh = {**schema, "status": {**(schema.get("status") or {}), "conditions": conditions}}
        await self.client.update(FLOWSCHEMAS, fresh, subresource="status")
        return None
