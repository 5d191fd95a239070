"""An informer: a local, compact view of one resource, kept current by list and watch.

It stores what `keep` makes of each object, never the object itself. It decides nothing and writes nothing.

    listing --ok--> watching --broken--> (back off) --> watching
       ^ \\--error--> (back off) --> listing        \\--Expired--> listing
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, ItemsView
from typing import Generic, TypeVar

from parkube.kubeapi.client import GVR, Client
from parkube.kubeapi.errors import ApiError, Expired, Obj
from parkube.kubeapi.objects import key as key_of

log = logging.getLogger(__name__)
T = TypeVar("T")
Handler = Callable[[str, str, "T | None", "T | None"], None]

_PAGE = 500
_BASE_DELAY, _MAX_DELAY = 0.2, 30.0


class Informer(Generic[T]):
    """`keep` must be quick and return something small; handlers run on the loop and must not block.

    A change that leaves what is kept equal to what was kept before is not reported.
    """

    def __init__(
        self,
        client: Client,
        gvr: GVR,
        keep: Callable[[Obj], T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client, self.gvr, self._keep = client, gvr, keep
        self._namespace, self._labels, self._fields = namespace, label_selector, field_selector
        self._sleep, self._jitter = sleep, jitter
        self._items: dict[str, T] = {}
        self._handlers: list[Handler[T]] = []
        self._synced = asyncio.Event()
        self._revision = ""
        self._failures = 0

    def subscribe(self, handler: Handler[T]) -> Callable[[], None]:
        """Call `handler(type, key, old, new)` for every change, types as in watches, and at once with ADDED for what
        is already known. Returns the cancel."""
        self._handlers.append(handler)
        for key, value in list(self._items.items()):
            handler("ADDED", key, None, value)
        return lambda: self._handlers.remove(handler)

    def get(self, key: str) -> T | None:
        """What is kept of `namespace/name` (or `name`)."""
        return self._items.get(key)

    def items(self) -> ItemsView[str, T]:
        """All that is known, as (key, kept); do not change anything on the loop while iterating across an await."""
        return self._items.items()

    def __len__(self) -> int:
        return len(self._items)

    async def synced(self) -> None:
        """Wait until the first list is in."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    async def run(self) -> None:
        """List and watch until cancelled; every failure is tried again with jittered back-off."""
        while True:
            try:
                if not self._revision:
                    await self._list()
                await self._watch()
                await self._pause(quiet=True)
            except Expired:
                self._revision = ""
            except (ApiError, OSError, EOFError, asyncio.IncompleteReadError) as error:
                await self._pause(error)

    async def _pause(self, error: BaseException | None = None, *, quiet: bool = False) -> None:
        self._failures = 0 if quiet else self._failures + 1
        delay = min(_MAX_DELAY, _BASE_DELAY * 2 ** min(self._failures, 10)) * (0.5 + self._jitter())
        if error is not None:
            log.log(
                logging.WARNING if self._failures == 3 else logging.DEBUG,
                "%s: %s; trying again in %.1f s", self.gvr.resource, error or type(error).__name__, delay,
            )  # fmt: skip
        await self._sleep(delay)

    async def _list(self) -> None:
        found: dict[str, T] = {}
        continue_ = ""
        while True:
            page = await self._client.list(
                self.gvr, self._namespace, label_selector=self._labels, field_selector=self._fields,
                limit=_PAGE, continue_=continue_,
            )  # fmt: skip
            for obj in page.get("items") or ():
                found[key_of(obj)] = self._keep(obj)
            metadata = page.get("metadata") or {}
            continue_ = metadata.get("continue") or ""
            if not continue_:
                break
        self._revision = str(metadata.get("resourceVersion") or "0")
        for key in [key for key in self._items if key not in found]:
            self._apply("DELETED", key, None)
        for key, value in found.items():
            self._apply("ADDED", key, value)
        self._failures = 0
        self._synced.set()

    async def _watch(self) -> None:
        events = self._client.watch(
            self.gvr, self._namespace, resource_version=self._revision,
            label_selector=self._labels, field_selector=self._fields,
        )  # fmt: skip
        try:
            async for kind, obj in events:
                self._failures = 0
                revision = (obj.get("metadata") or {}).get("resourceVersion")
                if kind != "BOOKMARK":
                    self._apply(kind, key_of(obj), None if kind == "DELETED" else self._keep(obj))
                if revision:
                    self._revision = revision
        finally:
            close = getattr(events, "aclose", None)
            if close is not None:
                await close()

    def _apply(self, kind: str, key: str, new: T | None) -> None:
        old = self._items.get(key)
        if kind == "DELETED":
            if old is None and key not in self._items:
                return
            self._items.pop(key, None)
        else:
            assert new is not None
            kind = "MODIFIED" if key in self._items else "ADDED"
            self._items[key] = new
            if kind == "MODIFIED" and old == new:
                return
        for handler in tuple(self._handlers):
            try:
                handler(kind, key, old, new)
            except Exception:
                log.exception("a handler of %s failed on %s %s", self.gvr.resource, kind, key)
