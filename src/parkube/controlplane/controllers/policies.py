"""Says of each ValidatingAdmissionPolicy that its expressions were checked. They were when it was written: one that
does not compile is refused then, and what a variable's fields are is known only when one is evaluated.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import GVR
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.informer import Informer

POLICIES = GVR("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")


def _seen(policy: Obj) -> tuple[int, int]:
    generation = policy["metadata"].get("generation") or 0
    return generation, (policy.get("status") or {}).get("observedGeneration") or 0


class PolicyController(Reconciler):
    """A key is a policy's name."""

    name: ClassVar[str] = "validatingadmissionpolicy-status"
    inputs: ClassVar[tuple[GVR, ...]] = (POLICIES,)
    outputs: ClassVar[tuple[GVR, ...]] = (POLICIES,)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._policies: Informer[tuple[int, int]] = Informer(env.client, POLICIES, _seen)
        self._policies.subscribe(self._changed)

    def _changed(self, kind: str, key: str, old: tuple[int, int] | None, new: tuple[int, int] | None) -> None:
        if new is not None and new[0] != new[1]:
            self.queue.add(key)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._policies.run(), name="policies")
            await self.queue.run(self._reconcile, self.workers)

    async def reconcile(self, key: str) -> float | None:
        """Write the status of one policy."""
        policy = await self.client.get(POLICIES, key)
        generation, seen = _seen(policy)
        if generation != seen:
            status = {**(policy.get("status") or {}), "observedGeneration": generation, "typeChecking": {}}
            await self.client.update(POLICIES, {**policy, "status": status}, subresource="status")
        return None
