"""A `Client` in memory for tests of controllers and the node agent: any GVR, no schemas, no defaults, no admission.

It keeps revisions, uids, generations, finalizers and deletion timestamps as the API does, and a record of the calls.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from parkube.kubeapi.client import GVR, PatchType, WatchEvent
from parkube.kubeapi.errors import ApiError, BadRequest, Expired, Obj, already_exists, conflict, not_found
from parkube.kubeapi.objects import dig, rfc3339
from parkube.kubeapi.selectors import FieldSelector, LabelSelector

Key = tuple[GVR, str, str]


class FakeClient:
    """`actions` lists the writes as (verb, resource, namespace/name, subresource); `put` and `drop` change the world
    without being recorded; `fail(verb, resource, error)` makes the next such call fail."""

    def __init__(self, *objects: tuple[GVR, Obj], clock: Callable[[], float] = time.time) -> None:
        self._objects: dict[Key, Obj] = {}
        self._history: list[tuple[int, GVR, str, Obj, Obj | None]] = []
        self._revision = 0
        self._floor = 0
        self._uids = itertools.count(1)
        self._clock = clock
        self._changed = asyncio.Condition()
        self._failures: list[tuple[str, str, ApiError]] = []
        self._watch_epoch = 0
        self.graceful: set[str] = set()  # resources whose deletion waits for one with gracePeriodSeconds 0
        self.actions: list[tuple[str, str, str, str]] = []
        for gvr, obj in objects:
            self.put(gvr, obj)

    # -- for tests

    def put(self, gvr: GVR, obj: Obj) -> Obj:
        """Create or replace without any rule but fresh revision and uid."""
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        key = (gvr, metadata.get("namespace", ""), metadata["name"])
        before = self._objects.get(key)
        metadata.setdefault("uid", (before or {}).get("metadata", {}).get("uid") or f"uid-{next(self._uids)}")
        metadata.setdefault("creationTimestamp", rfc3339(self._clock()))
        return self._store(key, obj, before)

    def drop(self, gvr: GVR, name: str, namespace: str = "") -> None:
        """Remove, finalizers or not."""
        self._remove((gvr, namespace, name))

    def fail(self, verb: str, resource: str, error: ApiError) -> None:
        """The next call of `verb` on `resource` raises `error`."""
        self._failures.append((verb, resource, error))

    def all(self, gvr: GVR) -> list[Obj]:
        """Copies of everything of one resource, by namespace and name."""
        return [copy.deepcopy(o) for (r, _, _), o in sorted(self._objects.items(), key=lambda i: i[0]) if r == gvr]

    def compact(self) -> None:
        """Watches from any earlier revision are Expired from now on."""
        self._floor = self._revision

    def break_watches(self) -> None:
        """End every running watch, as a server that restarts."""
        self._watch_epoch += 1
        self._notify()

    # -- Client

    async def get(self, gvr: GVR, name: str, namespace: str = "", *, subresource: str = "") -> Obj:
        self._may("get", gvr)
        return copy.deepcopy(self._found(gvr, namespace, name))

    async def list(
        self, gvr: GVR, namespace: str = "", *, label_selector: str = "", field_selector: str = "",
        limit: int = 0, continue_: str = "",
    ) -> Obj:  # fmt: skip
        self._may("list", gvr)
        match = _matcher(namespace, label_selector, field_selector)
        keys = sorted(key for key, obj in self._objects.items() if key[0] == gvr and match(obj))
        start = int(continue_ or 0)
        stop = start + limit if limit else len(keys)
        metadata: Obj = {"resourceVersion": str(self._revision)}
        if stop < len(keys):
            metadata["continue"] = str(stop)
        return {"metadata": metadata, "items": [copy.deepcopy(self._objects[key]) for key in keys[start:stop]]}

    async def create(self, gvr: GVR, obj: Obj, namespace: str = "", *, name: str = "", subresource: str = "") -> Obj:
        self._may("create", gvr)
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        if namespace:
            metadata["namespace"] = namespace
        namespace = metadata.get("namespace", "")
        if subresource:
            return self._special(gvr, namespace, name, subresource, obj)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{next(self._uids):05d}"
        key = (gvr, namespace, metadata["name"])
        self._record("create", gvr, namespace, metadata["name"])
        if key in self._objects:
            raise already_exists(gvr.resource, gvr.group, metadata["name"])
        metadata.update(uid=f"uid-{next(self._uids)}", creationTimestamp=rfc3339(self._clock()), generation=1)
        return copy.deepcopy(self._store(key, obj, None))

    async def update(self, gvr: GVR, obj: Obj, *, subresource: str = "") -> Obj:
        self._may("update", gvr)
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        self._record("update", gvr, namespace, name, subresource)
        old = self._found(gvr, namespace, name)
        if metadata.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise conflict(gvr.resource, gvr.group, name)
        return self._replace(gvr, old, copy.deepcopy(obj), subresource)

    async def patch(
        self, gvr: GVR, name: str, patch: Obj | Sequence[Obj], namespace: str = "", *,
        kind: PatchType = PatchType.MERGE, subresource: str = "",
    ) -> Obj:  # fmt: skip
        self._may("patch", gvr)
        self._record("patch", gvr, namespace, name, subresource)
        old = self._found(gvr, namespace, name)
        if kind is PatchType.JSON or not isinstance(patch, dict):
            raise BadRequest("the fake client takes merge patches")
        wanted = (patch.get("metadata") or {}).get("resourceVersion")
        if wanted not in (None, old["metadata"]["resourceVersion"]):
            raise conflict(gvr.resource, gvr.group, name)
        merged = _merge(copy.deepcopy(old), patch)
        if kind is PatchType.STRATEGIC and "conditions" in (patch.get("status") or {}):
            by_type = {c["type"]: c for c in (old.get("status") or {}).get("conditions") or ()}
            merged["status"]["conditions"] = [
                *{**by_type, **{c["type"]: c for c in patch["status"]["conditions"]}}.values()
            ]
        return self._replace(gvr, old, merged, subresource)

    async def delete(self, gvr: GVR, name: str, namespace: str = "", *, options: Obj | None = None) -> Obj:
        self._may("delete", gvr)
        self._record("delete", gvr, namespace, name)
        old, options = self._found(gvr, namespace, name), options or {}
        wanted = options.get("preconditions") or {}
        if wanted.get("uid") not in (None, old["metadata"]["uid"]):
            raise conflict(gvr.resource, gvr.group, name, "Precondition failed: UID")
        obj = copy.deepcopy(old)
        grace = options.get("gracePeriodSeconds")
        waits = gvr.resource in self.graceful and grace != 0
        finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(options.get("propagationPolicy", ""))
        if finalizer:
            obj["metadata"].setdefault("finalizers", []).append(finalizer)
        if waits or obj["metadata"].get("finalizers"):
            seconds = (30 if grace is None else grace) if waits else 0
            obj["metadata"].setdefault("deletionTimestamp", rfc3339(self._clock() + seconds))
            obj["metadata"]["deletionGracePeriodSeconds"] = seconds
            return copy.deepcopy(self._store((gvr, namespace, name), obj, old))
        self._remove((gvr, namespace, name))
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    async def watch(
        self, gvr: GVR, namespace: str = "", *, resource_version: str = "", label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[WatchEvent]:  # fmt: skip
        self._may("watch", gvr)
        match = _matcher(namespace, label_selector, field_selector)
        at, epoch = int(resource_version or self._revision), self._watch_epoch
        if at < self._floor:
            raise Expired(f"too old resource version: {at} ({self._floor})")
        while True:
            for revision, changed, kind, obj, before in self._history[at:]:  # an entry a revision
                at = revision
                if changed != gvr:
                    continue
                was, fits = before is not None and match(before), kind != "DELETED" and match(obj)
                if was or fits:
                    kind = ("MODIFIED" if was else "ADDED") if fits else "DELETED"
                    yield WatchEvent(kind, copy.deepcopy(obj))
            async with self._changed:
                while self._revision <= at and self._watch_epoch == epoch:
                    await self._changed.wait()
            if self._watch_epoch != epoch:
                return

    # -- inside

    def _may(self, verb: str, gvr: GVR) -> None:
        for failure in self._failures:
            if failure[:2] == (verb, gvr.resource):
                self._failures.remove(failure)
                raise failure[2]

    def _record(self, verb: str, gvr: GVR, namespace: str, name: str, subresource: str = "") -> None:
        self.actions.append((verb, gvr.resource, f"{namespace}/{name}" if namespace else name, subresource))

    def _found(self, gvr: GVR, namespace: str, name: str) -> Obj:
        found = self._objects.get((gvr, namespace, name))
        if found is None:
            raise not_found(gvr.resource, gvr.group, name)
        return found

    def _special(self, gvr: GVR, namespace: str, name: str, subresource: str, body: Obj) -> Obj:
        self._record("create", gvr, namespace, name, subresource)
        old = self._found(gvr, namespace, name)
        if subresource == "binding":
            new = copy.deepcopy(old)
            new.setdefault("spec", {})["nodeName"] = body["target"]["name"]
            self._store((gvr, namespace, name), new, old)
        elif subresource == "eviction":
            self._remove((gvr, namespace, name))
        return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def _replace(self, gvr: GVR, old: Obj, new: Obj, subresource: str) -> Obj:
        kept, metadata = old["metadata"], new["metadata"]
        if subresource == "status":
            new = {**copy.deepcopy(old), "status": new.get("status")}
            metadata = new["metadata"]
        elif "status" in old and not subresource:
            new.setdefault("status", old["status"])
        for field in ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
            if field in kept:
                metadata[field] = kept[field]
        metadata["generation"] = kept.get("generation", 1) + (new.get("spec") != old.get("spec"))
        key = (gvr, kept.get("namespace", ""), kept["name"])
        if new == old:
            return copy.deepcopy(old)
        gone = not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")
        if metadata.get("deletionTimestamp") and gone:
            self._remove(key)
            return new
        return copy.deepcopy(self._store(key, new, old))

    def _store(self, key: Key, obj: Obj, before: Obj | None) -> Obj:
        self._revision += 1
        obj["metadata"]["resourceVersion"] = str(self._revision)
        self._objects[key] = obj
        self._history.append((self._revision, key[0], "MODIFIED" if before else "ADDED", obj, before))
        self._notify()
        return obj

    def _remove(self, key: Key) -> None:
        before = self._objects.pop(key, None)
        if before is not None:
            self._revision += 1
            last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self._revision)}}
            self._history.append((self._revision, key[0], "DELETED", last, before))
            self._notify()

    def _notify(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._notifier = loop.create_task(self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _merge(into: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result: Obj = dict(into) if isinstance(into, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def _matcher(namespace: str, label_selector: str, field_selector: str) -> Callable[[Obj], bool]:
    labels, fields = LabelSelector.parse(label_selector), FieldSelector.parse(field_selector)

    def match(obj: Obj) -> bool:
        metadata = obj["metadata"]
        if namespace and metadata.get("namespace") != namespace:
            return False
        if not labels.matches(metadata.get("labels") or {}):
            return False
        return fields.matches(lambda path: str(dig(obj, *path.split("."), default="")))

    return match
