"""The garbage collector: what is owned goes with its owner, in the background or before it, or is set free.

    owner deleted (Background)     owner gone -------------------> dependents deleted
    owner deleted (Foreground)     owner keeps `foregroundDeletion` until those dependents that block it are gone;
                                   a dependent that owns it in turn does not block
    owner deleted (Orphan)         owner keeps `orphan` until its dependents no longer refer to it

Works on every resource it is told of, custom ones included. Leases and Events are not looked at: they change all the
time and nothing hangs on them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from parkube.controlplane.controllers.options import ApiResource, Options
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import GVR, LEASES, PODS, Client
from parkube.kubeapi.compact import Owner, owners_of
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.informer import Handler, Informer
from parkube.kubeapi.objects import split_key

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_NEEDED = {"list", "watch", "delete", "patch"}
_SKIPPED = {("", "events"), ("events.k8s.io", "events"), (LEASES.group, LEASES.resource)}
_RESCAN_S, _SETTLE_S, _REMEMBERED = 5.0, 2.0, 10_000


class Tracked(Protocol):
    """What is kept of an object: PodInfo has these, and `GcInfo` is for the rest."""

    @property
    def uid(self) -> str: ...

    @property
    def owners(self) -> tuple[Owner, ...]: ...

    @property
    def deleting(self) -> Any: ...

    @property
    def finalizers(self) -> tuple[str, ...]: ...


class GcInfo(NamedTuple):
    """An object, for the garbage collector."""

    uid: str
    owners: tuple[Owner, ...]
    deleting: bool
    finalizers: tuple[str, ...]


def gc_info(obj: Obj) -> GcInfo:
    """The projection of any object."""
    m = obj["metadata"]
    return GcInfo(m.get("uid", ""), owners_of(m), bool(m.get("deletionTimestamp")), tuple(m.get("finalizers") or ()))


class Ref(NamedTuple):
    """Where an object is."""

    gvr: GVR
    key: str

    @property
    def text(self) -> str:
        """As a queue's key."""
        return "|".join((*self.gvr, self.key))


def ref_of(text: str) -> Ref:
    """The inverse of `Ref.text`."""
    group, version, resource, key = text.split("|")
    return Ref(GVR(group, version, resource), key)


class Graph:
    """Who depends on whom; filled from informers."""

    def __init__(self) -> None:
        self.live: dict[str, Ref] = {}
        self.dependents: dict[str, dict[str, Ref]] = {}
        self.gone: OrderedDict[str, None] = OrderedDict()  # uids seen deleted, the last ten thousand

    def change(self, ref: Ref, old: Tracked | None, new: Tracked | None) -> None:
        """One object appeared, changed or went."""
        if old is not None and (new is None or old.uid != new.uid or old.owners != new.owners):
            for owner in old.owners:
                members = self.dependents.get(owner.uid)
                if members is not None:
                    members.pop(old.uid, None)
                    if not members:
                        del self.dependents[owner.uid]
            if new is None or old.uid != new.uid:
                self.live.pop(old.uid, None)
                self.gone[old.uid] = None
                if len(self.gone) > _REMEMBERED:
                    self.gone.popitem(last=False)
        if new is not None:
            self.live[new.uid] = ref
            if old is None or old.uid != new.uid or old.owners != new.owners:
                for owner in new.owners:
                    self.dependents.setdefault(owner.uid, {})[new.uid] = ref

    def reaches(self, uid: str, end: str) -> bool:
        """Whether `end` is the object itself or depends on it, over however many others."""
        seen, ahead = {uid}, [uid]
        while ahead:
            if (at := ahead.pop()) == end:
                return True
            further = self.dependents.get(at, {}).keys() - seen
            seen |= further
            ahead.extend(further)
        return False


class GarbageCollector(Reconciler):
    """Deletes, waits and sets free by owner references."""

    name: ClassVar[str] = "garbage-collector"
    inputs: ClassVar[tuple[GVR, ...]] = ()  # everything
    outputs: ClassVar[tuple[GVR, ...]] = ()  # everything
    workers: ClassVar[int] = 20

    def __init__(self, env: Env, options: Options) -> None:
        super().__init__(env)
        self._resources = options.resources
        self._graph = Graph()
        self._informers: dict[GVR, Informer[GcInfo]] = {}
        self._tasks: dict[GVR, asyncio.Task[None]] = {}
        self._kinds: dict[tuple[str, str], ApiResource] = {}
        env.views.pods.subscribe(lambda kind, key, old, new: self._changed(PODS, key, old, new))

    def _changed(self, gvr: GVR, key: str, old: Tracked | None, new: Tracked | None) -> None:
        ref = Ref(gvr, key)
        self._graph.change(ref, old, new)
        if new is None or (old is not None and old.uid != new.uid):
            if old is not None:
                for dependent in self._graph.dependents.get(old.uid, {}).values():
                    self.queue.add(dependent.text)
                for owner in old.owners:
                    if owner.uid in self._graph.live:
                        self._look_at_owner(owner)
            if new is None:
                return
        if new.deleting and (FOREGROUND in new.finalizers or ORPHAN in new.finalizers):
            self.queue.add(ref.text)
        elif new.owners and (old is None or old.owners != new.owners):
            if any(owner.uid not in self._graph.live for owner in new.owners):
                self.queue.add_after(ref.text, _SETTLE_S)
            for owner in old.owners if old is not None else ():
                self._look_at_owner(owner)

    def _handler(self, gvr: GVR) -> Handler[GcInfo]:
        return lambda kind, key, old, new: self._changed(gvr, key, old, new)

    def _look_at_owner(self, owner: Owner) -> None:
        """A dependent went or was set free: its owner may have waited for that."""
        ref = self._graph.live.get(owner.uid)
        info = self._info(ref) if ref is not None else None
        if ref is not None and info is not None and info.deleting:
            self.queue.add(ref.text)

    def _info(self, ref: Ref) -> Tracked | None:
        if ref.gvr == PODS:
            return self.views.pods.get(ref.key)
        informer = self._informers.get(ref.gvr)
        return informer.get(ref.key) if informer is not None else None

    async def run(self) -> None:
        """Until cancelled; follows resources as they come and go."""
        await self.views.synced()
        async with asyncio.TaskGroup() as group:
            await self._scan(group)
            group.create_task(self.queue.run(self._reconcile, self.workers))
            while True:
                await asyncio.sleep(_RESCAN_S)
                await self._scan(group)

    async def _scan(self, group: asyncio.TaskGroup) -> None:
        resources = self._resources()
        self._kinds = {(_api_version(r.gvr), r.kind): r for r in resources}
        wanted = {r.gvr for r in _stored_once(resources)} - {PODS}
        for gvr in wanted - set(self._informers):
            informer = self._informers[gvr] = _informer(self.client, gvr)
            informer.subscribe(self._handler(gvr))
            self._tasks[gvr] = group.create_task(informer.run(), name=f"garbage collector {gvr.resource}")
        for gvr in set(self._informers) - wanted:
            self._tasks.pop(gvr).cancel()
            informer = self._informers.pop(gvr)
            for key, info in list(informer.items()):
                self._changed(gvr, key, info, None)
        for gvr in wanted:
            try:
                async with asyncio.timeout(10.0):  # not wait_for, which loses a cancellation in Python 3.11
                    await self._informers[gvr].synced()
            except TimeoutError:
                continue  # one resource that cannot be listed must not stop all others

    async def reconcile(self, key: str) -> float | None:
        """Look at one object: finish its own deletion, or delete it if nobody owns it any more."""
        ref = ref_of(key)
        info = self._info(ref)
        if info is None:
            return None
        if info.deleting:
            if ORPHAN in info.finalizers:
                await self._orphan(ref, info)
            elif FOREGROUND in info.finalizers:
                await self._foreground(ref, info)
            return None
        if not info.owners:
            return None
        solid, waiting, absent = await self._sort(ref, info.owners)
        if solid and (waiting or absent):
            await self._drop_owners(ref, info, {o.uid for o in (*waiting, *absent)})
        elif not solid and (waiting or absent):
            has_own = waiting and self._graph.dependents.get(info.uid)
            await self._delete(ref, info, "Foreground" if has_own else "Background")
        return None

    async def _sort(self, ref: Ref, owners: Sequence[Owner]) -> tuple[list[Owner], list[Owner], list[Owner]]:
        """Owners that stand, that wait for their dependents to go first, and that are no more."""
        solid: list[Owner] = []
        waiting: list[Owner] = []
        absent: list[Owner] = []
        for owner in owners:
            at = self._graph.live.get(owner.uid)
            info = self._info(at) if at is not None else None
            if info is not None and info.uid == owner.uid:
                (waiting if info.deleting and FOREGROUND in info.finalizers else solid).append(owner)
            elif owner.uid in self._graph.gone or not await self._exists(ref, owner):
                absent.append(owner)
            else:
                solid.append(owner)
        return solid, waiting, absent

    async def _exists(self, ref: Ref, owner: Owner) -> bool:
        """Ask the API itself. An owner of a kind that is not served counts as there: nothing is deleted on a guess."""
        resource = self._kinds.get((owner.api_version, owner.kind))
        if resource is None:
            return True
        namespace = split_key(ref.key)[0] if resource.namespaced else ""
        try:
            found = await self.client.get(resource.gvr, owner.name, namespace)
        except NotFound:
            return False
        return bool(found["metadata"].get("uid") == owner.uid)

    async def _delete(self, ref: Ref, info: Tracked, policy: str) -> None:
        namespace, name = split_key(ref.key)
        options = {"propagationPolicy": policy, "preconditions": {"uid": info.uid}}
        await self.client.delete(ref.gvr, name, namespace, options=options)

    async def _foreground(self, ref: Ref, info: Tracked) -> None:
        blocking = False
        for uid, dependent in list(self._graph.dependents.get(info.uid, {}).items()):
            held = self._info(dependent)
            if held is None or held.uid != uid:
                continue
            if not blocking and any(o.uid == info.uid and o.blocks for o in held.owners):
                blocking = not self._graph.reaches(uid, info.uid)  # in a circle nobody can go first
            if not held.deleting:
                self.queue.add(dependent.text)
        if not blocking:
            await self._drop_finalizer(ref, info, FOREGROUND)

    async def _orphan(self, ref: Ref, info: Tracked) -> None:
        for dependent in list(self._graph.dependents.get(info.uid, {}).values()):
            held = self._info(dependent)
            if held is not None:
                try:
                    await self._drop_owners(dependent, held, {info.uid})
                except NotFound:
                    continue
        await self._drop_finalizer(ref, info, ORPHAN)

    async def _drop_owners(self, ref: Ref, info: Tracked, uids: set[str]) -> None:
        namespace, name = split_key(ref.key)
        obj = await self.client.get(ref.gvr, name, namespace)
        m = obj["metadata"]
        kept = [r for r in m.get("ownerReferences") or () if r.get("uid") not in uids]
        change: Obj = {"metadata": {"resourceVersion": m["resourceVersion"], "ownerReferences": kept or None}}
        if m.get("uid") == info.uid:
            await self.client.patch(ref.gvr, name, change, namespace)

    async def _drop_finalizer(self, ref: Ref, info: Tracked, finalizer: str) -> None:
        namespace, name = split_key(ref.key)
        m = (await self.client.get(ref.gvr, name, namespace))["metadata"]
        if m.get("uid") != info.uid or finalizer not in (m.get("finalizers") or ()):
            return
        kept = [f for f in m["finalizers"] if f != finalizer]
        change: Obj = {"metadata": {"resourceVersion": m["resourceVersion"], "finalizers": kept or None}}
        await self.client.patch(ref.gvr, name, change, namespace)


def _informer(client: Client, gvr: GVR) -> Informer[GcInfo]:
    return Informer(client, gvr, gc_info)


def _api_version(gvr: GVR) -> str:
    return f"{gvr.group}/{gvr.version}" if gvr.group else gvr.version


def _stored_once(resources: Sequence[ApiResource]) -> list[ApiResource]:
    """Each storage once, in the version that holds it where that is served."""
    found: dict[tuple[str, str], ApiResource] = {}
    for r in resources:
        at = r.stored_at or r.gvr
        if not set(r.verbs) >= _NEEDED or (at.group, at.resource) in _SKIPPED:
            continue
        known = found.get((at.group, at.resource))
        if known is None or r.gvr == at:
            found[at.group, at.resource] = r
    return list(found.values())
