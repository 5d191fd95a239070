"""What the admission plug-ins share: a base that does nothing, and the words of a refusal. No rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar

from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Cause, Forbidden, Obj

Read = Callable[[GVR, str, str], Awaitable[Obj]]
"""(resource, namespace, name) -> the object; raises NotFound."""


Find = Callable[[GVR, str], Awaitable[list[Obj]]]
"""(resource, namespace) -> its objects; an empty namespace: those of all."""


class Plugin:
    """An `Admission` that lets everything pass. It is asked only of `kinds` (None: all) and `operations`."""

    kinds: ClassVar[frozenset[GVR] | None] = None
    operations: ClassVar[frozenset[str]] = frozenset({"CREATE", "UPDATE", "DELETE"})

    def is_about(self, gvr: GVR, operation: str) -> bool:
        """Whether it wants to be asked."""
        return operation in self.operations and (self.kinds is None or gvr in self.kinds)

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """See `Admission`."""

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """See `Admission`."""


def refused(resource: Resource, name: str, why: str, causes: list[Cause] | None = None) -> Forbidden:
    """`pods "web" is forbidden: why`."""
    group, plural = resource.gvr.group, resource.gvr.resource
    full = f"{plural}.{group}" if group else plural
    details = {"name": name, "group": group, "kind": plural}
    return Forbidden(
        f'{full} "{name}" is forbidden: {why}', details={k: v for k, v in details.items() if v}, causes=causes or ()
    )


def name_of(name: str, obj: Obj | None) -> str:
    """The name in the URL, or else the object's own (or the start of what will be its name)."""
    meta = (obj or {}).get("metadata") or {}
    return name or meta.get("name") or meta.get("generateName") or ""
