"""`kubectl get` of Jobs and CronJobs."""

from __future__ import annotations

from parkube.controlplane.registry.columns.apps import of_template
from parkube.controlplane.registry.columns.cells import (
    AGE,
    NAME,
    at,
    column,
    count,
    human_duration,
    seconds_of,
    selector_text,
    since,
)
from parkube.controlplane.registry.resource import Column
from parkube.kubeapi.errors import Obj


def _state(obj: Obj) -> str:
    status = obj.get("status") or {}
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if any(c.get("type") == kind and c.get("status") == "True" for c in status.get("conditions") or ()):
            return word
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    for kind, word in (("FailureTarget", "FailureTarget"), ("SuccessCriteriaMet", "SuccessCriteriaMet")):
        if any(c.get("type") == kind and c.get("status") == "True" for c in status.get("conditions") or ()):
            return word
    return "Running"


def _completions(obj: Obj) -> str:
    spec, done = obj.get("spec") or {}, (obj.get("status") or {}).get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallel = spec.get("parallelism") or 0
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _duration(obj: Obj) -> str:
    status = obj.get("status") or {}
    start, end = seconds_of(status.get("startTime")), seconds_of(status.get("completionTime"))
    if start is None:
        return ""
    return human_duration(end - start) if end is not None else since(status["startTime"])


def _last(obj: Obj) -> str:
    last = (obj.get("status") or {}).get("lastScheduleTime")
    return since(last) if last else "<none>"


JOB: tuple[Column, ...] = (
    NAME,
    column("Status", _state),
    column("Completions", _completions),
    column("Duration", _duration),
    AGE,
    *of_template("spec", "template", wide=True),
    column("Selector", lambda obj: selector_text((obj.get("spec") or {}).get("selector")), wide=True),
)
CRON_JOB: tuple[Column, ...] = (
    NAME,
    column("Schedule", at("spec", "schedule")),
    column("Timezone", at("spec", "timeZone", default="<none>")),
    column("Suspend", lambda obj: str(bool((obj.get("spec") or {}).get("suspend"))), "boolean"),
    column("Active", count("status", "active"), "integer"),
    column("Last Schedule", _last),
    AGE,
    *of_template("spec", "jobTemplate", "spec", "template", wide=True),
)
