"""Priority: a pod's class becomes its number, and no two classes are the default.

Source: Kubernetes documentation, "Pod Priority and Preemption".
"""

from __future__ import annotations

from parkube.controlplane.access.admission.plugin import Find, Plugin, name_of, refused
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import PODS, PRIORITYCLASSES
from parkube.kubeapi.errors import Obj

_POLICY = "PreemptLowerPriority"


class Priorities(Plugin):
    """Resolves `spec.priorityClassName` at a pod's creation."""

    kinds, operations = frozenset({PODS, PRIORITYCLASSES}), frozenset({"CREATE", "UPDATE"})

    def __init__(self, find: Find) -> None:
        self._find = find

    async def admit(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Sets `priority`, `preemptionPolicy` and, by the default class, `priorityClassName`. Raises Forbidden."""
        if resource.gvr != PODS or subresource or operation != "CREATE" or new is None:
            return
        spec = new.setdefault("spec", {})
        wanted = spec.get("priorityClassName") or ""
        classes = await self._find(PRIORITYCLASSES, "")
        if wanted:
            found = next((one for one in classes if one["metadata"]["name"] == wanted), None)
            if found is None:
                why = f"no PriorityClass with name {wanted} was found"
                raise refused(resource, name_of(name, new), why)
        else:
            defaults = [one for one in classes if one.get("globalDefault")]
            found = min(defaults, key=lambda one: one.get("value") or 0, default=None)
            if found is not None:
                spec["priorityClassName"] = found["metadata"]["name"]
        value = (found or {}).get("value") or 0
        policy = (found or {}).get("preemptionPolicy") or _POLICY
        if spec.get("priority") not in (None, value):
            why = (
                f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; priority "
                f"admission controller computed {value} from the given PriorityClass name"
            )
            raise refused(resource, name_of(name, new), why)
        if spec.get("preemptionPolicy") not in (None, "", policy):
            why = (
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise refused(resource, name_of(name, new), why)
        spec["priority"], spec["preemptionPolicy"] = value, policy

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Raises Forbidden for a second default class."""
        if resource.gvr != PRIORITYCLASSES or new is None or not new.get("globalDefault"):
            return
        for other in await self._find(PRIORITYCLASSES, ""):
            taken = other["metadata"]["name"]
            if other.get("globalDefault") and taken != new["metadata"]["name"]:
                why = f"PriorityClass {taken} is already marked as default. Only one default can exist"
                raise refused(resource, name_of(name, new), why)
