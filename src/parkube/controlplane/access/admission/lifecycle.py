"""NamespaceLifecycle: nothing is created where no namespace is, or in one that is going; three namespaces stay."""

from __future__ import annotations

from parkube.controlplane.access.admission.plugin import Plugin, Read, name_of, refused
from parkube.controlplane.access.facts import Facts
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import NAMESPACES
from parkube.kubeapi.errors import Cause, Obj

KEPT = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle(Plugin):
    """Asks the facts at hand; only a namespace that they do not know is looked up."""

    operations = frozenset({"CREATE", "DELETE"})

    def __init__(self, facts: Facts, read: Read) -> None:
        self._facts, self._read = facts, read

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises NotFound for a missing namespace, Forbidden otherwise."""
        if resource.gvr == NAMESPACES:
            if operation == "DELETE" and name in KEPT:
                raise refused(resource, name, "this namespace may not be deleted")
            return
        if operation != "CREATE" or subresource or not resource.namespaced:
            return
        terminating = self._facts.namespace_terminating(namespace)
        if not self._facts.namespace_exists(namespace):
            # It may have been made a moment ago, its event still on the way.
            found = await self._read(NAMESPACES, "", namespace)
            terminating = "deletionTimestamp" in found["metadata"]
        if terminating:
            cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise refused(resource, name_of(name, new), why, [cause])
