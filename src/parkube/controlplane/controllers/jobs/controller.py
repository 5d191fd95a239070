"""The Job controller: counts pods that ended, once each, makes those still needed, and ends the job."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.jobs import indexes
from parkube.controlplane.controllers.jobs.plan import (
    FINALIZER,
    Change,
    End,
    Tally,
    change,
    ending,
    indexed,
    is_over,
    pause_s,
    tally,
)
from parkube.controlplane.controllers.jobs.pods import pod_of
from parkube.controlplane.controllers.pods import PodControl, claim, selects
from parkube.controlplane.controllers.runner import Env, Expectations, Reconciler, in_flight, slow_start
from parkube.controlplane.controllers.views import JobInfo
from parkube.kubeapi.client import GVR, JOBS, PODS
from parkube.kubeapi.compact import PodInfo, epoch
from parkube.kubeapi.errors import NotFound, Obj
from parkube.kubeapi.objects import copy, rfc3339, set_condition, split_key
from parkube.kubeapi.recorder import Reference
from parkube.kubeapi.selectors import LabelSelector

MANAGER = "kubernetes.io/job-controller"


class JobController(Reconciler):
    """Runs every Job that no other controller manages."""

    name: ClassVar[str] = "job"
    inputs: ClassVar[tuple[GVR, ...]] = (JOBS, PODS)
    outputs: ClassVar[tuple[GVR, ...]] = (PODS, JOBS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._expected = Expectations()
        self._pods = PodControl(env, self._expected, self.recorder)
        self._failed_at: dict[str, float] = {}  # job's uid -> when a pod of it was last seen to have failed
        env.views.jobs.subscribe(self._job_changed)
        env.views.pods.subscribe(self._pod_changed)

    def _job_changed(self, kind: str, key: str, old: JobInfo | None, new: JobInfo | None) -> None:
        if new is not None:
            self.queue.add(key)
        elif old is not None:
            self._expected.forget(old.uid)
            self._failed_at.pop(old.uid, None)
            self.queue.add(key)  # its pods keep their finalizers until they are let go

    def _pod_changed(self, kind: str, key: str, old: PodInfo | None, new: PodInfo | None) -> None:
        for pod in (old, new):
            owner = pod.controller if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "Job":
                self._pods.heard(owner.uid, key, new)
                self.queue.add_after(f"{pod.namespace}/{owner.name}", 0.02)
        if new is not None and new.controller is None:
            if FINALIZER in new.finalizers:
                self.queue.add(f"{new.namespace}/orphan/{new.name}")
            for name, info in self.views.jobs.items():
                if not new.deleting and split_key(name)[0] == new.namespace and selects(info.selector, new.labels):
                    self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        """One step for one Job."""
        namespace, name = split_key(key)
        if namespace.endswith("/orphan"):
            orphan = self.views.pods.get(f"{namespace.removesuffix('/orphan')}/{name}")
            await self._let_go([orphan] if orphan is not None else [])
            return None
        try:
            job = {**await self.client.get(JOBS, name, namespace), "apiVersion": "batch/v1", "kind": "Job"}
        except NotFound:
            await self._let_go(self._left_by(namespace, name))
            return None
        m, uid = job["metadata"], job["metadata"]["uid"]
        if job["spec"].get("managedBy", MANAGER) != MANAGER:
            return None
        if m.get("deletionTimestamp") or is_over(job.get("status") or {}):
            await self._let_go(self.views.index.of_owner(uid))
            return None if m.get("deletionTimestamp") else await self._expire(job)
        if self._expected.pending(uid):
            return 1.0
        pods = await claim(self.env, job, LabelSelector.from_object(job["spec"].get("selector")))
        return await self._step(job, pods)

    def _left_by(self, namespace: str, name: str) -> list[PodInfo]:
        pods = self.views.index.in_namespace(namespace)
        owners = ((pod, pod.controller) for pod in pods if FINALIZER in pod.finalizers)
        return [pod for pod, owner in owners if owner is not None and owner.kind == "Job" and owner.name == name]

    async def _expire(self, job: Obj) -> float | None:
        """`ttlSecondsAfterFinished`: the job goes, and takes its pods along."""
        keep = job["spec"].get("ttlSecondsAfterFinished")
        if keep is None:
            return None
        ends = [c for c in job["status"]["conditions"] if c.get("type") in ("Complete", "Failed")]
        left = max(epoch(c.get("lastTransitionTime")) for c in ends) + int(keep) - self.clock()
        if left > 0:
            return left
        m = job["metadata"]
        options = {"preconditions": {"uid": m["uid"]}, "propagationPolicy": "Foreground"}
        await self.client.delete(JOBS, m["name"], m["namespace"], options=options)
        return None

    async def _step(self, job: Obj, pods: list[PodInfo]) -> float | None:
        spec, now, uid = job["spec"], self.clock(), job["metadata"]["uid"]
        count = tally(job, pods, await self._details(job, pods))
        if count.fresh_failed:
            self._failed_at[uid] = now
        count.last_failure = self._failed_at.get(uid, 0.0)
        status: Obj = copy(job.get("status") or {})
        if not spec.get("suspend"):
            status.setdefault("startTime", rfc3339(now))
        job = await self._count(job, status, pods, count)
        end = ending(job, pods, count, now, epoch(status.get("startTime")))
        step = Change([], [pod for pod in pods if pod.active]) if end is not None else change(spec, pods, count)
        wait = pause_s(count, now) if step.create else 0.0
        error = await self._carry_out(job, step, count, end, wait)
        await self._report(job, end, now)
        if error is not None:
            raise error
        return self._next_look(job, wait, now)

    def _next_look(self, job: Obj, wait: float, now: float) -> float | None:
        deadline, started = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
        looks = [wait] if wait else []
        if deadline is not None and started:
            looks.append(max(0.1, epoch(started) + int(deadline) - now))
        return min(looks) if looks else None

    async def _details(self, job: Obj, pods: Iterable[PodInfo]) -> dict[str, Obj]:
        """Whole pods of those that failed, where a policy or a limit per index looks at more than their phase."""
        spec = job["spec"]
        if not spec.get("podFailurePolicy") and spec.get("backoffLimitPerIndex") is None:
            return {}
        wanted = [pod for pod in pods if FINALIZER in pod.finalizers and (pod.phase == "Failed" or pod.deleting)]
        found = await in_flight([partial(self.client.get, PODS, pod.name, pod.namespace) for pod in wanted])
        return {pod["metadata"]["uid"]: pod for pod in found if not isinstance(pod, Exception)}

    async def _count(self, job: Obj, status: Obj, pods: list[PodInfo], count: Tally) -> Obj:
        """Write down who ended, take their finalizers off, then move them into the counters."""
        spec = job["spec"]
        if indexed(spec):
            status["completedIndexes"] = indexes.written(count.done)
            if spec.get("backoffLimitPerIndex") is not None:
                status["failedIndexes"] = indexes.written(count.lost)
            if not status["completedIndexes"]:
                del status["completedIndexes"]
        waiting = status.get("uncountedTerminatedPods") or {}
        waiting = {
            "succeeded": [*(waiting.get("succeeded") or ()), *count.fresh_succeeded],
            "failed": [*(waiting.get("failed") or ()), *count.fresh_failed],
        }
        told = {*waiting["succeeded"], *waiting["failed"], *count.ignored}
        if count.fresh_succeeded or count.fresh_failed:
            status["uncountedTerminatedPods"] = {key: value for key, value in waiting.items() if value}
            if count.fatal:
                now = rfc3339(self.clock())
                conditions = status.setdefault("conditions", [])
                set_condition(conditions, "FailureTarget", "True", "PodFailurePolicy", count.fatal, now)
            job = await self.client.update(JOBS, {**job, "status": status}, subresource="status")
            job |= {"apiVersion": "batch/v1", "kind": "Job"}
            status = copy(job["status"])
        if told:
            await self._let_go([pod for pod in pods if pod.uid in told])
        status["uncountedTerminatedPods"] = {}
        for key, number in (("succeeded", count.succeeded), ("failed", count.failed)):
            if number:
                status[key] = number
        return {**job, "status": status, "before": job.get("status") or {}}

    async def _let_go(self, pods: Iterable[PodInfo]) -> None:
        """Take the tracking finalizer off."""
        held = [pod for pod in pods if FINALIZER in pod.finalizers]
        answers = await in_flight([partial(self._untrack, pod) for pod in held])
        error = next((a for a in answers if isinstance(a, Exception)), None)
        if error is not None:
            raise error

    async def _untrack(self, pod: PodInfo) -> None:
        kept = [finalizer for finalizer in pod.finalizers if finalizer != FINALIZER]
        try:
            change_ = {"metadata": {"uid": pod.uid, "finalizers": kept or None}}
            await self.client.patch(PODS, pod.name, change_, pod.namespace)
        except NotFound:
            return

    async def _carry_out(self, job: Obj, step: Change, count: Tally, end: End | None, wait: float) -> Exception | None:
        failing = end is not None and end.kind == "FailureTarget"

        async def drop(pod: PodInfo) -> None:
            if not failing:
                await self._untrack(pod)  # not needed any more, which is no failure
            await self._pods.delete(job, pod)

        answers: list[Obj | Exception | None] = [*await in_flight([partial(drop, pod) for pod in step.delete])]
        if step.create and not wait:
            template = job["spec"]["template"]

            async def make(index: int) -> Obj:
                return await self._pods.create(job, template, pod_of(job, index, count.failures.get(index, 0)))

            answers += await slow_start([partial(make, index) for index in step.create])
        return next((a for a in answers if isinstance(a, Exception)), None)

    async def _report(self, job: Obj, end: End | None, now: float) -> None:
        """The status: who runs, and how the job ends."""
        before, status, uid = job.pop("before"), job["status"], job["metadata"]["uid"]
        pods = self.views.index.of_owner(uid)
        active = [pod for pod in pods if pod.active]
        leaving = [pod for pod in pods if pod.deleting and not pod.finished]
        numbers = (("active", len(active)), ("ready", sum(p.ready for p in active)), ("terminating", len(leaving)))
        for key, number in numbers:
            status[key] = number
        if not status["active"]:
            del status["active"]
        at, conditions = rfc3339(now), status.setdefault("conditions", [])
        if end is None:
            self._suspend(job, conditions, at)
        else:
            set_condition(conditions, end.kind, "True", end.reason, end.message, at)
            if not active and not leaving and not self._expected.pending(uid):
                self._finish(job, end, conditions, at)
        if not conditions:
            del status["conditions"]
        if status != before:
            await self.client.update(JOBS, job, subresource="status")

    def _finish(self, job: Obj, end: End, conditions: list[Obj], at: str) -> None:
        about = Reference.of(job)
        if end.kind == "FailureTarget":
            set_condition(conditions, "Failed", "True", end.reason, end.message, at)
            self.recorder.warning(about, end.reason, end.message)
        else:
            set_condition(conditions, "Complete", "True", end.reason, end.message, at)
            job["status"]["completionTime"] = at
            self.recorder.normal(about, "Completed", "Job completed")

    def _suspend(self, job: Obj, conditions: list[Obj], at: str) -> None:
        about, suspended = Reference.of(job), any(c.get("type") == "Suspended" for c in conditions)
        if job["spec"].get("suspend"):
            job["status"].pop("startTime", None)
            if set_condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended", at):
                self.recorder.normal(about, "Suspended", "Job suspended")
        elif suspended and set_condition(conditions, "Suspended", "False", "JobResumed", "Job resumed", at):
            job["status"]["startTime"] = at
            self.recorder.normal(about, "Resumed", "Job resumed")
