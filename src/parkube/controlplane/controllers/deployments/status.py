"""A Deployment's status: its numbers, and the conditions that `kubectl rollout status` and `wait` read. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parkube.controlplane.controllers.deployments.model import ReplicaSetInfo, Wanted
from parkube.kubeapi.compact import epoch
from parkube.kubeapi.errors import Obj
from parkube.kubeapi.objects import rfc3339

AVAILABLE, CREATED, UPDATED, EXCEEDED = (
    "NewReplicaSetAvailable",
    "NewReplicaSetCreated",
    "ReplicaSetUpdated",
    "ProgressDeadlineExceeded",
)
PAUSED, RESUMED, FOUND = "DeploymentPaused", "DeploymentResumed", "FoundNewReplicaSet"


def set_condition(
    conditions: list[Obj], kind: str, status: str, reason: str, message: str, now: float, *, touch: bool = False
) -> None:
    """Put a condition in; `touch` moves lastUpdateTime even when nothing else changed."""
    old = next((c for c in conditions if c["type"] == kind), None)
    if old is not None and old["status"] == status and old.get("reason") == reason and not touch:
        return
    at = rfc3339(now)
    kept = old["lastTransitionTime"] if old is not None and old["status"] == status else at
    fresh = {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": at,
        "lastTransitionTime": kept,
    }
    conditions[:] = [c for c in conditions if c["type"] != kind]
    conditions.append(fresh)


def numbers(deployment: Obj, want: Wanted, current: ReplicaSetInfo | None, sets: Sequence[ReplicaSetInfo]) -> Obj:
    """The counts of `status`."""
    replicas, available = sum(s.pods for s in sets), sum(s.available for s in sets)
    out: Obj = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": replicas,
        "updatedReplicas": current.pods if current else 0,
        "readyReplicas": sum(s.ready for s in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, want.replicas - available),
    }
    collisions = (deployment.get("status") or {}).get("collisionCount")
    out = {k: v for k, v in out.items() if v or k == "observedGeneration"}
    if collisions:
        out["collisionCount"] = collisions
    return out


def status(
    deployment: Obj,
    want: Wanted,
    current: ReplicaSetInfo | None,
    sets: Sequence[ReplicaSetInfo],
    *,
    created: str = "",
    now: float,
) -> Obj:
    """The whole new status. `created`: the name of a ReplicaSet made in this very step."""
    old = deployment.get("status") or {}
    new = numbers(deployment, want, current, sets)
    conditions = [dict(c) for c in old.get("conditions") or ()]
    if new.get("availableReplicas", 0) >= want.least:
        set_condition(
            conditions, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now
        )
    else:
        text = "Deployment does not have minimum availability."
        set_condition(conditions, "Available", "False", "MinimumReplicasUnavailable", text, now)
    name = deployment["metadata"]["name"]
    if want.deadline is None:
        conditions = [c for c in conditions if c["type"] != "Progressing"]
    elif created:
        set_condition(conditions, "Progressing", "True", CREATED, f'Created new replica set "{created}"', now)
    else:
        _progress(conditions, want, current, old, new, f'Deployment "{name}"', now)
    failure = next((s.failure for s in sets if s.failure[0] == "True"), None)
    conditions = [c for c in conditions if c["type"] != "ReplicaFailure" or failure]
    if failure:
        set_condition(conditions, "ReplicaFailure", *failure, now)
    new["conditions"] = conditions
    return new


def _progress(
    conditions: list[Obj], want: Wanted, current: ReplicaSetInfo | None, old: Obj, new: Obj, subject: str, now: float
) -> None:
    present = next((c for c in conditions if c["type"] == "Progressing"), None)
    reason = present.get("reason") if present else ""
    if want.paused:
        if reason not in (EXCEEDED, PAUSED):
            set_condition(conditions, "Progressing", "Unknown", PAUSED, "Deployment is paused", now)
        return
    if reason == PAUSED:
        set_condition(conditions, "Progressing", "Unknown", RESUMED, "Deployment is resumed", now)
        return
    if present is None and current is not None:
        set_condition(conditions, "Progressing", "True", FOUND, f'Found new replica set "{current.name}"', now)
    count: Callable[[Obj, str], int] = lambda status, key: int(status.get(key, 0))  # noqa: E731
    if count(new, "replicas") == count(new, "updatedReplicas") and reason == AVAILABLE:
        return
    subject = f'ReplicaSet "{current.name}"' if current else subject
    if all(count(new, key) == want.replicas for key in ("updatedReplicas", "replicas", "availableReplicas")):
        text = f"{subject} has successfully progressed."
        set_condition(conditions, "Progressing", "True", AVAILABLE, text, now)
    elif (
        count(new, "updatedReplicas") > count(old, "updatedReplicas")
        or count(new, "readyReplicas") > count(old, "readyReplicas")
        or count(new, "availableReplicas") > count(old, "availableReplicas")
        or count(new, "replicas") - count(new, "updatedReplicas")
        < count(old, "replicas") - count(old, "updatedReplicas")
    ):
        set_condition(conditions, "Progressing", "True", UPDATED, f"{subject} is progressing.", now, touch=True)
    elif (until := progress_deadline(conditions, want)) is not None and now >= until:
        text = f"{subject} has timed out progressing."
        set_condition(conditions, "Progressing", "False", EXCEEDED, text, now)


def progress_deadline(conditions: Sequence[Obj], want: Wanted) -> float | None:
    """When (s since 1970) this Deployment will have been without progress for too long; None: never, or already so."""
    present = next((c for c in conditions if c["type"] == "Progressing"), None)
    if (
        want.deadline is None
        or present is None
        or want.paused
        or present.get("reason") in (AVAILABLE, EXCEEDED, PAUSED)
    ):
        return None
    return epoch(present.get("lastUpdateTime")) + want.deadline
