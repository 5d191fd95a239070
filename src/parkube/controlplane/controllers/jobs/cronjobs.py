"""The CronJob controller: makes the job of a start that is due, and tells which of its jobs run."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from parkube.controlplane.controllers.jobs.cron import due, ended_as, forgotten, job_name
from parkube.controlplane.controllers.runner import Env, Reconciler, in_flight
from parkube.controlplane.controllers.views import JobInfo, Trace
from parkube.kubeapi.client import CRONJOBS, GVR, JOBS
from parkube.kubeapi.errors import AlreadyExists, ApiError, NotFound, Obj
from parkube.kubeapi.objects import copy, owner_reference, rfc3339, split_key
from parkube.kubeapi.recorder import Reference

_TIME = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController(Reconciler):
    """Starts the jobs of every CronJob."""

    name: ClassVar[str] = "cronjob"
    inputs: ClassVar[tuple[GVR, ...]] = (CRONJOBS, JOBS)
    outputs: ClassVar[tuple[GVR, ...]] = (JOBS, CRONJOBS)

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        env.views.cronjobs.subscribe(self._changed)
        env.views.jobs.subscribe(self._job_changed)

    def _changed(self, kind: str, key: str, old: Trace | None, new: Trace | None) -> None:
        if new is not None and new != old:
            self.queue.add(key)

    def _job_changed(self, kind: str, key: str, old: JobInfo | None, new: JobInfo | None) -> None:
        for job in (old, new):
            for owner in job.owners if job is not None else ():
                if owner.controller and owner.kind == "CronJob":
                    self.queue.add(f"{split_key(key)[0]}/{owner.name}")

    async def reconcile(self, key: str) -> float | None:
        """Start what is due, forget what is old, write the status."""
        namespace, name = split_key(key)
        cronjob = {**await self.client.get(CRONJOBS, name, namespace), "apiVersion": "batch/v1", "kind": "CronJob"}
        if cronjob["metadata"].get("deletionTimestamp"):
            return None
        jobs = await self._jobs(namespace, cronjob["metadata"]["uid"])
        dropped = forgotten(cronjob, jobs)
        await in_flight([partial(self._delete, cronjob, job) for job in dropped])
        gone = {job["metadata"]["uid"] for job in dropped}
        jobs = [job for job in jobs if job["metadata"]["uid"] not in gone]
        status: Obj = copy(cronjob.get("status") or {})
        self._tell_ended(cronjob, jobs, status)
        active = [job for job in jobs if not ended_as(job)]
        status["active"] = [_reference(job) for job in active]
        wait = await self._start(cronjob, active, status)
        if not status["active"]:
            del status["active"]
        if status != (cronjob.get("status") or {}):
            await self.client.update(CRONJOBS, {**cronjob, "status": status}, subresource="status")
        return wait

    async def _jobs(self, namespace: str, uid: str) -> list[Obj]:
        keys = [
            key
            for key, info in self.views.jobs.items()
            if any(owner.controller and owner.uid == uid for owner in info.owners)
        ]
        found = await in_flight([partial(self.client.get, JOBS, split_key(key)[1], namespace) for key in keys])
        return [job for job in found if not isinstance(job, Exception)]

    def _tell_ended(self, cronjob: Obj, jobs: list[Obj], status: Obj) -> None:
        before = {reference.get("uid") for reference in status.get("active") or ()}
        for job in jobs:
            m, how = job["metadata"], ended_as(job)
            if how and m["uid"] in before:
                text = f"Saw completed job: {m['name']}, condition: {how}"
                self.recorder.normal(Reference.of(cronjob), "SawCompletedJob", text)
            ended = (job.get("status") or {}).get("completionTime")
            if how == "Complete" and ended and ended > (status.get("lastSuccessfulTime") or ""):
                status["lastSuccessfulTime"] = ended

    async def _start(self, cronjob: Obj, active: list[Obj], status: Obj) -> float | None:
        spec, now, about = cronjob["spec"], self.clock(), Reference.of(cronjob)
        if spec.get("suspend"):
            return None
        look = due(cronjob, now)
        wait = max(0.1, look.next - now) if look.next else None
        if look.missed > 100:
            self.recorder.warning(about, "TooManyMissedTimes", f"too many missed start times: {look.missed}")
        if not look.start:
            return wait
        if active and spec.get("concurrencyPolicy") == "Forbid":
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.recorder.normal(about, "JobAlreadyActive", text)
            return wait
        if active and spec.get("concurrencyPolicy") == "Replace":
            await in_flight([partial(self._delete, cronjob, job) for job in active])
            status["active"] = []
        try:
            made = await self.client.create(JOBS, _job(cronjob, look.start), cronjob["metadata"]["namespace"])
        except AlreadyExists:
            made = {}
        except ApiError as error:
            self.recorder.warning(about, "FailedCreate", f"Error creating job: {error.message}")
            raise
        if made:
            self.recorder.normal(about, "SuccessfulCreate", f"Created job {made['metadata']['name']}")
            status["active"] = [*status["active"], _reference(made)]
        status["lastScheduleTime"] = rfc3339(look.start)
        return wait

    async def _delete(self, cronjob: Obj, job: Obj) -> None:
        m = job["metadata"]
        options = {"preconditions": {"uid": m["uid"]}, "propagationPolicy": "Background"}
        try:
            await self.client.delete(JOBS, m["name"], m["namespace"], options=options)
        except NotFound:
            return
        self.recorder.normal(Reference.of(cronjob), "SuccessfulDelete", f"Deleted job {m['name']}")


def _job(cronjob: Obj, start: float) -> Obj:
    template = copy(cronjob["spec"]["jobTemplate"])
    given = template.get("metadata") or {}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "spec": template.get("spec") or {},
        "metadata": {
            "name": job_name(cronjob, start), "namespace": cronjob["metadata"]["namespace"],
            "labels": given.get("labels") or {},
            "annotations": {**(given.get("annotations") or {}), _TIME: rfc3339(start)},
            "ownerReferences": [owner_reference(cronjob)],
        },
    }  # fmt: skip


def _reference(job: Obj) -> Obj:
    m = job["metadata"]
    return {
        "apiVersion": "batch/v1", "kind": "Job", "name": m["name"], "namespace": m["namespace"], "uid": m["uid"],
        "resourceVersion": m.get("resourceVersion", ""),
    }  # fmt: skip
