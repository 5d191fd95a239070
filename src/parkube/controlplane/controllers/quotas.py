"""Counts what each ResourceQuota's namespace uses. Admission draws from the status; this puts it right again.

It never counts because of a draw: the object that was drawn for may not be stored yet, and its share would be given
away twice. What is made is counted a while later, what ends or changes at once.
Only resources that some quota counts are watched, and of their objects nothing is kept but whether they count.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, NamedTuple

import orjson

from parkube.controlplane.access.quota.matching import counted, hard, kinds_of, written
from parkube.controlplane.controllers.options import Options
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import GVR, RESOURCEQUOTAS
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.informer import Informer
from parkube.kubeapi.objects import split_key

_SOON_S, _SETTLED_S, _AGAIN_S = 0.05, 5.0, 300.0


class QuotaInfo(NamedTuple):
    """A quota: what it counts, and the limits that it says to have counted by."""

    limits: tuple[str, ...]
    digest: int  # over the spec and the status's limits


def quota_info(quota: Obj) -> QuotaInfo:
    """The projection of a ResourceQuota."""
    status = quota.get("status") or {}
    told = orjson.dumps([quota.get("spec"), status.get("hard"), "used" in status], option=orjson.OPT_SORT_KEYS)
    return QuotaInfo(tuple(sorted(hard(quota))), hash(told))


def _mark(obj: Obj) -> int:
    """Changes when what the object uses may have changed."""
    status = obj.get("status") or {}
    gone = obj["metadata"].get("deletionTimestamp")
    seen = [obj.get("spec"), status.get("phase"), status.get("allocatedResources"), gone]
    return hash(orjson.dumps(seen, option=orjson.OPT_SORT_KEYS))


class QuotaController(Reconciler):
    """A key is a namespace."""

    name: ClassVar[str] = "resourcequota"
    inputs: ClassVar[tuple[GVR, ...]] = (RESOURCEQUOTAS,)  # and whatever they count
    outputs: ClassVar[tuple[GVR, ...]] = (RESOURCEQUOTAS,)

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._resources = options.resources
        self._quotas: Informer[QuotaInfo] = Informer(env.client, RESOURCEQUOTAS, quota_info)
        self._watched: dict[GVR, asyncio.Task[None]] = {}
        self._namespaces: dict[str, int] = {}  # with how many quotas
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled."""
        self._watched.clear()
        self._namespaces.clear()
        async with asyncio.TaskGroup() as group:
            self._group = group
            cancel = self._quotas.subscribe(self._quota_changed)
            try:
                group.create_task(self._quotas.run(), name="quotas")
                await self._quotas.synced()
                await self.queue.run(self._reconcile, self.workers)
            finally:
                cancel()

    def _quota_changed(self, kind: str, key: str, old: QuotaInfo | None, new: QuotaInfo | None) -> None:
        namespace, _ = split_key(key)
        if old is None:
            self._namespaces[namespace] = self._namespaces.get(namespace, 0) + 1
        if new is None:
            self._namespaces[namespace] -= 1
            if not self._namespaces[namespace]:
                del self._namespaces[namespace]
            return
        for gvr in kinds_of(new.limits, self._served()):
            self._watch(gvr)
        self.queue.add(namespace)

    def _served(self) -> list[GVR]:
        found: dict[tuple[str, str], GVR] = {}
        for one in self._resources():
            if one.namespaced and "list" in one.verbs:
                at = one.stored_at or one.gvr
                found.setdefault((at.group, at.resource), at if at.group == one.gvr.group else one.gvr)
        return list(found.values())

    def _watch(self, gvr: GVR) -> None:
        if gvr == RESOURCEQUOTAS or gvr in self._watched or self._group is None:
            return
        informer: Informer[int] = Informer(self.client, gvr, _mark)

        def changed(kind: str, key: str, old: int | None, new: int | None) -> None:
            namespace, _ = split_key(key)
            if namespace in self._namespaces:
                self.queue.add_after(namespace, _SETTLED_S if old is None else _SOON_S)

        informer.subscribe(changed)
        self._watched[gvr] = self._group.create_task(informer.run(), name=f"quota {gvr.resource}")

    async def reconcile(self, key: str) -> float | None:
        """Count again in one namespace; a while later too, since some pods end by their time."""
        quotas = (await self.client.list(RESOURCEQUOTAS, key)).get("items") or []
        if not quotas:
            return None
        limits = {limit for quota in quotas for limit in hard(quota)}
        objects: list[tuple[GVR, Obj]] = []
        for gvr in kinds_of(limits, self._served()):
            try:
                objects += [(gvr, obj) for obj in (await self.client.list(gvr, key)).get("items") or ()]
            except NotFound:
                continue  # a kind that went a moment ago
        for quota in quotas:
            status = quota.get("status") or {}
            allowed = (quota.get("spec") or {}).get("hard") or {}
            used = counted(quota, objects, self.clock())
            fresh = {"hard": written(hard(quota), allowed), "used": written(used, allowed)}
            if {"hard": status.get("hard") or {}, "used": status.get("used") or {}} != fresh:
                await self.client.update(RESOURCEQUOTAS, {**quota, "status": {**status, **fresh}}, subresource="status")
        return _AGAIN_S
