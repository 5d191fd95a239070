"""Taint-based eviction: pods that do not bear a node's NoExecute taints are deleted once their toleration runs out.

(bears the taints for ever) --- nothing
(bears them for n s) --- waiting --n s after the taint--> deleted
                            |
                            +--taints gone, pod gone--> forgotten
"""

from __future__ import annotations

from typing import ClassVar

from parkube.controlplane.controllers.pods import note_disruption
from parkube.controlplane.controllers.runner import Env, Reconciler
from parkube.kubeapi.client import GVR, NODES, PODS
from parkube.kubeapi.compact import NodeInfo, PodInfo, epoch
from parkube.kubeapi.disruption import BY_TAINT, disruption_target
from parkube.kubeapi.errors import NotFound
from parkube.kubeapi.objects import rfc3339
from parkube.kubeapi.placement import NO_EXECUTE, Taint, seconds_until_eviction
from parkube.kubeapi.recorder import Reference


def due(pod: PodInfo, taints: tuple[Taint, ...], now: float) -> float | None:
    """Seconds until this pod is to be deleted (0: now); None: it may stay."""
    bites = [t for t in taints if t.effect == NO_EXECUTE]
    if not bites or pod.deleting:
        return None
    left = seconds_until_eviction(bites, pod.shape.tolerations)
    if left is None:
        return None
    since = max([epoch(t.added) or now for t in bites] + [pod.created])
    return max(0.0, since + left - now) if left else 0.0


class TaintEviction(Reconciler):
    """Deletes pods from nodes whose NoExecute taints they do not bear."""

    name: ClassVar[str] = "taint-eviction"
    inputs: ClassVar[tuple[GVR, ...]] = (NODES, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS,)
    source: ClassVar[str] = "taint-eviction-controller"

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        env.views.nodes.subscribe(self._node_changed)
        env.views.pods.subscribe(self._pod_changed)

    def _bites(self, node: NodeInfo | None) -> bool:
        return node is not None and any(t.effect == NO_EXECUTE for t in node.taints)

    def _node_changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if self._bites(new) and (old is None or new is None or old.taints != new.taints):
            for pod in self.views.index.on_node(key):
                self.queue.add(pod.key)

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        if new is None or not new.node or (old is not None and old.node == new.node and old.shape is new.shape):
            return
        if self._bites(self.views.nodes.get(new.node)):
            self.queue.add(key)

    async def reconcile(self, key: str) -> float | None:
        """Delete the pod, or come back when it is due."""
        pod = self.views.pods.get(key)
        node = self.views.nodes.get(pod.node) if pod else None
        if pod is None or node is None:
            return None
        left = due(pod, node.taints, self.clock())
        if left is None:
            return None
        if left > 0:
            return left
        about = Reference("v1", "Pod", pod.namespace, pod.name, pod.uid)
        self.recorder.normal(about, "TaintManagerEviction", f"Marking for deletion Pod {pod.key}")
        message = "Taint manager: deleting due to NoExecute taint"
        try:
            condition = disruption_target(BY_TAINT, message, rfc3339(self.clock()))
            await note_disruption(self.client, pod, condition)
            await self.client.delete(PODS, pod.name, pod.namespace, options={"preconditions": {"uid": pod.uid}})
        except NotFound:
            return None
        return None
