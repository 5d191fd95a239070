"""The generic verbs over the catalogue: what every resource's get, list, create, update, delete and watch have in
common. Knows no kind by name, no HTTP, and no authorization.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence

from parkube.controlplane.registry.catalogue import Catalogue
from parkube.controlplane.registry.options import ListOptions, ListResult, WatchOptions
from parkube.controlplane.registry.resource import Admission, Context, Resource
from parkube.controlplane.registry.stored import Stored
from parkube.controlplane.registry.watching import Sink, Subscription
from parkube.controlplane.storage.port import Store
from parkube.kubeapi.errors import Obj


class Registry:
    """One per server. Everything runs on one event loop."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        admissions: Sequence[Admission] = (),
        *,
        clock: Callable[[], float] = time.time,
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.store, self.catalogue, self.admissions = store, catalogue, list(admissions)
        self._clock, self._new_uid = clock, new_uid

    @property
    def revision(self) -> int:
        """The last revision that the watch caches have seen."""
        raise NotImplementedError

    async def start(self) -> None:
        """Fill the watch caches."""
        raise NotImplementedError

    async def close(self) -> None:
        """End all watches; the store stays open."""
        raise NotImplementedError

    async def get(self, r: Resource, namespace: str, name: str) -> Stored:
        """One object, in the row's version. Raises NotFound."""
        raise NotImplementedError

    async def list(self, r: Resource, namespace: str, options: ListOptions) -> ListResult:
        """A page of objects, in the row's version. Raises Expired, BadRequest."""
        raise NotImplementedError

    async def create(self, r: Resource, namespace: str, obj: Obj, ctx: Context, subresource: str = "") -> Obj:
        """Raises AlreadyExists, Invalid, BadRequest, Forbidden."""
        raise NotImplementedError

    async def update(self, r: Resource, namespace: str, name: str, obj: Obj, ctx: Context, subresource: str = "") -> Obj:
        """Raises NotFound, Conflict, Invalid, BadRequest, Forbidden."""
        raise NotImplementedError

    async def mutate(
        self, r: Resource, namespace: str, name: str, change: Callable[[Obj], Obj], ctx: Context, subresource: str = ""
    ) -> Obj:
        """Read, change, write; again when another writer came between."""
        raise NotImplementedError

    async def delete(self, r: Resource, namespace: str, name: str, options: Obj, ctx: Context) -> Obj:
        """The object while it lingers (grace, finalizers), else as it was last, or a Status Success."""
        raise NotImplementedError

    async def delete_collection(
        self, r: Resource, namespace: str, options: ListOptions, delete_options: Obj, ctx: Context
    ) -> ListResult:
        """Delete what a list with `options` finds; what was found."""
        raise NotImplementedError

    def watch(self, r: Resource, namespace: str, options: WatchOptions, sink: Sink) -> Subscription:
        """Tell `sink` of changes. Raises Expired, BadRequest."""
        raise NotImplementedError
