"""The DaemonSet controller: carries out `plan`, many pods in flight, its status at most about once a second."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, NamedTuple

from parkube.controlplane.controllers.daemonsets.plan import Fit, Plan, pinned_spec, plan, status, wanted
from parkube.controlplane.controllers.history import History, hash_labels
from parkube.controlplane.controllers.pods import PodControl, claim, pod_from, selects
from parkube.controlplane.controllers.runner import Env, Expectations, Reconciler, in_flight, loop_time, slow_start
from parkube.controlplane.controllers.views import CONTROLLERREVISIONS, Trace
from parkube.kubeapi.client import DAEMONSETS, GVR, NODES, PODS
from parkube.kubeapi.compact import NodeInfo, PodInfo
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import split_key
from parkube.kubeapi.recorder import Reference
from parkube.kubeapi.selectors import LabelSelector


class _Known(NamedTuple):
    """What was worked out for one version of a DaemonSet."""

    generation: int
    notes: int
    hash: str
    fit: Fit


class DaemonSetController(Reconciler):
    """Keeps one pod of every DaemonSet on each node that fits."""

    name: ClassVar[str] = "daemonset"
    inputs: ClassVar[tuple[GVR, ...]] = (DAEMONSETS, PODS, NODES)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS, DAEMONSETS, CONTROLLERREVISIONS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._expected = Expectations()
        self._pods = PodControl(env, self._expected, self.recorder)
        self._history = History(env.client)
        self._known: dict[str, _Known] = {}
        self._failures: dict[str, tuple[float, float]] = {}  # "uid/node" -> (back-off in s, not before)
        env.views.daemonsets.subscribe(self._set_changed)
        env.views.pods.subscribe(self._pod_changed)
        env.views.nodes.subscribe(self._node_changed)

    def _set_changed(self, kind: str, key: str, old: Trace | None, new: Trace | None) -> None:
        if new is not None:
            self.queue.add(key)
        elif old is not None:
            self._expected.forget(old.uid)
            self._known.pop(old.uid, None)
            self._failures = {k: v for k, v in self._failures.items() if not k.startswith(old.uid)}

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        pod = new or old
        if pod is None:
            return
        for owner in {o for o in (old and old.controller, new and new.controller) if o is not None}:
            if owner.kind == "DaemonSet":
                self._pods.heard(owner.uid, key, new)
                self.queue.add_after(f"{pod.namespace}/{owner.name}", self._patience(owner.uid))
        if new is not None and not new.deleting and new.controller is None:  # whoever selects it may take it in
            for daemonset, trace in self.views.daemonsets.items():
                if split_key(daemonset)[0] == new.namespace and selects(trace.selector, new.labels):
                    self.queue.add(daemonset)

    def _patience(self, uid: str) -> float:
        """How long to gather events before the next look: up to 1 s for a thousand pods."""
        return min(1.0, 0.02 + len(self.views.index.of_owner_keys(uid)) / 1000)

    def _node_changed(self, kind: str, key: str, old: NodeInfo | None, new: NodeInfo | None) -> None:
        if old is not None and new is not None and (old.labels, old.taints) == (new.labels, new.taints):
            return
        for daemonset, trace in self.views.daemonsets.items():
            self.queue.add_after(daemonset, self._patience(trace.uid))

    async def reconcile(self, key: str) -> float | None:
        """One step for one DaemonSet."""
        namespace, name = split_key(key)
        daemonset = {**await self.client.get(DAEMONSETS, name, namespace), "apiVersion": "apps/v1", "kind": "DaemonSet"}
        m = daemonset["metadata"]
        uid = m["uid"]
        if m.get("deletionTimestamp"):
            return None
        if self._expected.pending(uid):
            return 1.0
        known = await self._version(key, daemonset)
        pods = await claim(self.env, daemonset, LabelSelector.from_object(daemonset["spec"].get("selector")))
        nodes = [node for _, node in self.views.nodes.items() if not node.deleting]
        known.fit.forget({node.name for node in nodes})
        step = plan(wanted(daemonset, known.hash), nodes, pods, known.fit, self.clock())
        error = await self._carry_out(daemonset, known.hash, step)
        new = status(daemonset, step)
        if new != (daemonset.get("status") or {}):
            await self.client.update(DAEMONSETS, {**daemonset, "status": new}, subresource="status")
            if step.counts["updated"] == step.counts["desired"]:
                await self._history.clean_up(daemonset, {p.labels.get("controller-revision-hash", "") for p in pods})
        if error is not None:
            raise error
        return step.soon

    async def _version(self, key: str, daemonset: Obj) -> _Known:
        m, trace = daemonset["metadata"], self.views.daemonsets.get(key)
        known, notes = self._known.get(m["uid"]), trace.notes if trace else 0
        generation = int(m.get("generation", 0))
        if known is None or (known.generation, known.notes) != (generation, notes):
            current = await self._history.current(daemonset)
            fit = Fit(daemonset["spec"]["template"].get("spec") or {})
            known = self._known[m["uid"]] = _Known(generation, notes, current, fit)
        return known

    async def _carry_out(self, daemonset: Obj, revision_hash: str, step: Plan) -> Exception | None:
        drops = step.delete + self._due(daemonset, step.failed)
        answers = await in_flight([partial(self._pods.delete, daemonset, pod) for pod in drops])
        template = daemonset["spec"]["template"]
        labels = dict(hash_labels(template, revision_hash))

        async def make(node: str) -> Obj:
            pod = pod_from(daemonset, {"metadata": {**(template.get("metadata") or {}), "labels": labels}})
            pod["spec"] = pinned_spec(template.get("spec") or {}, node)
            return await self._pods.create(daemonset, template, pod)

        made = await slow_start([partial(make, node) for node in step.create])
        return next((a for a in [*answers, *made] if isinstance(a, Exception)), None)

    def _due(self, daemonset: Obj, failed: list[PodInfo]) -> list[PodInfo]:
        """The failed pods whose back-off (1 s doubling to 15 min a node) has passed."""
        due, now = [], loop_time()
        m = daemonset["metadata"]
        for pod in failed:
            slot = f"{m['uid']}/{pod.node}"
            pause, until = self._failures.get(slot, (0.5, 0.0))
            if now < until:
                self.queue.add_after(f"{m['namespace']}/{m['name']}", until - now)
                continue
            pause = min(900.0, pause * 2)
            self._failures[slot] = (pause, now + pause)
            text = f"Found failed daemon pod {pod.key} on node {pod.node}, will try to kill it"
            self.recorder.warning(Reference.of(daemonset), "FailedDaemonPod", text)
            due.append(pod)
        return due
