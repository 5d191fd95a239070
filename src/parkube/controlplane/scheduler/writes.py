"""What the scheduler writes: bindings, conditions, nominations, and the end of pods that make room. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from parkube.controlplane.scheduler.preemption import Victims
from parkube.kubeapi.client import PODS, Client, PatchType
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.disruption import BY_SCHEDULER, disruption_target
from parkube.kubeapi.errors import ApiError, NotFound, Obj
from parkube.kubeapi.objects import rfc3339
from parkube.kubeapi.recorder import Recorder, Reference

log = logging.getLogger(__name__)
_PLACED = "PodScheduled"


def about(pod: PodInfo) -> Reference:
    """What events about a pod refer to."""
    return Reference("v1", "Pod", pod.namespace, pod.name, pod.uid)


class Writes:
    """`clock` is wall time, s since 1970."""

    def __init__(self, client: Client, recorder: Recorder, clock: Callable[[], float]) -> None:
        self._client, self._recorder, self._clock = client, recorder, clock

    async def bind(self, pod: PodInfo, node: str) -> None:
        """Give the pod to a node. Raises ApiError, OSError."""
        binding: Obj = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }  # fmt: skip
        await self._client.create(PODS, binding, pod.namespace, name=pod.name, subresource="binding")

    async def note_pending(self, pod: PodInfo, why: str) -> None:
        """Keep in its condition PodScheduled why a pod stays pending; where that fails it is said again some time."""
        try:
            obj = await self._client.get(PODS, pod.name, pod.namespace)
            conditions = (obj.get("status") or {}).get("conditions") or ()
            old: Obj = next((c for c in conditions if c.get("type") == _PLACED), {})
            now = rfc3339(self._clock())
            since = old.get("lastTransitionTime") if old.get("status") == "False" else now
            await self._status(pod, {"conditions": [{
                "type": _PLACED, "status": "False", "reason": "Unschedulable", "message": why, "lastProbeTime": None,
                "lastTransitionTime": since,
            }]})  # fmt: skip
        except (ApiError, OSError) as error:
            log.debug("cannot note on pod %s why it is pending: %s", pod.key, error)

    async def nominate(self, pod: PodInfo, node: str) -> None:
        """Keep in its status which node is being cleared for a pod; "" for none."""
        try:
            await self._status(pod, {"nominatedNodeName": node or None})
        except (ApiError, OSError) as error:
            log.debug("cannot note on pod %s that it waits for node %s: %s", pod.key, node, error)

    async def send_away(self, victims: Victims, pod: PodInfo) -> bool:
        """Say on each victim why it must go, and delete it with its grace; whether all are on their way."""
        going = [self._delete(v, victims.node, pod) for v in victims.pods if not v.deleting]
        return all(await asyncio.gather(*going))

    async def _delete(self, victim: PodInfo, node: str, pod: PodInfo) -> bool:
        message = f"{pod.shape.scheduler}: preempting to accommodate a higher priority pod"
        condition = disruption_target(BY_SCHEDULER, message, rfc3339(self._clock()))
        try:
            await self._status(victim, {"conditions": [condition]})
            options = {"preconditions": {"uid": victim.uid}}
            await self._client.delete(PODS, victim.name, victim.namespace, options=options)
        except NotFound:
            return True
        except (ApiError, OSError) as error:
            log.warning("cannot delete pod %s to make room: %s", victim.key, error)
            return False
        self._recorder.normal(about(victim), "Preempted", f"Preempted by pod {pod.uid} on node {node}")
        return True

    async def _status(self, pod: PodInfo, status: Obj) -> None:
        patch = {"metadata": {"uid": pod.uid}, "status": status}
        await self._client.patch(
            PODS, pod.name, patch, pod.namespace, kind=PatchType.STRATEGIC, subresource="status"
        )  # fmt: skip
