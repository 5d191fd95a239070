"""A Job's next step, from its spec, its status and its pods. Pure; reads no clock.

    running --all completions--> SuccessCriteriaMet --no pod left--> Complete
    running --back-off, deadline, policy--> FailureTarget --no pod left--> Failed
    running <--suspend--> Suspended

A finished pod is counted once: it goes into `uncountedTerminatedPods`, loses its finalizer, and only then into the
counters. Source: KEP-2307 (tracking with finalizers), API reference, Job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from parkube.controlplane.controllers.jobs import indexes, policy
from parkube.kubeapi.compact import PodInfo
from parkube.kubeapi.errors import Obj

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 600.0
_ENDS = ("Complete", "Failed")


class End(NamedTuple):
    """Why the job ends; `kind` is SuccessCriteriaMet or FailureTarget."""

    kind: str
    reason: str
    message: str


@dataclass(slots=True)
class Tally:
    """What of the job is done, all finished pods counted."""

    succeeded: int = 0
    failed: int = 0
    done: set[int] = field(default_factory=set)  # completed indexes
    lost: set[int] = field(default_factory=set)  # indexes that failed for good
    failures: dict[int, int] = field(default_factory=dict)  # failures of each index, of the pods still there
    fatal: str = ""  # why a pod failed the whole job
    fresh_succeeded: list[str] = field(default_factory=list)  # uids to be counted
    fresh_failed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # uids that a policy does not count
    last_failure: float = 0.0


def index_of(pod: PodInfo) -> int:
    """Its completion index; -1: none."""
    text = pod.labels.get(INDEX, "")
    return int(text) if text.isdigit() else -1


def indexed(spec: Obj) -> bool:
    """Whether each pod has an index."""
    return spec.get("completionMode") == "Indexed"


def failed_now(pod: PodInfo, spec: Obj) -> bool:
    """Whether the pod is lost: failed, or (unless only failed ones are replaced) on its way out."""
    if pod.phase == "Failed":
        return True
    return bool(pod.deleting) and pod.phase != "Succeeded" and spec.get("podReplacementPolicy") != "Failed"


def tally(job: Obj, pods: Iterable[PodInfo], details: Mapping[str, Obj]) -> Tally:
    """Count. `details`: whole pods by uid, of those that failed, where a policy asks for them."""
    spec, status = job["spec"], job.get("status") or {}
    total = int(spec.get("completions") or 0)
    uncounted = status.get("uncountedTerminatedPods") or {}
    known = {*(uncounted.get("succeeded") or ()), *(uncounted.get("failed") or ())}
    out = Tally(
        int(status.get("succeeded") or 0) + len(uncounted.get("succeeded") or ()),
        int(status.get("failed") or 0) + len(uncounted.get("failed") or ()),
        indexes.parse(status.get("completedIndexes") or "", total),
        indexes.parse(status.get("failedIndexes") or "", total),
    )  # fmt: skip
    for pod in pods:
        index, tracked = index_of(pod), FINALIZER in pod.finalizers
        if pod.phase == "Succeeded":
            if tracked and pod.uid not in known:
                new = not indexed(spec) or (0 <= index < total and index not in out.done)
                if indexed(spec) and 0 <= index < total:
                    out.done.add(index)
                out.succeeded += new
                out.fresh_succeeded.append(pod.uid)
        elif failed_now(pod, spec):
            _count_failure(job, pod, details.get(pod.uid), tracked and pod.uid not in known, out)
    return out


def _count_failure(job: Obj, pod: PodInfo, whole: Obj | None, fresh: bool, out: Tally) -> None:
    spec, index = job["spec"], index_of(pod)
    verdict = policy.failure(spec.get("podFailurePolicy"), whole) if whole is not None else policy.Verdict()
    if index >= 0 and verdict.action != "Ignore":
        out.failures[index] = out.failures.get(index, 0) + 1
    if not fresh:
        return
    if verdict.action == "Ignore":
        out.ignored.append(pod.uid)
        return
    out.fresh_failed.append(pod.uid)
    out.failed += 1
    if verdict.action == "FailJob":
        out.fatal = out.fatal or verdict.why
    limit = spec.get("backoffLimitPerIndex")
    if limit is not None and index >= 0:
        times = max(out.failures.get(index, 0), _told_failures(whole) + 1)
        if verdict.action == "FailIndex" or times > limit:
            out.lost.add(index)


def _told_failures(pod: Obj | None) -> int:
    text = str(((pod or {}).get("metadata") or {}).get("annotations", {}).get(INDEX_FAILURES, "0"))
    return int(text) if text.isdigit() else 0


def ending(job: Obj, pods: Iterable[PodInfo], count: Tally, now: float, started: float) -> End | None:
    """Whether the job is over, and why."""
    spec = job["spec"]
    pods = list(pods)
    conditions = (job.get("status") or {}).get("conditions") or ()
    targets = [c for c in conditions if c.get("type") in ("SuccessCriteriaMet", "FailureTarget")]
    told = next((c for c in targets if c.get("status") == "True"), None)
    if told is not None:
        return End(told["type"], told.get("reason", ""), told.get("message", ""))
    if count.fatal:
        return End("FailureTarget", "PodFailurePolicy", count.fatal)
    limit, per_index = int(spec.get("backoffLimit", 6)), spec.get("backoffLimitPerIndex") is not None
    restarts = sum(pod.restarts for pod in pods if pod.active and pod.phase in ("Running", "Pending"))
    on_failure = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") == "OnFailure"
    if count.failed > limit or (on_failure and restarts and restarts >= max(limit, 1) and restarts >= limit):
        return End("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and started and not spec.get("suspend") and now - started >= deadline:
        return End("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    if per_index:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(count.lost) > most:
            words = "Job has exceeded the specified maximal number of failed indexes"
            return End("FailureTarget", "MaxFailedIndexesExceeded", words)
    return _success(spec, pods, count)


def _success(spec: Obj, pods: list[PodInfo], count: Tally) -> End | None:
    completions = spec.get("completions")
    early = policy.success(spec.get("successPolicy"), count.done, int(completions or 0))
    if early:
        return End("SuccessCriteriaMet", "SuccessPolicy", early)
    reached = End("SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods")
    if completions is None:
        active = any(pod.active for pod in pods)
        return (
            reached
            if (count.succeeded > 0 and not active) or (spec.get("parallelism") == 0 and count.succeeded)
            else None
        )
    if indexed(spec) and count.lost and len(count.done | count.lost) >= completions:
        return End("FailureTarget", "FailedIndexes", "Job has failed indexes")
    through = len(count.done) if indexed(spec) else count.succeeded
    return reached if through >= completions and not any(pod.active for pod in pods) else None


def pause_s(count: Tally, now: float) -> float:
    """How long to wait before a failed pod is replaced: 10 s, doubling to ten minutes."""
    if not count.last_failure or not count.failed:
        return 0.0
    pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * float(1 << min(count.failed - 1, 10)))
    return max(0.0, count.last_failure + pause - now)


class Change(NamedTuple):
    """Pods to make (an index each, -1 where there is none) and to delete."""

    create: list[int]
    delete: list[PodInfo]


def change(spec: Obj, pods: Iterable[PodInfo], count: Tally) -> Change:
    """What brings the running pods to the parallelism that is still of use."""
    active = [pod for pod in pods if pod.active]
    leaving = [pod for pod in pods if pod.deleting and not pod.finished]
    if spec.get("suspend"):
        return Change([], active)
    parallelism = int(spec.get("parallelism", 1))
    completions = spec.get("completions")
    if completions is None:
        want = len(active) if count.succeeded else parallelism
        want = min(want, parallelism)
    else:
        through = len(count.done | count.lost) if indexed(spec) else count.succeeded
        want = min(parallelism, max(0, completions - through))
    extra = _extra(spec, active, count)
    kept = [pod for pod in active if pod not in extra]
    surplus = kept[want:] if len(kept) > want else []
    held = len(leaving) if spec.get("podReplacementPolicy") == "Failed" else 0
    missing = max(0, want - len(kept) - held)
    if not indexed(spec):
        return Change([-1] * missing, [*extra, *sorted(surplus, key=lambda p: (p.ready, -p.created))])
    busy = {index_of(pod) for pod in [*kept, *(leaving if held else ())]}
    free = (n for n in range(int(completions or 0)) if n not in busy and n not in count.done and n not in count.lost)
    return Change([n for n, _ in zip(free, range(missing), strict=False)], [*extra, *surplus])


def _extra(spec: Obj, active: list[PodInfo], count: Tally) -> list[PodInfo]:
    """Of an indexed job: pods of an index that is settled, out of range, or has a pod already."""
    if not indexed(spec):
        return []
    seen: set[int] = set()
    extra = []
    for pod in sorted(active, key=lambda p: p.created):
        index = index_of(pod)
        if not 0 <= index < int(spec.get("completions") or 0) or index in seen | count.done | count.lost:
            extra.append(pod)
        seen.add(index)
    return extra


def is_over(status: Obj) -> bool:
    """Whether the job has its end."""
    return any(c.get("type") in _ENDS and c.get("status") == "True" for c in status.get("conditions") or ())
