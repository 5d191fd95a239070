"""RuntimeClass: the class that a pod names exists, and gives it its overhead and the nodes that it fits.

Source: Kubernetes documentation, "Runtime Class" and "Pod Overhead".
"""

from __future__ import annotations

from parkube.controlplane.access.admission.plugin import Plugin, Read, name_of, refused
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import PODS, RUNTIMECLASSES
from parkube.kubeapi.errors import NotFound, Obj


class RuntimeClasses(Plugin):
    """Looks at pods when they are created."""

    kinds, operations = frozenset({PODS}), frozenset({"CREATE"})

    def __init__(self, read: Read) -> None:
        self._read = read

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Changes `spec.overhead`, `nodeSelector`, `tolerations`. Raises Forbidden."""
        if subresource or new is None:
            return
        spec = new.setdefault("spec", {})
        wanted, named = spec.get("runtimeClassName"), name_of(name, new)
        if not wanted:
            if spec.get("overhead"):
                why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
                raise refused(resource, named, why)
            return
        try:
            found = await self._read(RUNTIMECLASSES, "", wanted)
        except NotFound as error:
            raise refused(resource, named, f'pod rejected: RuntimeClass "{wanted}" not found') from error
        overhead = (found.get("overhead") or {}).get("podFixed") or {}
        if spec.get("overhead") and spec["overhead"] != overhead:
            why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            raise refused(resource, named, why)
        if overhead:
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling") or {}
        selector = dict(spec.get("nodeSelector") or {})
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.setdefault(key, value) != value:
                why = (
                    f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = "
                    f"{selector[key]}"
                )
                raise refused(resource, named, why)
        if selector:
            spec["nodeSelector"] = selector
        have = spec.get("tolerations") or []
        more = [dict(one) for one in scheduling.get("tolerations") or () if one not in have]
        if more:
            spec["tolerations"] = [*have, *more]
