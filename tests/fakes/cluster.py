"""A server's inside without HTTP: the real registry, access and custom resources on the memory store. Virtual time."""

from __future__ import annotations

import asyncio
import functools
import itertools
from random import Random
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from parkube.controlplane.access.access import Access
from parkube.controlplane.registry.crd.definitions import DefinitionStrategy
from parkube.controlplane.registry.crd.served import CustomResources
from parkube.controlplane.registry.kinds import builtin_catalogue
from parkube.controlplane.registry.operations import Registry
from parkube.controlplane.registry.options import ListOptions
from parkube.controlplane.registry.resource import SYSTEM, Context, Resource, User
from parkube.controlplane.storage.memory import MemoryStore
from parkube.kubeapi.client import GVR, NODES, PODS, SERVICEACCOUNTS
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import copy

NOON = 1_800_000_000.0


@functools.cache
def private_key() -> bytes:
    """An ECDSA key, PEM."""
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, pkcs8, plain)


class Cluster:
    """`async with Cluster() as cluster`; `now` is the time."""

    def __init__(self, **settings: Any) -> None:
        self.now = NOON
        counter = itertools.count(1)
        self.store = MemoryStore()
        self.access = Access(
            private_key(), clock=lambda: self.now, new_id=lambda: f"id-{next(counter)}", random=Random(7),
            sleep=self._sleep, **settings,
        )  # fmt: skip
        self.registry = Registry(
            self.store, builtin_catalogue(DefinitionStrategy()), self.access.admissions,
            clock=lambda: self.now, new_uid=lambda: f"uid-{next(counter)}",
        )  # fmt: skip
        self.custom = CustomResources(self.registry, clock=lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    async def __aenter__(self) -> Cluster:
        await self.store.start()
        await self.registry.start()
        await self.custom.start()
        await self.access.start(self.registry)
        await self.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.access.stop()
        await self.custom.stop()
        await self.registry.close()
        await self.store.close()

    async def settle(self) -> None:
        """Let events arrive and background work finish."""
        for _ in range(40):
            await asyncio.sleep(0)

    def row(self, gvr: GVR) -> Resource:
        """The catalogue's row."""
        row = self.registry.catalogue.get(gvr)
        assert row is not None, f"{gvr} is not served"
        return row

    async def create(
        self, gvr: GVR, name: str, namespace: str = "", *, user: User = SYSTEM,
        context: Context | None = None, **body: Any,
    ) -> Obj:  # fmt: skip
        """Create, and let everybody hear of it. `metadata` in `body` is merged in."""
        row = self.row(gvr)
        metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **body.pop("metadata", {})}
        obj = {"apiVersion": row.api_version, "kind": row.kind, "metadata": metadata, **body}
        made = await self.registry.create(row, namespace, copy(obj), context or Context(user))
        await self.settle()
        return made

    async def get(self, gvr: GVR, name: str, namespace: str = "") -> Obj:
        """The object now."""
        return (await self.registry.get(self.row(gvr), namespace, name)).object()

    async def names(self, gvr: GVR, namespace: str = "") -> list[str]:
        """Of all objects."""
        return [item.name for item in (await self.registry.list(self.row(gvr), namespace, ListOptions())).items]

    async def change(
        self, gvr: GVR, name: str, namespace: str = "", *, user: User = SYSTEM, subresource: str = "", **body: Any
    ) -> Obj:
        """Set top-level fields."""
        row = self.row(gvr)
        done = await self.registry.mutate(row, namespace, name, lambda obj: {**obj, **body}, Context(user), subresource)
        await self.settle()
        return done

    async def delete(self, gvr: GVR, name: str, namespace: str = "", *, user: User = SYSTEM) -> Obj:
        """Delete at once."""
        gone = await self.registry.delete(self.row(gvr), namespace, name, {"gracePeriodSeconds": 0}, Context(user))
        await self.settle()
        return gone

    async def pod(
        self, name: str, node: str = "", namespace: str = "default", *, user: User = SYSTEM, **spec: Any
    ) -> Obj:
        """A pod of one container, with its account there."""
        account = spec.get("serviceAccountName", "default")
        if account not in await self.names(SERVICEACCOUNTS, namespace):
            await self.create(SERVICEACCOUNTS, account, namespace)
        body = {"containers": [{"name": "app", "image": "nginx"}], **({"nodeName": node} if node else {}), **spec}
        return await self.create(PODS, name, namespace, user=user, spec=body)

    async def node(self, name: str) -> Obj:
        """A node."""
        return await self.create(NODES, name)


def node_user(name: str) -> User:
    """The user that a node is."""
    return User(f"system:node:{name}", ("system:nodes", "system:authenticated"))


def person(name: str, *groups: str) -> User:
    """A user with no rights of his own."""
    return User(name, (*groups, "system:authenticated"))
