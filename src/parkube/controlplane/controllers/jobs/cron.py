"""Which start of a CronJob is due, and which old jobs are forgotten. Pure; the clock comes in.

Source: API reference, CronJobSpec; Kubernetes documentation, "CronJob limitations" (100 missed starts).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from parkube.kubeapi.compact import epoch
from parkube.kubeapi.cron import CronSchedule
from parkube.kubeapi.errors import Obj

_MANY = 100


class Due(NamedTuple):
    """The latest start that has come (s since 1970; 0: none), when the next comes, and how many were missed."""

    start: float
    next: float
    missed: int


def due(cronjob: Obj, now: float) -> Due:
    """Look from the last start, or from when the object was made; not further back than its deadline."""
    spec, status = cronjob["spec"], cronjob.get("status") or {}
    zone = ZoneInfo(spec.get("timeZone") or "UTC")
    since = epoch(status.get("lastScheduleTime")) or epoch(cronjob["metadata"].get("creationTimestamp"))
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - float(deadline))
    schedule = CronSchedule.parse(spec["schedule"])
    last, missed = 0.0, 0
    for moment in schedule.after(datetime.fromtimestamp(since, UTC), zone):
        at = moment.timestamp()
        if at > now:
            return Due(last, at, missed)
        last, missed = at, missed + 1
        if missed > _MANY:
            break
    else:
        return Due(last, 0.0, missed)
    recent = _latest(schedule, zone, now) or last
    following = next(islice(schedule.after(datetime.fromtimestamp(now, UTC), zone), 1), None)
    return Due(recent, following.timestamp() if following else 0.0, missed)


def _latest(schedule: CronSchedule, zone: ZoneInfo, now: float) -> float:
    """The last start before now, where there were too many to count from the beginning."""
    for back_s in (120, 3600, 86400, 86400 * 32):
        last = 0.0
        for moment in schedule.after(datetime.fromtimestamp(now - back_s, UTC), zone):
            if moment.timestamp() > now:
                break
            last = moment.timestamp()
        if last:
            return last
    return 0.0


def job_name(cronjob: Obj, start: float) -> str:
    """Of the job of one start: the same whoever makes it, so that none is made twice."""
    return f"{cronjob['metadata']['name']}-{int(start) // 60}"


def forgotten(cronjob: Obj, jobs: Sequence[Obj]) -> list[Obj]:
    """Finished jobs beyond the history limits, oldest first."""
    spec, out = cronjob["spec"], []
    limits = {"Complete": "successfulJobsHistoryLimit", "Failed": "failedJobsHistoryLimit"}
    for kind, key in limits.items():
        limit = spec.get(key)
        if limit is None:
            continue
        ended = [job for job in jobs if ended_as(job) == kind]
        ended.sort(key=lambda job: (epoch((job.get("status") or {}).get("startTime")), job["metadata"]["name"]))
        out += ended[: max(0, len(ended) - int(limit))]
    return out


def ended_as(job: Obj) -> str:
    """`Complete`, `Failed`, or empty while it runs."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            return str(condition["type"])
    return ""
