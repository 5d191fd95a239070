"""The plug-in that puts policies and webhooks into the chain: first those that change, later those that judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from parkube.controlplane.access.admission.dynamic.attributes import Write
from parkube.controlplane.access.admission.dynamic.policies import Policies
from parkube.controlplane.access.admission.dynamic.webhooks import Webhooks
from parkube.controlplane.access.admission.plugin import Plugin, Read
from parkube.controlplane.access.authn import service_account_user
from parkube.controlplane.access.authz import Attributes, Authorizer
from parkube.controlplane.registry import schemas
from parkube.controlplane.registry.cel import Rights
from parkube.controlplane.registry.resource import Context, Resource, User
from parkube.kubeapi.client import NAMESPACES
from parkube.kubeapi.errors import NotFound, Obj

Versions = Callable[[Resource], list[Resource]]
"""The rows that share a row's objects."""


class Dynamic(Plugin):
    """Costs nothing where nobody configured anything."""

    operations = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})

    def __init__(
        self, webhooks: Webhooks, policies: Policies, versions: Versions, read: Read, authorizer: Authorizer
    ) -> None:
        self._webhooks, self._policies, self._versions, self._read = webhooks, policies, versions, read
        self._authorizer = authorizer

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Changes `new`. Raises what a policy or a webhook says."""
        if not self._webhooks.mutating.hooks and not self._policies.mutating.active:
            return
        write = await self._write(operation, resource, subresource, namespace, name, new, old, context)
        if write is None:
            return
        settle = partial(_settle, resource, subresource, old, context)
        await self._policies.mutate(write, settle)
        await self._webhooks.mutate(write, settle)

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises what a policy or a webhook says."""
        if not self._webhooks.validating.hooks and not self._policies.validating.active:
            return
        write = await self._write(operation, resource, subresource, namespace, name, new, old, context)
        if write is None:
            return
        await self._policies.validate(write)
        await self._webhooks.validate(write)

    async def _write(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> Write | None:  # fmt: skip
        versions = self._versions(resource)
        about = {
            "group": resource.gvr.group, "resource": resource.gvr.resource, "subresource": subresource,
            "namespace": namespace, "name": name,
        }  # fmt: skip
        rights = Rights(partial(_allowed, self._authorizer, context.user), about)
        write = Write(operation, resource, subresource, namespace, name, new, old, context, versions, rights)
        if write.exempt:
            return None
        if namespace:
            try:
                write.namespace_object = await self._read(NAMESPACES, "", namespace)
            except NotFound:
                pass
        return write


def _allowed(authorizer: Authorizer, user: User, asked: Mapping[str, str]) -> tuple[bool, str]:
    """What the authorizer says of the user, or of the service account that is named."""
    if asked.get("account"):
        namespace, _, name = asked["account"].partition(":")
        user = service_account_user(namespace, name)
    parts = ("group", "resource", "subresource", "namespace", "name", "path")
    decision = authorizer.authorize(Attributes(user, asked["verb"], *(asked.get(part, "") for part in parts)))
    return decision.allowed, decision.reason


def _settle(row: Resource, subresource: str, old: Obj | None, context: Context, changed: Obj) -> None:
    """Prune and default again; on an update also put back what it may not change."""
    schemas.decode(row, changed, context)
    row.strategy.default(changed)
    if old is not None:
        row.strategy.prepare_update(changed, old, subresource)
