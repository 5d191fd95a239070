"""The generic verbs over the catalogue: what every resource's get, list, create, update, delete and watch have in
common. Knows no kind by name, no HTTP, and no authorization.

The way of a write: decode by schema, defaults, strategy, admission, validation, conversion, compare-and-set; the
watch cache hears of it from the store, so that whoever reads after the answer reads what was written.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from parkube.controlplane.registry import deletion, managed, metadata, scale, schemas
from parkube.controlplane.registry.cache import Hint, ResourceCache
from parkube.controlplane.registry.caches import Caches
from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.conversion import ConvertedWatch, all_in_version, apart, for_storage, in_version
from parkube.controlplane.registry.deletion import Verdict
from parkube.controlplane.registry.listing import page
from parkube.controlplane.registry.options import ListOptions, ListResult, WatchOptions
from parkube.controlplane.registry.resource import Admission, Context, Resource
from parkube.controlplane.registry.stored import Stored, encode, fields_of
from parkube.controlplane.registry.watching import Sink, Subscription, WatchItem
from parkube.controlplane.storage.port import RevisionMismatch, Store, StoreFull
from parkube.kubeapi.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Cause,
    NotFound,
    Obj,
    already_exists,
    conflict,
    invalid,
    not_found,
)
from parkube.kubeapi.objects import copy, rfc3339
from parkube.kubeapi.selectors import FieldSelector

__all__ = ["ListOptions", "ListResult", "Registry", "Stored", "Subscription", "WatchItem", "WatchOptions"]

_UNBASED = Cause("FieldValueInvalid", "Invalid value: 0: must be specified for an update", "metadata.resourceVersion")
_QUIET = Context(field_validation="Ignore")
_ATTEMPTS = 32  # of a read-modify-write among busy writers
_NAMES = 8  # tries of a generated name
_DELETIONS = 64  # of a collection at a time


class InsufficientStorage(ApiError):
    """The server's disk is full."""

    code, reason = 507, "InsufficientStorage"


class Registry:
    """One per server. Everything runs on one event loop. Objects given to it are its own from then on."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        admissions: Sequence[Admission] = (),
        *,
        clock: Callable[[], float] = time.time,
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
        random_below: Callable[[int], int] = random.randrange,
    ) -> None:
        self.store, self.catalogue, self.admissions = store, catalogue, list(admissions)
        self._clock, self._new_uid, self._random_below = clock, new_uid, random_below
        self.caches = Caches(store, catalogue)

    @property
    def revision(self) -> int:
        """The last revision that the watch caches have seen."""
        return self.caches.revision

    async def start(self) -> None:
        """Fill the watch caches; the store was started before."""
        await self.caches.start()

    async def close(self) -> None:
        """End all watches; the store stays open."""
        self.caches.close()

    # -- reading

    def _current(self, r: Resource, namespace: str, name: str) -> tuple[ResourceCache, Stored]:
        cache = self.caches.of(r)
        stored = cache.items.get(r.key(namespace, name))
        if stored is None:
            raise not_found(r.gvr.resource, r.gvr.group, name)
        return cache, stored

    async def get(self, r: Resource, namespace: str, name: str) -> Stored:
        """One object, in the row's version. Raises NotFound."""
        return await in_version(r, self._current(r, namespace, name)[1])

    async def get_scale(self, r: Resource, namespace: str, name: str) -> Obj:
        """The object's Scale. Raises NotFound."""
        return scale.scale_of(r, (await self.get(r, namespace, name)).object())

    async def list(self, r: Resource, namespace: str, options: ListOptions) -> ListResult:
        """A page of objects, in the row's version. Raises Expired, BadRequest, Timeout."""
        selector, judge = apart(r, options.field_selector)
        options = replace(options, field_selector=_stored_fields(r, selector))
        found = await page(self.caches.of(r), self.store, namespace, options, self.revision)
        items = await all_in_version(r, found.items)
        if judge is None:
            return found._replace(items=items)
        return found._replace(items=list(filter(judge, items)), remaining=None)

    def watch(self, r: Resource, namespace: str, options: WatchOptions, sink: Sink) -> Subscription:
        """Tell `sink` of changes, from the next tick of the loop on. Raises Expired, BadRequest, Timeout."""
        selector, judge = apart(r, options.field_selector)
        options = replace(options, field_selector=_stored_fields(r, selector))
        if r.converter is None and judge is None:
            return self.caches.watch(r, namespace, options, sink)
        converted = ConvertedWatch(r, sink, judge)
        return converted.follow(self.caches.watch(r, namespace, options, converted.take))

    # -- writing

    async def create(
        self, r: Resource, namespace: str, obj: Obj, ctx: Context, subresource: str = "", *,
        entries: managed.Managed | None = None,
    ) -> Obj:  # fmt: skip
        """`entries`: the object's managedFields, when apply has made them. Raises AlreadyExists, Invalid, BadRequest,
        Forbidden."""
        cache = self.caches.of(r)
        meta = metadata.prepare(obj, r, namespace)
        if meta.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        missing = schemas.decode(r, obj, ctx)
        meta = obj["metadata"]
        base = "" if meta.get("name") else meta.get("generateName") or ""
        metadata.stamp(meta, self._clock(), self._new_uid())
        r.strategy.default(obj)
        if base:
            meta["name"] = metadata.generated_name(base, self._random_below)
        about = (r, subresource, namespace, meta.get("name") or "")
        await self._admit("CREATE", *about, obj, None, ctx)
        r.strategy.prepare_create(obj)
        self._refuse(r, obj, missing + metadata.faults(obj, None, r) + r.strategy.validate(obj, None, subresource))
        await self._check("CREATE", *about, obj, None, ctx)
        if entries is None:
            self._track(r, obj, {}, (), ctx, subresource, create=True)
        else:
            _set_managed(obj, entries)
        for attempt in range(_NAMES if base else 1):
            if attempt:
                meta["name"] = metadata.generated_name(base, self._random_below)
            key = r.key(namespace, meta["name"])
            if key in cache.items:
                continue
            if ctx.dry_run:
                return obj
            try:
                return await self._put(cache, r, key, obj, 0)
            except RevisionMismatch:
                continue
        raise already_exists(r.gvr.resource, r.gvr.group, meta["name"])

    async def update(
        self, r: Resource, namespace: str, name: str, obj: Obj, ctx: Context, subresource: str = ""
    ) -> Obj:
        """Raises NotFound, Conflict, Invalid, BadRequest, Forbidden."""
        if subresource == "scale":
            return await self.mutate(r, namespace, name, lambda _: obj, ctx, "scale")
        meta = metadata.prepare(obj, r, namespace)
        if meta.get("name", name) != name:
            raise BadRequest(f"the name of the object ({meta['name']}) does not match the name on the URL ({name})")
        meta["name"] = name
        wanted, uid = meta.get("resourceVersion"), meta.get("uid")
        given = meta.pop("managedFields", None)
        missing = schemas.decode(r, obj, ctx)
        if not wanted and not r.strategy.unconditional:
            self._current(r, namespace, name)
            self._refuse(r, obj, [_UNBASED])
        for _ in range(_ATTEMPTS):
            cache, stored = self._current(r, namespace, name)
            if wanted and wanted != str(stored.revision):
                raise conflict(r.gvr.resource, r.gvr.group, name)
            old = (await in_version(r, stored)).object()
            deletion.check_preconditions(old, {"preconditions": {"uid": uid}}, r)
            new = obj if wanted else _shallow(obj)
            base = managed.base_of(given, _managed(old), subresource)
            try:
                return await self._replace(cache, r, stored, old, new, missing, ctx, subresource, base)
            except RevisionMismatch:
                if wanted:
                    raise conflict(r.gvr.resource, r.gvr.group, name) from None
        raise conflict(r.gvr.resource, r.gvr.group, name)

    async def mutate(
        self, r: Resource, namespace: str, name: str, change: Callable[[Obj], Obj], ctx: Context, subresource: str = ""
    ) -> Obj:
        """Read, change, write; again when another writer came between. `change` gets a copy and may change it; with
        the subresource `scale` it gets and gives a Scale, and so does this."""
        warned = len(ctx.warnings)
        for _ in range(_ATTEMPTS):
            del ctx.warnings[warned:]  # those of an attempt that came to nothing
            cache, stored = self._current(r, namespace, name)
            view = await in_version(r, stored)
            old = view.object()
            new = _scaled(r, view, change) if subresource == "scale" else change(view.object())
            meta = metadata.prepare(new, r, namespace)
            if meta.get("name") != name:
                raise BadRequest("metadata.name: the name of an object may not be changed")
            deletion.check_preconditions(old, {"preconditions": {"uid": meta.get("uid")}}, r)
            if meta.get("resourceVersion") not in (None, "", str(stored.revision)):
                raise conflict(r.gvr.resource, r.gvr.group, name)
            base = managed.base_of(meta.pop("managedFields", None), _managed(old), subresource)
            missing = schemas.decode(r, new, ctx)
            try:
                written = await self._replace(cache, r, stored, old, new, missing, ctx, subresource, base)
            except RevisionMismatch:
                continue
            return scale.scale_of(r, written) if subresource == "scale" else written
        raise conflict(r.gvr.resource, r.gvr.group, name)

    async def apply(
        self, r: Resource, namespace: str, name: str, config: Obj, ctx: Context, subresource: str = "", *,
        force: bool = False,
    ) -> tuple[Obj, bool]:  # fmt: skip
        """Server-side apply; the object, and whether it is new. Raises ApplyConflict (unless `force`), and all that
        `create` and `update` raise."""
        uid = (config.get("metadata") or {}).get("uid")
        for _ in range(_ATTEMPTS):
            cache = self.caches.of(r)
            stored = cache.items.get(r.key(namespace, name))
            if stored is None and subresource:
                raise not_found(r.gvr.resource, r.gvr.group, name)
            if stored is None and uid:
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise conflict(r.gvr.resource, r.gvr.group, name, why)
            old = (await in_version(r, stored)).object() if stored else {"apiVersion": r.api_version, "kind": r.kind}
            new, entries = managed.applied(
                old, copy(config), managed.node_of(r), self._writer(r, ctx, subresource), force=force,
                ignored=_not_written(r, subresource),
            )  # fmt: skip
            try:
                if stored is None:
                    return await self.create(r, namespace, new, ctx, entries=entries), True
                return await self._applied(cache, r, stored, old, new, entries, ctx, subresource), False
            except (RevisionMismatch, AlreadyExists):
                continue
        raise conflict(r.gvr.resource, r.gvr.group, name)

    async def _applied(
        self, cache: ResourceCache, r: Resource, stored: Stored, old: Obj, new: Obj, entries: managed.Managed,
        ctx: Context, subresource: str,
    ) -> Obj:  # fmt: skip
        meta = metadata.prepare(new, r, stored.namespace)
        deletion.check_preconditions(old, {"preconditions": {"uid": meta.get("uid")}}, r)
        if meta.get("resourceVersion") not in (None, "", str(stored.revision)):
            raise conflict(r.gvr.resource, r.gvr.group, stored.name)
        missing = schemas.decode(r, new, ctx)
        return await self._replace(cache, r, stored, old, new, missing, ctx, subresource, entries, applied=True)

    async def delete(self, r: Resource, namespace: str, name: str, options: Obj, ctx: Context) -> Obj:
        """The object while it lingers (grace, finalizers), else a Status Success. Raises NotFound, Conflict."""
        deletion.check_options(options)
        dry = ctx.dry_run or "All" in (options.get("dryRun") or ())
        for _ in range(_ATTEMPTS):
            cache, stored = self._current(r, namespace, name)
            obj = (await in_version(r, stored)).object()
            deletion.check_preconditions(obj, options, r)
            await self._admit("DELETE", r, "", namespace, name, None, obj, ctx)
            await self._check("DELETE", r, "", namespace, name, None, obj, ctx)
            uid = obj["metadata"].get("uid", "")
            verdict = deletion.mark(obj, options, r, self._clock())
            if verdict is Verdict.SAME or (dry and verdict is Verdict.CHANGED):
                return obj
            try:
                if verdict is Verdict.CHANGED:
                    return await self._put(cache, r, stored.key, obj, stored.revision)
                if not dry:
                    await self._remove(stored)
            except RevisionMismatch:
                continue
            return _deleted(r, name, uid)
        raise conflict(r.gvr.resource, r.gvr.group, name)

    async def delete_collection(
        self, r: Resource, namespace: str, options: ListOptions, delete_options: Obj, ctx: Context
    ) -> ListResult:
        """Delete what a list with `options` finds; what was found."""
        deletion.check_options(delete_options)
        found = await self.list(r, namespace, options)
        for start in range(0, len(found.items), _DELETIONS):
            part = found.items[start : start + _DELETIONS]
            await asyncio.gather(*[self._delete_one(r, item, delete_options, ctx) for item in part])
        return found

    async def _delete_one(self, r: Resource, item: Stored, options: Obj, ctx: Context) -> None:
        try:
            await self.delete(r, item.namespace, item.name, dict(options), ctx)
        except NotFound:
            pass

    async def connect(
        self, r: Resource, namespace: str, name: str, options: Obj, ctx: Context, subresource: str
    ) -> None:
        """Ask admission whether a stream to an object may be opened. Raises what refuses."""
        await self._admit("CONNECT", r, subresource, namespace, name, options, None, ctx)
        await self._check("CONNECT", r, subresource, namespace, name, options, None, ctx)

    # -- what writes share

    async def _replace(
        self, cache: ResourceCache, r: Resource, stored: Stored, old: Obj, new: Obj, missing: Sequence[Cause],
        ctx: Context, subresource: str, entries: managed.Managed, *, applied: bool = False,
    ) -> Obj:  # fmt: skip
        """`new` in place of `old`, which is `stored`. `entries`: the managedFields to go on from, or, when `applied`,
        those to be. Raises RevisionMismatch when another writer was faster."""
        strategy = r.strategy
        strategy.default(new)
        metadata.carry_over(new["metadata"], old["metadata"])
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
        strategy.prepare_update(new, old, subresource)
        about = (r, subresource, stored.namespace, stored.name)
        await self._admit("UPDATE", *about, new, old, ctx)
        if missing:  # perhaps in what this endpoint does not write, and the strategy has put back
            missing = schemas.decode(r, new, _QUIET)
        faults = [*missing, *metadata.faults(new, old, r), *strategy.validate(new, old, subresource)]
        self._refuse(r, new, faults)
        await self._check("UPDATE", *about, new, old, ctx)
        same = entries == _managed(old)
        if new == old and same:
            return old
        volatile = strategy.volatile(new, old) and same
        if applied:
            _set_managed(new, entries)
        elif not volatile:
            self._track(r, new, old, entries, ctx, subresource)
        if ctx.dry_run:
            return new
        if new["metadata"].get("deletionTimestamp") and deletion.gone_by_update(new, r):
            await self._remove(stored)
            return new
        return await self._put(cache, r, stored.key, new, stored.revision, volatile)

    def _writer(self, r: Resource, ctx: Context, subresource: str) -> managed.Writer:
        return managed.Writer(ctx.field_manager, r.api_version, subresource, rfc3339(self._clock()))

    def _track(
        self, r: Resource, new: Obj, old: Obj, base: Sequence[Obj], ctx: Context, subresource: str, *,
        create: bool = False,
    ) -> None:  # fmt: skip
        """Note in `new` who manages what this write changes."""
        entries = list(base)
        if ctx.field_manager:
            writer = self._writer(r, ctx, subresource)
            entries = managed.updated(base, old, new, managed.node_of(r), writer, create=create)
        _set_managed(new, entries)

    async def _put(
        self, cache: ResourceCache, r: Resource, key: str, obj: Obj, expected: int, volatile: bool = False
    ) -> Obj:
        """Store `obj` (in the row's version); it, with its new resourceVersion."""
        kept = await for_storage(r, obj)
        value = encode(kept)
        cache.hints[id(value)] = Hint(kept["metadata"].get("labels") or {}, fields_of(kept, cache.labels))
        try:
            revision = await self.store.put(key, value, expected=expected, volatile=volatile)
        except StoreFull as error:
            raise InsufficientStorage(str(error)) from error
        finally:
            cache.hints.pop(id(value), None)
        obj["metadata"]["resourceVersion"] = str(revision)
        return obj

    async def _remove(self, stored: Stored) -> None:
        try:
            await self.store.delete(stored.key, expected=stored.revision)
        except StoreFull as error:
            raise InsufficientStorage(str(error)) from error

    async def _admit(
        self, operation: str, r: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, ctx: Context,
    ) -> None:  # fmt: skip
        for admission in self.admissions:
            await admission.admit(operation, r, subresource, namespace, name, new, old, ctx)

    async def _check(
        self, operation: str, r: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, ctx: Context,
    ) -> None:  # fmt: skip
        for admission in self.admissions:
            await admission.check(operation, r, subresource, namespace, name, new, old, ctx)

    @staticmethod
    def _refuse(r: Resource, obj: Obj, faults: Sequence[Cause]) -> None:
        if faults:
            named = obj["metadata"].get("name") or obj["metadata"].get("generateName") or ""
            raise invalid(r.kind, r.gvr.group, named, list(dict.fromkeys(faults)))


def _stored_fields(r: Resource, selector: FieldSelector) -> FieldSelector:
    """The selector in the words of the version that is stored. Raises BadRequest for those the row does not know."""
    if not r.stored_fields or selector.empty:
        return selector
    terms = []
    for term in selector.terms:
        path = term.path if term.path.startswith("metadata.") else r.stored_fields.get(term.path)
        if path is None:
            raise BadRequest(f"field label not supported: {term.path}")
        terms.append(term._replace(path=path))
    return FieldSelector(tuple(terms))


def _managed(obj: Obj) -> managed.Managed:
    found: managed.Managed = obj["metadata"].get("managedFields") or []
    return found


def _set_managed(obj: Obj, entries: managed.Managed) -> None:
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _not_written(r: Resource, subresource: str) -> Obj | None:
    """The fields that an endpoint does not write, at the top of an object."""
    if subresource == "status":
        return {"f:spec": {}}
    return {"f:status": {}} if "status" in r.subresources else None


def _shallow(obj: Obj) -> Obj:
    """A copy for one attempt: what the generic rules set is apart, the rest is shared."""
    return {**obj, "metadata": dict(obj["metadata"])}


def _scaled(r: Resource, stored: Stored, change: Callable[[Obj], Obj]) -> Obj:
    obj = stored.object()
    return scale.apply_scale(r, obj, change(scale.scale_of(r, obj)))


def _deleted(r: Resource, name: str, uid: str) -> Obj:
    details: Obj = {"name": name, **({"group": r.gvr.group} if r.gvr.group else {}), "kind": r.gvr.resource, "uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
