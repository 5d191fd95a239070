"""ResourceQuota: what a write would use is drawn from the quotas' status, all or nothing, before it is stored.

Two writes cannot draw the same rest: the quota's own compare-and-set decides. A write that fails later leaves the
status too high until the controller counts again.
Source: Kubernetes documentation, "Resource Quotas".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

from parkube.controlplane.access.admission.plugin import Find, Plugin, name_of, refused
from parkube.controlplane.access.quota.matching import hard, matches, unsaid, written
from parkube.controlplane.access.quota.usage import Amounts, usage
from parkube.controlplane.registry.resource import Context, Resource
from parkube.kubeapi.client import EVENTS, GVR, PERSISTENTVOLUMECLAIMS, PODS, RESOURCEQUOTAS, SERVICES
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.quantities import parse

_CHANGEABLE = frozenset({PODS, PERSISTENTVOLUMECLAIMS, SERVICES})
_FREE = frozenset({EVENTS, EVENTS._replace(group="events.k8s.io")})

Mutate = Callable[[GVR, str, str, Callable[[Obj], Obj], str], Awaitable[Obj]]
"""(resource, namespace, name, change, subresource): read, change, write."""


class Quotas(Plugin):
    """The last of the plug-ins: what it draws is meant to be used."""

    operations = frozenset({"CREATE", "UPDATE"})

    def __init__(self, find: Find, mutate: Mutate, clock: Callable[[], float]) -> None:
        self._find, self._mutate, self._clock = find, mutate, clock

    def is_about(self, gvr: GVR, operation: str) -> bool:
        """Creations of nearly all kinds, and changes of what may come to use more."""
        if operation == "UPDATE":
            return gvr in _CHANGEABLE
        return operation == "CREATE" and gvr not in _FREE

    async def check(
        self, operation: str, resource: Resource, subresource: str, namespace: str, name: str,
        new: Obj | None, old: Obj | None, context: Context,
    ) -> None:  # fmt: skip
        """Writes `status.used` of the quotas. Raises Forbidden."""
        if new is None or not namespace or subresource not in ("", "resize"):
            return
        named, gvr = name_of(name, new), resource.stored_at
        drawn: list[tuple[str, Amounts]] = []
        for quota in await self._find(RESOURCEQUOTAS, namespace):
            if not matches(quota, gvr, new):
                continue
            wanted = self._wanted(quota, gvr, new, old)
            if gvr == PODS and (missing := unsaid(hard(quota), new)):
                why = f"failed quota: {quota['metadata']['name']}: must specify {missing}"
                raise refused(resource, named, why)
            if any(value > 0 for value in wanted.values()):
                if why := exceeded(quota, wanted):
                    raise refused(resource, named, why)
                drawn.append((quota["metadata"]["name"], wanted))
        if context.dry_run:
            return
        for at, (quota_name, wanted) in enumerate(drawn):
            why = await self._draw(namespace, quota_name, wanted)
            if why:
                for back, amounts in drawn[:at]:
                    await self._draw(namespace, back, {key: -value for key, value in amounts.items()})
                raise refused(resource, named, why)

    def _wanted(self, quota: Obj, gvr: GVR, new: Obj, old: Obj | None) -> Amounts:
        """How much more of what the quota limits the write uses."""
        limits, now = hard(quota), self._clock()
        after = {key: value for key, value in usage(gvr, new, now).items() if key in limits}
        if old is not None and matches(quota, gvr, old):
            before = usage(gvr, old, now)
            after = {key: value - before.get(key, Decimal(0)) for key, value in after.items()}
        return after

    async def _draw(self, namespace: str, name: str, wanted: Amounts) -> str:
        """Why it cannot be; empty when it was."""
        why = ""

        def change(quota: Obj) -> Obj:
            nonlocal why
            why = exceeded(quota, wanted) if any(value > 0 for value in wanted.values()) else ""
            if why:
                return quota
            status = quota.get("status") or {}
            used = {key: parse(value) for key, value in (status.get("used") or {}).items()}
            for key, value in wanted.items():
                used[key] = max(Decimal(0), used.get(key, Decimal(0)) + value)
            return {**quota, "status": {**status, "used": written(used, status.get("hard") or {})}}

        try:
            await self._mutate(RESOURCEQUOTAS, namespace, name, change, "status")
        except NotFound:
            return ""  # a quota that went does not hold
        return why


def exceeded(quota: Obj, wanted: Amounts) -> str:
    """Why the quota does not allow as much more; empty when it does."""
    name, status = quota["metadata"]["name"], quota.get("status") or {}
    limits = {key: parse(value) for key, value in (status.get("hard") or {}).items()}
    used = {key: parse(value) for key, value in (status.get("used") or {}).items()}
    unknown = sorted(key for key in wanted if key not in limits or key not in used)
    if unknown:
        return f"status unknown for quota: {name}, resources: {','.join(unknown)}"
    over = sorted(key for key, value in wanted.items() if value > 0 and used[key] + value > limits[key])
    if not over:
        return ""

    def listed(amounts: Amounts) -> str:
        shown = written(amounts, status.get("hard") or {})
        return ",".join(f"{key}={shown[key]}" for key in over)

    return f"exceeded quota: {name}, requested: {listed(wanted)}, used: {listed(used)}, limited: {listed(limits)}"
