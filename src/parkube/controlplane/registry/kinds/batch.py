"""Job and CronJob: rows, defaults and rules. A job's pods carry its uid, so that no other job counts them."""

from __future__ import annotations

from typing import Any

from parkube.controlplane.registry.columns import batch as columns
from parkube.controlplane.registry.kinds import checks, faults, podspec
from parkube.controlplane.registry.kinds.base import Defaults, KindStrategy, child, fill
from parkube.controlplane.registry.kinds.rows import label, row
from parkube.controlplane.registry.resource import Resource
from parkube.kubeapi.cron import CronSchedule, ScheduleError
from parkube.kubeapi.errors import Cause, Obj
from parkube.kubeapi.selectors import LabelSelector

UID_LABEL, NAME_LABEL = "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"
OLD_UID_LABEL, OLD_NAME_LABEL = "controller-uid", "job-name"
_MOST = 2**31 - 1
CRON: Defaults = {
    "concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1,
}  # fmt: skip


def default_job_spec(spec: Obj) -> None:
    """Defaults of a job's spec, in a Job or in a CronJob's template (API reference, JobSpec)."""
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    fill(spec, {"parallelism": 1, "completionMode": "NonIndexed", "suspend": False})
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = _MOST if spec.get("backoffLimitPerIndex") is not None else 6
    policy = spec.get("podFailurePolicy")
    if not spec.get("podReplacementPolicy"):
        spec["podReplacementPolicy"] = "Failed" if policy else "TerminatingOrFailed"
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            fill(pattern, {"status": "True"})
    podspec.default_template(spec.get("template"))


class JobStrategy(KindStrategy):
    """Its selector is made here, unless `manualSelector` says that the user brings one."""

    generation = True

    def default(self, obj: Obj) -> None:
        default_job_spec(child(obj, "spec"))

    def prepare_create(self, obj: Obj) -> None:
        super().prepare_create(obj)
        spec = child(obj, "spec")
        if spec.get("manualSelector"):
            return
        metadata = obj["metadata"]
        uid, name = metadata.get("uid") or "", metadata.get("name") or ""
        labels = child(child(child(spec, "template"), "metadata"), "labels")
        labels.update({OLD_NAME_LABEL: name, NAME_LABEL: name, OLD_UID_LABEL: uid, UID_LABEL: uid})
        if not spec.get("selector"):
            spec["selector"] = {"matchLabels": {UID_LABEL: uid}}

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource == "status":
            return _status_faults(obj.get("status") or {}, (old or {}).get("status") or {})
        spec = obj.get("spec") or {}
        if old is not None:
            return _update_faults(spec, old.get("spec") or {}, old.get("status") or {})
        found = job_faults(spec, "spec")
        selector, template = spec.get("selector"), spec.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not isinstance(selector, dict):
            found.append(faults.required("spec.selector"))
        elif broken := checks.label_selector(selector, "spec.selector"):
            found += broken
        elif not LabelSelector.from_object(selector).matches(labels):
            words = "`selector` does not match template `labels`"
            found.append(faults.invalid("spec.template.metadata.labels", labels, words))
        return found


def job_faults(spec: Obj, path: str) -> list[Cause]:
    """Faults of a job's spec."""
    found = checks.not_negative(
        spec, path, "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "backoffLimitPerIndex",
        "maxFailedIndexes", "ttlSecondsAfterFinished",
    )  # fmt: skip
    indexed = spec.get("completionMode") == "Indexed"
    found += checks.one_of(spec.get("completionMode"), f"{path}.completionMode", ("NonIndexed", "Indexed"))
    if indexed and spec.get("completions") is None:
        found.append(faults.required(f"{path}.completions", "when completion mode is Indexed"))
    for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(key) is not None and not indexed:
            found.append(faults.invalid(f"{path}.{key}", spec[key], "requires indexed completion mode"))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        found.append(faults.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if spec.get("successPolicy") is not None:
        found += _success_faults(spec, f"{path}.successPolicy", indexed)
    template = spec.get("template") or {}
    pod = template.get("spec") or {}
    found += checks.labels((template.get("metadata") or {}).get("labels"), f"{path}.template.metadata.labels")
    found += podspec.spec_faults(pod, f"{path}.template.spec")
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        value = pod.get("restartPolicy") or ""
        words = faults.unsupported(f"{path}.template.spec.restartPolicy", value, ("Never", "OnFailure"))
        found.append(words)
    elif spec.get("podFailurePolicy"):
        found += _failure_faults(spec, path, pod["restartPolicy"])
    return found


def _success_faults(spec: Obj, path: str, indexed: bool) -> list[Cause]:
    if not indexed:
        return [faults.invalid(path, spec["successPolicy"], "requires indexed completion mode")]
    rules = spec["successPolicy"].get("rules") or []
    found = [] if rules else [faults.required(f"{path}.rules", "at least one rules must be specified")]
    for at, rule in enumerate(rules):
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            words = "at least one of succeededCount or succeededIndexes must be specified"
            found.append(faults.required(f"{path}.rules[{at}]", words))
    return found


def _failure_faults(spec: Obj, path: str, restart: str) -> list[Cause]:
    found: list[Cause] = []
    if restart != "Never":
        words = 'only "Never" is supported when podFailurePolicy is specified'
        found.append(faults.invalid(f"{path}.template.spec.restartPolicy", restart, words))
    here = f"{path}.podFailurePolicy.rules"
    for at, rule in enumerate(spec["podFailurePolicy"].get("rules") or ()):
        actions = ("Count", "FailIndex", "FailJob", "Ignore")
        found += checks.one_of(rule.get("action"), f"{here}[{at}].action", actions)
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            words = "requires the backoffLimitPerIndex to be set"
            found.append(faults.invalid(f"{here}[{at}].action", "FailIndex", words))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if bool(codes) == bool(conditions):
            words = "specifying one of OnExitCodes and OnPodConditions is required"
            found.append(faults.invalid(f"{here}[{at}]", rule, words))
        if codes:
            operator = codes.get("operator")
            found += checks.one_of(operator, f"{here}[{at}].onExitCodes.operator", ("In", "NotIn"))
    return found


def _update_faults(spec: Obj, before: Obj, status: Obj) -> list[Cause]:
    found = checks.not_negative(
        spec, "spec", "parallelism", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"
    )
    fixed = ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    fixed += [] if elastic else ["completions"]
    found += [faults.immutable(f"spec.{key}", spec.get(key)) for key in fixed if spec.get(key) != before.get(key)]
    if spec.get("template") != before.get("template"):
        template: Any = spec.get("template") or {}
        started = status.get("startTime") is not None
        if not before.get("suspend") or started or _fixed_part(template) != _fixed_part(before.get("template") or {}):
            found.append(faults.immutable("spec.template", template))
    return found


def _fixed_part(template: Obj) -> Obj:
    """What of a suspended job's template may not change: all but where its pods may go, and what they ask for."""
    movable = ("nodeSelector", "affinity", "tolerations", "schedulingGates")
    spec = {k: v for k, v in (template.get("spec") or {}).items() if k not in movable}
    for key in ("containers", "initContainers"):
        if key in spec:
            spec[key] = [{k: v for k, v in c.items() if k != "resources"} for c in spec[key] or ()]
    return spec


def _status_faults(status: Obj, before: Obj) -> list[Cause]:
    found = checks.not_negative(status, "status", "active", "succeeded", "failed", "ready", "terminating")
    kinds = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    if {"Complete", "Failed"} <= kinds:
        conditions = status["conditions"]
        found.append(faults.invalid("status.conditions", conditions, "cannot set Complete=True and Failed=True"))
    if before.get("completionTime") and status.get("completionTime") != before["completionTime"]:
        found.append(faults.immutable("status.completionTime", status.get("completionTime")))
    return found


class CronJobStrategy(KindStrategy):
    """A job's template, and when to make one of it."""

    generation = True
    name_longest = 52
    spec_defaults = CRON

    def default(self, obj: Obj) -> None:
        super().default(obj)
        default_job_spec(child(child(obj["spec"], "jobTemplate"), "spec"))

    def validate(self, obj: Obj, old: Obj | None, subresource: str) -> list[Cause]:
        if subresource:
            return []
        spec = obj.get("spec") or {}
        found = job_faults((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")
        name = (obj.get("metadata") or {}).get("name") or ""
        if old is None and len(name) > self.name_longest:
            words = f"must be no more than {self.name_longest} characters"
            found.append(faults.invalid("metadata.name", name, words))
        schedule = spec.get("schedule") or ""
        found += schedule_faults(schedule, "spec.schedule") if schedule else [faults.required("spec.schedule")]
        if spec.get("timeZone") is not None and not known_zone(spec["timeZone"]):
            words = f"unknown time zone {spec['timeZone']}"
            found.append(faults.invalid("spec.timeZone", spec["timeZone"], words))
        keys = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
        found += checks.not_negative(spec, "spec", *keys)
        policies = ("Allow", "Forbid", "Replace")
        return found + checks.one_of(spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", policies)


def schedule_faults(schedule: str, path: str) -> list[Cause]:
    """Whether a cron line can be read."""
    if "TZ" in schedule:
        return [faults.invalid(path, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")]
    try:
        CronSchedule.parse(schedule)
    except ScheduleError as error:
        return [faults.invalid(path, schedule, str(error))]
    return []


def known_zone(name: str) -> bool:
    """Whether the time zone database knows it."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return name not in ("", "Local")


def rows() -> list[Resource]:
    """The rows of this module."""
    return [
        row(
            "batch", "v1", "jobs", "Job", JobStrategy(), categories=("all",), subresources=("status",),
            fields=(label("status.successful", "0"),), columns=columns.JOB,
        ),
        row(
            "batch", "v1", "cronjobs", "CronJob", CronJobStrategy(), short="cj", categories=("all",),
            subresources=("status",), columns=columns.CRON_JOB,
        ),
    ]  # fmt: skip
